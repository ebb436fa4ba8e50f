# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a large picture in which a person's outline is compared, at a size that is worth the work.

A camera does not change when its picture is cut and scaled: focal length and principal point follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

WINDOW_PX = 384
"""Side of the windows: a person's outline is then sampled about as finely as masks are reliable."""
MARGIN = 1.3
"""Side of what a window shows, in longer sides of the box around mask and keypoints."""


@dataclass(frozen=True)
class Windows:
    """One square window per person."""

    masks: Tensor  # (B, S, S) bool
    inside: Tensor  # (B, S, S) bool, true where the picture goes on
    origins_px: Tensor  # (B, 2) upper left corners in the picture
    scales: Tensor  # (B,) window pixels per picture pixel, at most 1

    def to_window(self, points_px: Tensor) -> Tensor:
        """(B, …, 2) pixels of the picture -> of the window."""
        shape = (-1, *[1] * (points_px.dim() - 2))
        return (points_px - self.origins_px.view(*shape, 2)) * self.scales.view(*shape, 1)


def windows_around(masks: Tensor, keypoints_px: Tensor, weights: Tensor, inside: Tensor | None = None) -> Windows:
    """Windows for masks (B, H, W) and the keypoints (B, K, 2) that have a weight (B, K)."""
    height, width = masks.shape[1:]
    cut = []
    for index, mask in enumerate(masks.cpu().numpy()):
        seen = keypoints_px[index][weights[index] > 0].cpu().numpy()
        low, high = _box(mask, seen)
        side_px = max(MARGIN * (high - low).max(), 16.0)
        scale = min(1.0, WINDOW_PX / side_px)
        origin = ((low + high) / 2 - WINDOW_PX / scale / 2).round()
        known = np.ones((height, width), np.float32) if inside is None else inside[index].cpu().numpy()
        cut.append((_cut(mask, origin, scale) > 0.5, _cut(known, origin, scale) > 0.5, origin, scale))
    parts, known, origins, scales = (np.stack(values) for values in zip(*cut, strict=True))
    like = dict(dtype=keypoints_px.dtype, device=keypoints_px.device)
    parts, known = (torch.from_numpy(values).to(keypoints_px.device) for values in (parts, known))
    return Windows(parts, known, torch.tensor(origins, **like), torch.tensor(scales, **like))


def _box(mask: np.ndarray, points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper left and lower right corner of what a person covers, within the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    size = np.array(mask.shape[::-1], np.float64)
    corners = [points_px.clip(0, size)] if len(points_px) else []
    if len(rows):
        corners.append(np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64))
    corners = np.concatenate(corners) if corners else np.stack([0 * size, size])
    return corners.min(0), corners.max(0)


def _cut(values: np.ndarray, origin_px: np.ndarray, scale: float) -> np.ndarray:
    """(WINDOW_PX, WINDOW_PX) float32 of the picture, averaged where it shrinks, zero beyond it."""
    left, top = origin_px.astype(int)
    side = int(np.ceil(WINDOW_PX / scale))
    part = np.zeros((side, side), np.float32)
    height, width = values.shape
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        shifted = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        part[shifted] = values[rows, columns]
    if scale == 1.0:
        return part
    # The window's side need not be a whole number of picture pixels, so averaging and sampling are two steps.
    blur = max(1, round(1 / scale))
    part = cv2.blur(part, (blur, blur), borderType=cv2.BORDER_REPLICATE)
    # Pixel index i of the window shows (i + 0.5) / scale - 0.5 of the part; an even blur lies half a pixel early.
    shift = 0.5 / scale - 0.5 + (0.5 if blur % 2 == 0 else 0.0)
    matrix = np.array([[1 / scale, 0, shift], [0, 1 / scale, shift]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, (WINDOW_PX, WINDOW_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
