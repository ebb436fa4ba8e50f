# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a camera that is taken to stand still really moves: the background's drift in pixels.

A few times a second, corners outside the people are followed from the last look to this one (pyramidal Lucas-Kanade),
and the similarity that most of them agree on is taken. Similarities are chained from the first frame of the shot on;
the drift of a frame is how far they carry points of the picture, the root mean square over the picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np

WIDTH_PX = 480
"""The picture is looked at no larger than this."""
_CORNERS, _FEWEST = 160, 12
_MARGIN = 0.1
"""Room around people in which nothing is believed to stand still, as a share of their boxes."""
STEADY_PX_SHARE = 0.004
"""Who drifts by less than this share of the picture's width stands on a tripod for all that people can see."""


class Drift:
    """What is remembered of the shot so far."""

    def __init__(self, every: int) -> None:
        """`every` so many frames the background is looked at."""
        self._every = every
        self.last = np.zeros((0, 0), np.uint8)
        """Reduced grey picture of the last look; empty at the begin of a shot."""
        self.T_now_first = np.eye(3)
        """Similarity from the shot's first frame to the last look, reduced pixels."""
        self.looked: list[tuple[float, float]] = []
        """(frame index, drift in pixels of the full image); NaN where too little of the background is seen."""

    def cut(self) -> None:
        """What comes next is another shot."""
        self.last, self.T_now_first = np.zeros((0, 0), np.uint8), np.eye(3)

    def see(self, index: int, image: np.ndarray, boxes_px: Iterable[np.ndarray]) -> None:
        """The next frame, (H, W, 3) uint8 RGB, and the boxes (4,) of the people in it."""
        if self.last.size and index - self.looked[-1][0] < self._every:
            return
        scale = min(1.0, WIDTH_PX / max(image.shape[:2]))
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        if self.last.size:
            step = _similarity(self.last, grey, [box * scale for box in boxes_px])
            # Lost for a moment, nothing is known of it ever after.
            self.T_now_first = np.full((3, 3), np.nan) if step is None else step @ self.T_now_first
        self.last = grey
        self.looked.append((float(index), _carried_px(self.T_now_first, *size) / scale))

    def per_frame_px(self, count: int, cuts: Iterable[int]) -> np.ndarray:
        """(F,) drift from the shot's first frame, even between two looks; NaN where it is not known."""
        drift = np.full(count, np.nan)
        at, values = np.array(self.looked).reshape(-1, 2).T
        edges = [0, *cuts, count]
        for start, end in pairwise(edges):
            own = (at >= start) & (at < end)
            if own.any():
                drift[start:end] = np.interp(np.arange(start, end), at[own], values[own])
        return drift


def drift_in_words(drift_px: np.ndarray, width: int) -> str:
    """A sentence on a camera that was taken to stand still; drift_px (F,), NaN where it is not known."""
    if not np.isfinite(drift_px).any():
        return "The camera is taken to stand still; too little of the background is seen to tell whether it does."
    most_px = float(np.nanmax(drift_px))
    if most_px < STEADY_PX_SHARE * width:
        return f"The camera is taken to stand still, and does: the background moves by {most_px:.1f} px at most."
    share = f"{most_px:.0f} px ({100 * most_px / width:.1f} % of the width)"
    return (
        f"The camera is taken to stand still, but the background drifts by up to {share}, and people drift with it. "
        "Solve the camera's motion and give it with the request."
    )


def _similarity(before: np.ndarray, now: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray | None:
    """(3, 3) taking the background of one grey picture to the next; None where it cannot be told."""
    background = np.full(before.shape, 255, np.uint8)
    for left, top, right, bottom in boxes:
        margin = _MARGIN * max(right - left, bottom - top)
        low = np.floor(np.maximum([left - margin, top - margin], 0)).astype(int)
        high = np.ceil(np.maximum([right + margin, bottom + margin], 0)).astype(int)
        background[low[1] : high[1], low[0] : high[0]] = 0
    corners = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, 8, mask=background)
    if corners is None or len(corners) < _FEWEST:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None, winSize=(15, 15), maxLevel=3)  # type: ignore[call-overload]
    kept = found[:, 0] == 1
    if kept.sum() < _FEWEST:
        return None
    cv2.setRNGSeed(0)
    matrix, agree = cv2.estimateAffinePartial2D(corners[kept], moved[kept], method=cv2.RANSAC, ransacReprojThreshold=1)
    if matrix is None or agree.sum() < max(_FEWEST, 0.3 * kept.sum()):
        return None
    return np.vstack([matrix, (0, 0, 1)])


def _carried_px(T: np.ndarray, width: int, height: int) -> float:
    """Root mean square distance by which T (3, 3) moves a grid of points over the picture."""
    x, y = np.meshgrid(np.linspace(0, width, 5), np.linspace(0, height, 5))
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return float(np.sqrt(np.square((T @ points - points)[:2]).sum(0).mean()))
