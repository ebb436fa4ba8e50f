# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes around part of a person, so that the network learns people who are cut off by the picture's edge.

Source: Rockwell & Fouhey, "Full-Body Awareness from Partial Observations" (ECCV 2020), with the parts and frequencies
of HMR2.0's and TokenHMR's training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PROBABILITY = 0.1
"""How often a training picture is cut so."""
MARGIN = 1.2
SMALLEST_PX = 4.0

_OPENPOSE = 25  # the extra joints come after these


def _joints(*openpose: int | range, extra: tuple[int | range, ...] = ()) -> tuple[int, ...]:
    """Indices into the 44 joints, of single joints and ranges."""

    def flat(parts: tuple[int | range, ...]) -> list[int]:
        return [joint for part in parts for joint in (part if isinstance(part, range) else (part,))]

    return (*flat(openpose), *(_OPENPOSE + joint for joint in flat(extra)))


@dataclass(frozen=True)
class Part:
    """What remains in view, described by what does not."""

    looseness: float
    hidden: tuple[int, ...]


HIPS = Part(1.1, _joints(10, 11, 13, 14, range(19, 25), extra=(0, 1, 4, 5)))
SHOULDERS = Part(1.2, _joints(3, 4, range(6, 15), range(19, 25), extra=(range(8), 10, 11, 14, 15, 16)))
HEAD = Part(1.3, _joints(3, 4, range(6, 15), range(19, 25), extra=(range(12), 14, 15, 16)))
TORSO = Part(1.1, _joints(0, 3, 4, 6, 7, 10, 11, range(13, 25), extra=(0, 1, range(4, 8), 10, 11, 13, 17, 18)))
RIGHT_ARM = Part(1.1, _joints(0, 1, range(5, 25), extra=(range(6), range(9, 19))))
LEFT_ARM = Part(1.1, _joints(range(5), range(8, 25), extra=(range(9), range(12, 19))))
LEGS = Part(1.1, _joints(range(8), range(15, 19), extra=(range(6, 14), range(15, 19))))
RIGHT_LEG = Part(1.1, _joints(range(9), range(12, 22), extra=(range(3, 19),)))
LEFT_LEG = Part(1.1, _joints(range(12), range(15, 19), range(22, 25), extra=(0, 1, 2, range(6, 19))))

# (chance up to which it is taken, part). Hips, shoulders, head mean: from there upwards.
_Choices = tuple[tuple[float, Part], ...]
AGGRESSIVE_FULL: _Choices = (
    *((0.2, HIPS), (0.3, SHOULDERS), (0.4, HEAD), (0.5, TORSO), (0.6, RIGHT_ARM), (0.7, LEFT_ARM)),
    *((0.8, LEGS), (0.9, RIGHT_LEG), (1.0, LEFT_LEG)),
)
AGGRESSIVE_UPPER: _Choices = ((0.2, SHOULDERS), (0.4, HEAD), (0.6, TORSO), (0.8, RIGHT_ARM), (1.0, LEFT_ARM))
MILD_FULL: _Choices = ((0.7, HIPS), (0.9, SHOULDERS), (1.0, HEAD))
MILD_UPPER: _Choices = ((0.9, SHOULDERS), (1.0, HEAD))

# Right and left shoulder, elbow, wrist, knee, ankle in either set of joints.
_LIMBS = ((2, 33), (3, 32), (4, 31), (5, 34), (6, 35), (7, 36), (10, 26), (11, 25), (13, 29), (14, 30))
_LEGS = _LIMBS[6:]
_UPPER = (0, 1, 15, 16, 17, 18, *(_OPENPOSE + joint for joint in (8, 9, 12, 13, 17, 18)))


@dataclass(frozen=True)
class Box:
    center_px: np.ndarray
    """(2,)"""
    side_px: float


def extreme_crop(box: Box, keypoints: np.ndarray, chance: float, *, aggressive: bool = True) -> Box:
    """Cut a person's box down to a part, chosen by `chance` (0..1), or leave it where too little is visible.

    `keypoints` (44, 3): pixels and confidence.
    """
    choices = _choices(keypoints[:, 2] > 0, aggressive=aggressive)
    if not choices:
        return box
    part = next((part for limit, part in choices if chance < limit), choices[-1][1])
    cut = _around(keypoints, part)
    return box if cut is None or cut.side_px < SMALLEST_PX else cut


def _choices(visible: np.ndarray, *, aggressive: bool) -> _Choices:
    seen = {pair: visible[list(pair)].any() for pair in _LIMBS}
    if all(seen.values()):
        return AGGRESSIVE_FULL if aggressive else MILD_FULL
    if not any(seen[pair] for pair in _LEGS) and visible[list(_UPPER)].sum() >= 2:
        return AGGRESSIVE_UPPER if aggressive else MILD_UPPER
    return ()


def _around(keypoints: np.ndarray, part: Part) -> Box | None:
    confidence = keypoints[:, 2].copy()
    confidence[list(part.hidden)] = 0
    if confidence.sum() <= 1:
        return None
    points_px = keypoints[confidence > 0, :2]
    low, high = points_px.min(0), points_px.max(0)
    return Box((low + high) / 2, float(MARGIN * part.looseness * (high - low).max()))
