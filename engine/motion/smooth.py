# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooths motion and fills gaps, on the sphere of rotations. Constants are in seconds.

A Gaussian mean over time, with the weights corrected so that motion at constant speed stays as it is, also at the ends
of a track and beside a gap. Nothing reaches across a cut, because tracks end there.
"""

from __future__ import annotations

import itertools

import numpy as np

from ...models.rotations import (
    matrix_to_rotvec,
    quaternion_to_rotvec,
    rotvec_to_matrix,
    rotvec_to_quaternion,
    slerp,
)

REACH = 3.0
"""How many time constants the mean reaches."""


Window = tuple[np.ndarray, np.ndarray]
"""Frames near one frame, and their weights."""


def windows(times_s: np.ndarray, time_s: float) -> list[Window]:
    """For each of the ascending times (T,): its neighbours, whose weights sum to 1 and have their centre at it."""
    found = []
    for t, now_s in enumerate(times_s):
        near = np.flatnonzero(np.abs(times_s - now_s) <= REACH * time_s)
        apart = times_s[near] - now_s
        weights = np.exp(-0.5 * (apart / time_s) ** 2)
        # What the straight line through the weighted neighbours has here.
        total, first, second = weights.sum(), (weights * apart).sum(), (weights * apart**2).sum()
        spread = total * second - first**2
        if spread > 1e-9 * (total * time_s) ** 2:
            found.append((near, (second - first * apart) * weights / spread))
        else:
            found.append((np.array([t]), np.ones(1)))
    return found


def smooth_vectors(values: np.ndarray, near: list[Window]) -> np.ndarray:
    """(T, ...) -> (T, ...)."""
    return np.array([np.tensordot(weights, values[frames], 1) for frames, weights in near])


def smooth_rotations(rotvecs: np.ndarray, near: list[Window]) -> np.ndarray:
    """(T, J, 3) -> (T, J, 3): the mean on SO(3), in the tangent space of each frame's own rotation."""
    matrices = rotvec_to_matrix(np.asarray(rotvecs, np.float64))
    smoothed = np.empty_like(matrices)
    for t, (frames, weights) in enumerate(near):
        offsets = matrix_to_rotvec(matrices[t].swapaxes(-1, -2) @ matrices[frames])
        smoothed[t] = matrices[t] @ rotvec_to_matrix(np.tensordot(weights, offsets, 1))
    return matrix_to_rotvec(smoothed)


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
