# SPDX-License-Identifier: GPL-3.0-or-later
"""Feet stay where they touch: first the root gives way (`root_path`), then hips and knees do the rest (`leg_ik`).

A heel and the toes of one foot are held on their own, so that a foot may roll over either. Before and after a contact
the correction fades in and out, so that nothing jumps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.rotations import matrix_to_rotvec, rotation_between
from .contacts import FEET, places, runs, speeds, unbroken
from .leg_ik import LEGS, move_ankles
from .placed import PlacedMotion
from .root_path import root_shift

FADE_S = 0.25
"""How long before and after a contact a leg is led to it and let go."""
SURE_M_S = 0.2
"""At this speed a contact counts a quarter for the root."""
STEP_M = 0.06
"""Contacts farther than this from the ground are on something else, and stay at their own height."""
STANDS_S = 0.5
"""From so long after the second foot is down until so long before one is lifted, somebody stands."""
ROUNDS = 3
"""Root and legs in turn: where a straight leg cannot reach, the root comes nearer in the next round."""


def lock_feet(motion: PlacedMotion, contacts: np.ndarray, on_ground: bool) -> PlacedMotion:
    """One stretch of motion with heels and toes held while `contacts` (T, 7) says so; on z = 0 with `on_ground`, or on
    whatever else they stand on."""
    touching = contacts[:, FEET]
    if not touching.any() or len(motion.times_s) < 3:
        return motion
    weights = np.stack([_faded(touching[:, n], motion.times_s) for n in range(touching.shape[1])], 1)
    # What is rather quick may be on its way already: it would drag the root along.
    seen = places(motion)[:, FEET]
    surely = touching / (1 + np.square(speeds(seen, motion) / SURE_M_S)) ** 2
    heights, stands = _heights(seen[..., 2], touching, on_ground), _stands(touching, seen, motion)
    for _ in range(ROUNDS):
        points = places(motion)[:, FEET]
        anchors = np.stack([_anchors(points[:, n], touching[:, n], heights[:, n]) for n in range(points.shape[1])], 1)
        motion = replace(motion, pelvis=motion.pelvis + root_shift(motion, points, surely, anchors, stands))
        motion = _held(motion, touching, weights, heights)
    return motion


def _heights(z: np.ndarray, touching: np.ndarray, on_ground: bool) -> np.ndarray:
    """(T, 4) how high touching points at z (T, 4) are held: 0 near the ground, NaN for as high as they are."""
    heights = np.full(z.shape, np.nan)
    for number in range(touching.shape[1] if on_ground else 0):
        for part in runs(touching[:, number]):
            if abs(np.median(z[part, number])) < STEP_M:
                heights[part, number] = 0.0
    return heights


def _stands(touching: np.ndarray, points: np.ndarray, motion: PlacedMotion) -> np.ndarray:
    """(T,) bool, where both feet have touched for a while and will go on to; points (T, 4, 3).

    While one foot stays, the other may tap, or be seen badly, for a moment.
    """
    times_s, feet = motion.times_s, (slice(0, 2), slice(2, 4))
    left, right = (touching[:, foot].any(1) for foot in feet)
    both = unbroken(left, points[:, feet[0]].mean(1), right, motion)
    both &= unbroken(right, points[:, feet[1]].mean(1), left, motion)
    stands = np.zeros(len(both), bool)
    for part in runs(both):
        first = times_s[part.start] + (STANDS_S if part.start else 0.0)
        last = times_s[part.stop - 1] - (STANDS_S if part.stop < len(both) else 0.0)
        stands[part] = (times_s[part] >= first) & (times_s[part] <= last)
    return stands


def _held(motion: PlacedMotion, touching: np.ndarray, weights: np.ndarray, heights: np.ndarray) -> PlacedMotion:
    """Legs moved so that the touching points (T, 4) lie still; the root stays."""
    count, times_s = len(motion.times_s), motion.times_s
    lies, turn = [], np.zeros((count, len(LEGS), 3))
    for leg in range(len(LEGS)):
        along, turn[:, leg] = _flat(motion, 2 * leg, touching, heights)
        lies.append(along)
    # First the turn alone: it moves heel and toes about the ankle.
    motion = move_ankles(motion, np.zeros_like(turn), turn)
    points, shift = places(motion)[:, FEET], np.zeros_like(turn)
    for leg in range(len(LEGS)):
        heel, toes = 2 * leg, 2 * leg + 1
        toes_at = _anchors(points[:, toes], touching[:, toes], heights[:, toes])
        heel_at = _anchors(points[:, heel], touching[:, heel], heights[:, heel], toes_at - lies[leg])
        pulls = [
            _carried(np.nan_to_num(anchor - points[:, n]), touching[:, n], times_s)
            for n, anchor in ((heel, heel_at), (toes, toes_at))
        ]
        weight = weights[:, [heel, toes]]
        total, strongest = weight.sum(1, keepdims=True), weight.max(1, keepdims=True)
        shift[:, leg] = (weight[..., None] * np.stack(pulls, 1)).sum(1) / np.maximum(total, 1e-9) * strongest
    return move_ankles(motion, shift, np.zeros_like(turn))


def _flat(motion: PlacedMotion, heel: int, touching: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How toes lie from heel while both touch (T, 3; NaN otherwise), and the turns (T, 3) that make the foot lie so."""
    both = touching[:, heel] & touching[:, heel + 1]
    points = places(motion)[:, FEET]
    along = points[:, heel + 1] - points[:, heel]
    lies, turns = np.full(along.shape, np.nan), np.zeros(along.shape)
    for part in runs(both):
        lies[part] = np.median(along[part], 0)
        if np.isfinite(heights[part, heel : heel + 2]).all():
            lies[part, 2] = 0.0
            lies[part] *= (np.linalg.norm(along[part], axis=1) / np.linalg.norm(lies[part], axis=1))[:, None]
        turns[part] = matrix_to_rotvec(rotation_between(along[part], lies[part]))
    return lies, _carried(turns, both, motion.times_s) * _faded(both, motion.times_s)[:, None]


