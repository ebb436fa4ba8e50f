# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frame of the timeline shows which frame of the source. No bpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrameMap:
    """Straight lines between pairs of frames; the first and the last line go on for ever. Frames may be fractions."""

    source: tuple[float, ...] = (1.0, 2.0)
    """Frames of the source as the take counts them, ascending; two or more."""
    scene: tuple[float, ...] = (1.0, 2.0)
    """The frames of the timeline that show them: ascending, or descending where the footage runs backwards."""
    sets_time: bool = True
    """Whether drawing gives the scene the clip's rate and length: not where the footage lies on a timeline already."""

    @classmethod
    def starting(cls, source: float, scene: float, scene_per_source: float = 1.0, sets_time: bool = False) -> FrameMap:
        """Frame `source` is seen at frame `scene`; each frame of the source lasts so many of the timeline."""
        return cls((source, source + 1.0), (scene, scene + scene_per_source), sets_time)

    @property
    def is_one_to_one(self) -> bool:
        """Whether each frame of the source is one whole frame of the timeline, in the same direction."""
        offsets = np.subtract(self.scene, self.source)
        return bool(np.allclose(offsets, offsets[0], atol=1e-4) and abs(offsets[0] - round(offsets[0])) < 1e-4)

    def to_scene(self, frames: np.ndarray | Sequence[float]) -> np.ndarray:
        """Frames of the source -> of the timeline, same shape, float64."""
        return _along(frames, self.source, self.scene)

    def to_source(self, frames: np.ndarray | Sequence[float]) -> np.ndarray:
        """Frames of the timeline -> of the source, same shape, float64."""
        if self.scene[0] > self.scene[-1]:
            return _along(frames, self.scene[::-1], self.source[::-1])
        return _along(frames, self.scene, self.source)

    def shown_at(self, frames: np.ndarray | Sequence[float]) -> np.ndarray:
        """Which frame of the source is on screen at frames of the timeline: Blender rounds halves up. Integers."""
        return np.floor(self.to_source(frames) + 0.5 + 1e-6).astype(int)

    def to_numbers(self) -> list[float]:
        """All of it as plain numbers, for a custom property."""
        return [float(self.sets_time), *map(float, self.source), *map(float, self.scene)]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> FrameMap:
        """The inverse of `to_numbers`."""
        sets_time, *frames = numbers
        half = len(frames) // 2
        return cls(tuple(frames[:half]), tuple(frames[half:]), bool(sets_time))


def _along(values: np.ndarray | Sequence[float], known: Sequence[float], wanted: Sequence[float]) -> np.ndarray:
    """`np.interp` that goes on beyond both ends."""
    x, xs, ys = np.asarray(values, np.float64), np.asarray(known, np.float64), np.asarray(wanted, np.float64)
    piece = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
    share = (x - xs[piece]) / (xs[piece + 1] - xs[piece])
    return ys[piece] + share * (ys[piece + 1] - ys[piece])


SAME_FRAMES = FrameMap()
"""Frame n of the source is frame n of the timeline, and the scene takes the clip's rate and length."""
