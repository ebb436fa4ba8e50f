# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as numpy arrays and back."""

from __future__ import annotations

import bpy
import numpy as np


def read_pixels(image: bpy.types.Image) -> np.ndarray:
    """(height, width, 4) float32, top row first: what a screen is sent (sRGB), alpha as it is."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, 4)[::-1]
    if (
        image.is_float
    ):  # 16-bit and HDR images lie in Blender as scene-linear light; 8-bit ones as they were in the file
        colour = np.clip(pixels[..., :3], 0, 1)
        display = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * np.maximum(colour, 1e-9) ** (1 / 2.4) - 0.055)
        pixels = np.concatenate([display, pixels[..., 3:]], -1)
    return pixels


def new_image(name: str, pixels: np.ndarray) -> bpy.types.Image:
    """An 8-bit image of the .blend from (height, width, 4) display values, top row first."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=True)
    image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1], np.float32).ravel())
    return image
