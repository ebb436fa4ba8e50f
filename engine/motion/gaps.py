# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves evenly through frames in which somebody was not seen."""

from __future__ import annotations

import itertools

import numpy as np

from ...models.rotations import quaternion_to_rotvec, rotvec_to_quaternion, slerp


def gaps(present: np.ndarray, times_s: np.ndarray, longest_s: float) -> list[tuple[int, int]]:
    """(last frame before, first frame after) of each gap in `present` (T,) that lasts at most `longest_s`."""
    seen = np.flatnonzero(present)
    return [(int(a), int(b)) for a, b in itertools.pairwise(seen) if b - a > 1 and times_s[b] - times_s[a] <= longest_s]


def fill_rotations(rotvecs: np.ndarray, before: int, after: int, times_s: np.ndarray) -> None:
    """Turn evenly between two frames of (T, J, 3); in place."""
    start, end = rotvec_to_quaternion(rotvecs[before]), rotvec_to_quaternion(rotvecs[after])
    for t in range(before + 1, after):
        rotvecs[t] = quaternion_to_rotvec(slerp(start, end, share(before, after, t, times_s)))


def fill_vectors(values: np.ndarray, before: int, after: int, times_s: np.ndarray) -> None:
    """Move evenly between two frames of (T, ...); in place."""
    for t in range(before + 1, after):
        at = share(before, after, t, times_s)
        values[t] = (1 - at) * values[before] + at * values[after]


def share(before: int, after: int, t: int, times_s: np.ndarray) -> float:
    """How much of the time between two frames has passed at a third."""
    return float((times_s[t] - times_s[before]) / (times_s[after] - times_s[before]))
