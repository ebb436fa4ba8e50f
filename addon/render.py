# SPDX-License-Identifier: GPL-3.0-or-later
"""A quick render of the characters over their picture, to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import bpy
import numpy as np

from .pixels import new_image, read_pixels

_BODY_OPACITY = 0.85


def render_over_picture(scene: bpy.types.Scene, image: bpy.types.Image | None, path: Path) -> None:
    """Render through the scene's camera with Workbench, lay it over `image`, and write a PNG. Changes the scene's
    render settings: call it on a file that is saved already."""
    render, shading = scene.render, scene.display.shading
    render.engine, render.film_transparent, render.use_file_extension = "BLENDER_WORKBENCH", True, True
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    scene.view_settings.view_transform = "Standard"
    shading.light, shading.color_type, shading.show_cavity = "STUDIO", "MATERIAL", True
    with tempfile.TemporaryDirectory() as folder:
        render.filepath = str(Path(folder) / "body.png")
        bpy.ops.render.render(write_still=True, scene=scene.name)
        body = bpy.data.images.load(render.filepath)
        pixels = read_pixels(body)
        bpy.data.images.remove(body)
    if image is not None:
        opacity = pixels[..., 3:] * _BODY_OPACITY
        pixels = pixels[..., :3] * opacity + read_pixels(image)[..., :3] * (1 - opacity)
        pixels = np.concatenate([pixels, np.ones_like(opacity)], -1)
    result = new_image("Recover Body render", pixels)
    result.file_format, result.filepath_raw = "PNG", str(path.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save()
    bpy.data.images.remove(result)
