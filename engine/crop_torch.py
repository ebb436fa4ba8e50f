# SPDX-License-Identifier: GPL-3.0-or-later
"""Person crops sampled where the network runs: the picture goes to the graphics card once, only crops come of it.

The same arithmetic as `crop.py`, which is that of OpenCV 4.x in whole numbers (fractions of 1/32 pixel, weights of 15
bits); so crops that are not blurred are equal bit for bit. The blur calculates in float32 instead of float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .crop import CROP_SIDE_PX, IMAGE_MEAN, IMAGE_STD, Crop, blur_kernel, blur_sigma_px, crop_to_image, neighbourhood

_FRACTIONS = 32
"""Steps of OpenCV's sampling between two pixels."""


def network_input(image_rgb: np.ndarray, crops: Sequence[Crop], where: torch.device) -> Tensor:
    """All crops of an (H, W, 3) uint8 RGB picture -> (B, 3, 256, 256) float32 on `where`, ready for the network."""
    if not crops:
        return torch.zeros((0, 3, CROP_SIDE_PX, CROP_SIDE_PX), device=where)
    picture = torch.from_numpy(np.ascontiguousarray(image_rgb)).to(where, non_blocking=True).permute(2, 0, 1)
    mean, std = (
        torch.tensor(each, dtype=torch.float32, device=where)[:, None, None] for each in (IMAGE_MEAN, IMAGE_STD)
    )
    return torch.stack([(cut(picture, crop) - mean) / std for crop in crops])


def cut(picture: Tensor, crop: Crop) -> Tensor:
    """Sample one crop: (3, H, W) uint8 -> (3, 256, 256) float32 in 0..255, black outside the picture."""
    sigma_px = blur_sigma_px(crop)
    if sigma_px is None:
        (x, fraction_x), (y, fraction_y) = _places(crop, (0, 0), picture.device)
        # Exact in float32: 8 bits of brightness, and 10 behind the point.
        return torch.floor(_sampled(picture, x, y, fraction_x, fraction_y) + 0.5)
    (left, top), (right, bottom) = neighbourhood(crop, sigma_px, (picture.shape[2], picture.shape[1]))
    part = _blurred(picture[:, top:bottom, left:right].float(), blur_kernel(sigma_px))
    (x, fraction_x), (y, fraction_y) = _places(crop, (left, top), picture.device)
    return _sampled(part, x, y, fraction_x, fraction_y)


def _places(crop: Crop, offset_px: tuple[int, int], where: torch.device) -> list[tuple[Tensor, Tensor]]:
    """For columns and for rows: whole pixels (256,) int64, and 32ths of a pixel beyond them (256,) float32.

    The square is not turned, so a column of the crop lies on one column of the picture.
    """
    matrix = crop_to_image(crop, offset_px)
    places = []
    along = np.arange(CROP_SIDE_PX)
    # OpenCV goes row by row: it rounds where a row begins, and apart from that each step along it.
    columns = np.rint(matrix[0, 0] * along * 1024) + np.rint(matrix[0, 2] * 1024)
    rows = np.rint((matrix[1, 1] * along + matrix[1, 2]) * 1024)
    for steps in (columns, rows):
        fixed = (steps.astype(np.int64) + 16) >> 5
        places.append(
            (
                torch.from_numpy(fixed // _FRACTIONS).to(where),
                torch.from_numpy((fixed % _FRACTIONS).astype(np.float32)).to(where),
            )
        )
    return places


def _sampled(picture: Tensor, x: Tensor, y: Tensor, fraction_x: Tensor, fraction_y: Tensor) -> Tensor:
    """Bilinear; (3, H, W) -> (3, 256, 256) float32. Pixels outside count as black, each for itself."""
    fraction_x, fraction_y = fraction_x / _FRACTIONS, (fraction_y / _FRACTIONS)[:, None]
    upper, lower = _rows(picture, y), _rows(picture, y + 1)
    upper, lower = (
        _rows(row.mT, x).mT * (1 - fraction_x) + _rows(row.mT, x + 1).mT * fraction_x for row in (upper, lower)
    )
    return upper * (1 - fraction_y) + lower * fraction_y


def _rows(picture: Tensor, rows: Tensor) -> Tensor:
    """(3, H, W) -> (3, 256, W) float32, those beyond the edges black."""
    height = picture.shape[1]
    inside = ((rows >= 0) & (rows < height))[:, None]
    return picture[:, rows.clamp(0, height - 1)].float() * inside


def _blurred(picture: Tensor, kernel: np.ndarray) -> Tensor:
    """(3, H, W) float32, the edges repeated outwards."""
    radius = len(kernel) // 2
    if not radius:
        return picture
    weights = torch.from_numpy(kernel.astype(np.float32)).to(picture.device)
    picture = F.pad(picture[None], (radius,) * 4, mode="replicate")[0][:, None]
    return F.conv2d(F.conv2d(picture, weights[None, None, None]), weights[None, None, :, None])[:, 0]
