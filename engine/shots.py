# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices where one shot ends and the next begins, by how much small grey pictures differ."""

from __future__ import annotations

import cv2
import numpy as np

_LEVELS, _FACTOR = 24.0, 4.0
"""Between neighbouring frames of one shot, grey levels differ by less than this on average, or not suddenly more."""


class Shots:
    """What is remembered of the frames so far."""

    def __init__(self) -> None:
        self.last = np.zeros((0, 0), np.float32)
        """(18, 32) of the last frame; empty before the first."""
        self.usual = 2.0
        """Running mean of the change from frame to frame, grey levels."""

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether the next frame, (H, W, 3) uint8, begins a new shot."""
        small = cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32).mean(-1)
        last, self.last = self.last, small
        if not last.size:
            return False
        change = float(np.abs(small - last).mean())
        is_cut = change > _LEVELS and change > _FACTOR * self.usual
        if not is_cut:
            self.usual = 0.9 * self.usual + 0.1 * max(change, 1.0)
        return is_cut
