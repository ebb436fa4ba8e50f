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
APART_COST_PER_S = 1.0
"""What it costs besides if only one half of the body is swapped."""
ABOVE, BELOW = slice(0, 23), slice(23, 33)
"""Landmarks from the head to the hands, and from the hips down: the network may mistake one half's sides alone."""
_LIMBS = ((ABOVE, np.array([11, 12, 13, 14, 15, 16])), (BELOW, np.array([23, 24, 25, 26, 27, 28])))
"""Which of them tell how each half moves."""
_STATES = np.array([[0, 0], [1, 1], [1, 0], [0, 1]])
"""Whether each half is swapped."""


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
    """(T, 33) bool, which landmarks to exchange with the other side's for the motion to be smooth.

    points_px (T, 33, 2), visibility (T, 33), size_px and times_s (T,). The cheapest way through time is found exactly
    (Viterbi), with four states: each half of the body is the right way round, or not.
    """
    count = len(points_px)
    jumps = [_jumps(points_px, visibility, size_px, limbs) for _, limbs in _LIMBS]
    # ways[t, a, b] from the state a at t to b at t + 1
    ways = np.mean([jump[:, _STATES[:, None, n] ^ _STATES[None, :, n]] for n, jump in enumerate(jumps)], 0)
    dt = np.diff(times_s, prepend=times_s[0])
    price = SWAP_COST_PER_S * _STATES.mean(1) + APART_COST_PER_S * (_STATES[:, 0] != _STATES[:, 1])
    cost, came_from = np.zeros(len(_STATES)), np.zeros((count, len(_STATES)), int)
    for t in range(1, count):
        whole = cost[:, None] + ways[t - 1]
        came_from[t] = whole.argmin(0)
        cost = whole.min(0) + dt[t] * price
    state, swapped = int(cost.argmin()), np.zeros(points_px.shape[:2], bool)
    for t in range(count - 1, -1, -1):
        for (half, _), is_swapped in zip(_LIMBS, _STATES[state], strict=True):
            swapped[t, half] = is_swapped
        state = came_from[t, state]
    return swapped


def _jumps(points_px: np.ndarray, visibility: np.ndarray, size_px: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(T - 1, 2) how far the landmarks `own` jump from frame to frame as they are, and with sides exchanged between."""
    limbs, other = points_px[:, own], points_px[:, MIRROR[own]]
    weight = visibility[:, own] * visibility[:, MIRROR[own]]
    both = np.sqrt(weight[1:] * weight[:-1]) + 1e-3

    def jump(following: np.ndarray) -> np.ndarray:
        moved = np.linalg.norm(following[1:] - limbs[:-1], axis=-1) / size_px[1:, None]
        return (both * moved).sum(1) / both.sum(1)

    return np.stack([jump(limbs), jump(other)], 1)


def with_sides_put_right(sightings: list[Sighting], times_s: np.ndarray) -> list[Sighting]:
    """One person's sightings at the ascending times (T,)."""
    swapped = swapped_frames(
        np.array([s.points_px for s in sightings]),
        np.array([s.visibility for s in sightings]),
        np.array([s.size_px for s in sightings]),
        times_s,
    )
    return [_mirrored(s, swap) if swap.any() else s for s, swap in zip(sightings, swapped, strict=True)]


def _mirrored(seen: Sighting, swapped: np.ndarray) -> Sighting:
    """With the landmarks `swapped` (33,) exchanged, and the hands with the upper half."""
    source = np.where(swapped, MIRROR, np.arange(len(MIRROR)))
    hands = seen.details
    if swapped[ABOVE].any():
        hands = Details(hands.right_hand, hands.left_hand, hands.face)
    return replace(
        seen,
        points_px=seen.points_px[source],
        visibility=seen.visibility[source],
        metric_points=seen.metric_points[source],
        details=hands,
    )
