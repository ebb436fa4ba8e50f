# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage whose every frame tells its own number, and what Blender shows of it."""

import numpy as np

WIDTH, HEIGHT = 256, 64
_BITS = 8


def numbered_pictures(bpy, folder, first, count, name="shot_{:04d}.png"):
    """Pictures with eight bars, the bits of their number; returns the paths."""
    paths = []
    for number in range(first, first + count):
        image = bpy.data.images.new("bars", WIDTH, HEIGHT)
        pixels = np.zeros((HEIGHT, WIDTH, 4), np.float32)
        pixels[..., 3] = 1.0
        for bit in range(_BITS):
            pixels[:, bit * WIDTH // _BITS : (bit + 1) * WIDTH // _BITS, :3] = number >> bit & 1
        image.pixels.foreach_set(pixels.ravel())
        image.file_format, image.filepath_raw = "PNG", str(folder / name.format(number))
        image.save()
        paths.append(folder / name.format(number))
        bpy.data.images.remove(image)
    return paths


def numbered_movie(bpy, path, count, fps):
    """The same as a movie, which Blender itself encodes."""
    folder = path.parent / f"{path.stem} pictures"
    folder.mkdir()
    pictures = numbered_pictures(bpy, folder, 1, count)
    scene = bpy.data.scenes.new("encoding")
    strips = _strips(scene)
    strip = strips.new_image("bars", str(pictures[0]), channel=1, frame_start=1)
    for picture in pictures[1:]:
        strip.elements.append(picture.name)
    strip.frame_final_duration = count
    render = scene.render
    scene.frame_start, scene.frame_end = 1, count
    render.fps, render.resolution_x, render.resolution_y, render.resolution_percentage = fps, WIDTH, HEIGHT, 100
    scene.view_settings.view_transform = "Standard"
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec, render.ffmpeg.gopsize = "MPEG4", "H264", 1
    render.filepath, render.use_file_extension = str(path), False
    bpy.ops.render.render(animation=True, scene=scene.name)
    bpy.data.scenes.remove(scene)
    return path


def number_shown(bpy, scene, frame, folder):
    """Which frame of the footage the scene's sequencer shows at a frame of its timeline; 0 for none."""
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    scene.view_settings.view_transform = "Standard"
    scene.frame_set(frame)
    render.filepath, render.image_settings.file_format = str(folder / f"shown {frame}.png"), "PNG"
    bpy.ops.render.render(write_still=True, scene=scene.name)
    return read_number(bpy, render.filepath)


def read_number(bpy, path):
    image = bpy.data.images.load(str(path))
    pixels = np.empty(WIDTH * HEIGHT * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    middles = pixels.reshape(HEIGHT, WIDTH, 4)[HEIGHT // 2, WIDTH // _BITS // 2 :: WIDTH // _BITS, 0]
    return sum(int(value > 0.5) << bit for bit, value in enumerate(middles))


def _strips(scene):
    editor = scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences
