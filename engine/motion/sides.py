# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts left and right the same way round along time: seen from behind, people's sides are sometimes mistaken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..fit.points import LANDMARK_NAMES
from ..follow import Sighting
from ..mediapipe_graphs import Details

SWAP_COST_PER_S = 0.24
"""What a second of swapped sides costs, in shares of the person's size by which landmarks jump on average. The network
is usually right, so only a jump there and back is mended, and only if it was short."""
_LIMBS = np.array([11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])


def _mirror_name(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name[5:]
    if name.startswith("right_"):
        return "left_" + name[6:]
    return {"mouth_left": "mouth_right", "mouth_right": "mouth_left"}.get(name, name)


MIRROR = np.array([LANDMARK_NAMES.index(_mirror_name(name)) for name in LANDMARK_NAMES])
"""(33,) the landmark on the other side."""


def swapped_frames(
    points_px: np.ndarray, visibility: np.ndarray, size_px: np.ndarray, times_s: np.ndarray
) -> np.ndarray:
    """(T,) bool, where exchanging left and right makes the motion smooth.

    points_px (T, 33, 2), visibility (T, 33), size_px and times_s (T,). The cheapest way through time is found exactly
    (Viterbi).
    """
    count = len(points_px)
    limbs, other = points_px[:, _LIMBS], points_px[:, MIRROR[_LIMBS]]
    weight = visibility[:, _LIMBS] * visibility[:, MIRROR[_LIMBS]]
    both = np.sqrt(weight[1:] * weight[:-1]) + 1e-3

    def jump(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        moved = np.linalg.norm(b[1:] - a[:-1], axis=-1) / size_px[1:, None]
        return (both * moved).sum(1) / both.sum(1)

    stays, changes = jump(limbs, limbs), jump(limbs, other)
    price = SWAP_COST_PER_S * np.diff(times_s, prepend=times_s[0])
    cost, came_from = np.zeros(2), np.zeros((count, 2), int)
    for t in range(1, count):
        step = np.array([[stays[t - 1], changes[t - 1]], [changes[t - 1], stays[t - 1]]])
        ways = cost[:, None] + step
        came_from[t] = ways.argmin(0)
        cost = ways.min(0) + np.array([0.0, price[t]])
    state, swapped = int(cost.argmin()), np.zeros(count, bool)
    for t in range(count - 1, -1, -1):
        swapped[t] = state
        state = came_from[t, state]
    return swapped


def with_sides_put_right(sightings: list[Sighting], times_s: np.ndarray) -> list[Sighting]:
    """One person's sightings at the ascending times (T,)."""
    swapped = swapped_frames(
        np.array([s.points_px for s in sightings]),
        np.array([s.visibility for s in sightings]),
        np.array([s.size_px for s in sightings]),
        times_s,
    )
    return [_mirrored(s) if swap else s for s, swap in zip(sightings, swapped, strict=True)]


def _mirrored(seen: Sighting) -> Sighting:
    hands = seen.details
    return replace(
        seen,
        points_px=seen.points_px[MIRROR],
        visibility=seen.visibility[MIRROR],
        metric_points=seen.metric_points[MIRROR],
        details=Details(hands.right_hand, hands.left_hand, hands.face),
    )
