# SPDX-License-Identifier: GPL-3.0-or-later
"""Feet stay where they touch: first the root gives way (`root_path`), then hips and knees do the rest (`leg_ik`).

A heel and the toes of one foot are held on their own, so that a foot may roll over either. Before and after a contact
the correction fades in and out, so that nothing jumps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.rotations import matrix_to_rotvec, rotation_between
from .contacts import FEET, places, runs
from .leg_ik import LEGS, move_ankles
from .placed import PlacedMotion
from .root_path import root_shift

FADE_S = 0.2
"""How long before and after a contact a leg is led to it and let go."""
ROUNDS = 3
"""Root and legs in turn: where a straight leg cannot reach, the root comes nearer in the next round."""


def lock_feet(motion: PlacedMotion, contacts: np.ndarray, on_ground: bool) -> PlacedMotion:
    """One stretch of motion with heels and toes held while `contacts` (T, 7) says so; on z = 0 with `on_ground`."""
    touching = contacts[:, FEET]
    if not touching.any() or len(motion.times_s) < 3:
        return motion
    weights = np.stack([_faded(touching[:, n], motion.times_s) for n in range(touching.shape[1])], 1)
    for _ in range(ROUNDS):
        points = places(motion)[:, FEET]
        motion = replace(motion, pelvis=motion.pelvis + root_shift(motion, points, weights**2, on_ground))
        motion = _held(motion, touching, weights, on_ground)
    return motion


def _held(motion: PlacedMotion, touching: np.ndarray, weights: np.ndarray, on_ground: bool) -> PlacedMotion:
    """Legs moved so that the touching points (T, 4) lie still; the root stays."""
    count = len(motion.times_s)
    turn = np.zeros((count, len(LEGS), 3))
    for leg in range(len(LEGS)):
        turn[:, leg] = _foot_turn(motion, 2 * leg, touching, on_ground)
    # First the turn alone: it moves heel and toes about the ankle.
    motion = move_ankles(motion, np.zeros((count, len(LEGS), 3)), turn)
    points, shift = places(motion)[:, FEET], np.zeros((count, len(LEGS), 3))
    for leg in range(len(LEGS)):
        both = slice(2 * leg, 2 * leg + 2)
        pulls = np.stack([_pull(points[:, n], touching[:, n], motion.times_s, on_ground) for n in _numbers(both)], 1)
        weight = weights[:, both]
        total, strongest = weight.sum(1, keepdims=True), weight.max(1, keepdims=True)
        shift[:, leg] = (weight[..., None] * pulls).sum(1) / np.maximum(total, 1e-9) * strongest
    return move_ankles(motion, shift, np.zeros_like(turn))


def _foot_turn(motion: PlacedMotion, heel: int, touching: np.ndarray, on_ground: bool) -> np.ndarray:
    """(T, 3) turns of a foot, so that heel and toes, while both touch, lie as their places ask."""
    both = touching[:, heel] & touching[:, heel + 1]
    points = places(motion)[:, FEET]
    along = points[:, heel + 1] - points[:, heel]
    turns = np.zeros((len(along), 3))
    for part in runs(both):
        wanted = np.median(along[part], 0)
        if on_ground:
            wanted[2] = 0.0
        turns[part] = matrix_to_rotvec(rotation_between(along[part], np.broadcast_to(wanted, along[part].shape)))
    return _carried(turns, both, motion.times_s) * _faded(both, motion.times_s)[:, None]


def _pull(points: np.ndarray, touches: np.ndarray, times_s: np.ndarray, on_ground: bool) -> np.ndarray:
    """(T, 3) from points (T, 3) to where they are held; before and after, what it was at the nearest contact."""
    pull = np.zeros_like(points)
    for part in runs(touches):
        anchor = np.median(points[part], 0)
        if on_ground:
            anchor[2] = 0.0
        pull[part] = anchor - points[part]
    return _carried(pull, touches, times_s)


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


def _numbers(part: slice) -> range:
    return range(part.start, part.stop)