def _anchors(
    points: np.ndarray, touches: np.ndarray, heights: np.ndarray, told: np.ndarray | None = None
) -> np.ndarray:
    """(T, 3) where points (T, 3) are held while they touch, NaN otherwise: one place for each contact.

    `told` (T, 3) is where the rest of the foot says that they lie, or NaN: heel and toes may not pull apart.
    """
    anchors = np.full(points.shape, np.nan)
    for part in runs(touches):
        own = points[part] if told is None else told[part]
        own = own[np.isfinite(own[:, 0])]
        anchors[part] = np.median(own if len(own) else points[part], 0)
        if np.isfinite(heights[part]).all():
            anchors[part, 2] = heights[part]
    return anchors


def _carried(values: np.ndarray, known: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """(T, 3) `values` where `known`; elsewhere a mix of what they were before and will be after, by nearness."""
    found = np.array(values)
    rows = np.flatnonzero(known)
    if not len(rows):
        return found
    for t in np.flatnonzero(~known):
        after = np.searchsorted(rows, t)
        near = [rows[n] for n in (after - 1, after) if 0 <= n < len(rows)]
        weights = np.array([max(_fade(abs(times_s[t] - times_s[n])), 1e-9) for n in near])
        found[t] = weights @ values[near] / weights.sum()
    return found


def _faded(touches: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """(T,) 1 while it touches, falling smoothly to 0 within `FADE_S` of it."""
    rows = np.flatnonzero(touches)
    if not len(rows):
        return np.zeros(len(touches))
    after = np.searchsorted(rows, np.arange(len(touches)))
    previous, following = rows[np.maximum(after - 1, 0)], rows[np.minimum(after, len(rows) - 1)]
    away_s = np.minimum(np.abs(times_s - times_s[previous]), np.abs(times_s - times_s[following]))
    return np.where(touches, 1.0, _fade(away_s))


def _fade(away_s: np.ndarray | float) -> np.ndarray | float:
    """1 at 0, 0 from `FADE_S` on, level at both ends."""
    x = np.clip(np.asarray(away_s) / FADE_S, 0, 1)
    return 1 - x * x * (3 - 2 * x)
