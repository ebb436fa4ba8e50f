# SPDX-License-Identifier: GPL-3.0-or-later
"""A quick render of the characters over their picture, to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import bpy
import numpy as np

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
        pixels = _read(body)
        bpy.data.images.remove(body)
    if image is not None:
        opacity = pixels[..., 3:] * _BODY_OPACITY
        pixels[..., :3] = pixels[..., :3] * opacity + _read(image)[..., :3] * (1 - opacity)
        pixels[..., 3] = 1.0
    height, width = pixels.shape[:2]
    result = bpy.data.images.new("Recover Body render", width, height, alpha=True)
    result.pixels.foreach_set(pixels.ravel())
    result.file_format, result.filepath_raw = "PNG", str(path.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save()
    bpy.data.images.remove(result)


def _read(image: bpy.types.Image) -> np.ndarray:
    """(height, width, 4) float32 display values, bottom row first."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)
