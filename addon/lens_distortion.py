# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a solved clip's lens bends straight lines: a take has pinholes only, and where it matters that is said."""

from __future__ import annotations

import bpy
import numpy as np

SLIGHT = 0.002
"""Of the picture's longer side: below that, landmarks are no surer."""

_POWERS = {
    "POLYNOMIAL": ("k1", "k2", "k3"),
    "DIVISION": ("division_k1", "division_k2"),
    "NUKE": ("nuke_k1", "nuke_k2"),
    "BROWN": ("brown_k1", "brown_k2", "brown_k3", "brown_k4"),
}
"""Model -> coefficients of r^2, r^4, …; r is in focal lengths, with NUKE in halves of the picture's longer side."""


def bending_px(clip: bpy.types.MovieClip) -> float:
    """How far, at most, the lens that was solved for `clip` moves what a pinhole would show: pixels of the picture."""
    lens, (width, height) = clip.tracking.camera, clip.size
    model = lens.distortion_model
    unit_px = max(width, height) / 2 if model == "NUKE" else lens.focal_length_pixels
    if min(width, height, unit_px) <= 0:
        return 0.0
    across, up = (np.linspace(0, size, 9) for size in (width, height))
    points = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2) - np.array(lens.principal_point_pixels)
    points /= unit_px
    r2 = (points**2).sum(-1, keepdims=True)
    powers = np.concatenate([r2 ** (i + 1) for i in range(len(_POWERS[model]))], -1)
    stretch = (powers @ [getattr(lens, name) for name in _POWERS[model]])[:, None]
    if model in ("DIVISION", "NUKE"):
        moved = points * (1 / (1 + stretch) - 1)
    else:
        moved = points * stretch
    if model == "BROWN":
        x, y = points[:, :1], points[:, 1:]
        p1, p2 = lens.brown_p1, lens.brown_p2
        moved += np.concatenate([2 * p1 * x * y + p2 * (r2 + 2 * x**2), p1 * (r2 + 2 * y**2) + 2 * p2 * x * y], -1)
    return float(np.linalg.norm(moved, axis=-1).max() * unit_px)


def warning_about(clip: bpy.types.MovieClip | None) -> float | None:
    """Pixels of bending worth telling; None where there is nothing to tell. Quick."""
    if clip is None:
        return None
    bending = bending_px(clip)
    return bending if bending > SLIGHT * max(clip.size) else None
