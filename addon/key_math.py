# SPDX-License-Identifier: GPL-3.0-or-later
"""As few keys as the picture allows. Pure numbers; no bpy.

Curves between keys are cubic with the slopes of the dense motion, as Blender's Bezier handles draw them. A bone gets a
key wherever its error, seen through the camera at the far end of everything that hangs on it, is above a tolerance. All
bones and all segments between keys are looked at at once. Errors add up along a limb, so the tolerance is lowered until
the *whole* skeleton, put together again and projected, lies within the budget in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_SHRINK = 0.75
_LEAST_SHARE = 0.02
"""Below this share of the budget every frame is keyed: nothing is to be had."""


@dataclass(frozen=True)
class Motion:
    """What is keyed, at N frames, evenly or not."""

    times: np.ndarray
    """(N,) ascending frames."""
    quaternions: np.ndarray
    """(N, J, 4) w, x, y, z as the bones store them, without jumps of sign."""
    location: np.ndarray
    """(N, 3) of the first joint, in its own rest axes."""


@dataclass(frozen=True)
class Chain:
    """The skeleton and the camera that looks at it."""

    parents: Sequence[int]
    """Parent of each joint, -1 for the first; parents come first."""
    rest_in_parent: np.ndarray
    """(J, 4, 4) rest matrix of each joint in its parent's; the first one's in the world, with what carries it."""
    lengths_m: np.ndarray
    """(J,) of the bones, along their y axes."""
    projections: np.ndarray
    """(N, 3, 4) world -> homogeneous pixels."""

    def points(self, motion: Motion) -> np.ndarray:
        """(N, 2J, 3) where heads and tails of all bones are in the world."""
        local = np.zeros((*motion.quaternions.shape[:2], 4, 4))
        local[..., :3, :3] = _matrices(motion.quaternions)
        local[..., 3, 3] = 1
        local[:, 0, :3, 3] = motion.location
        world = np.empty_like(local)
        for joint, parent in enumerate(self.parents):
            step = self.rest_in_parent[joint] @ local[:, joint]
            world[:, joint] = step if parent < 0 else world[:, parent] @ step
        heads = world[..., :3, 3]
        return np.concatenate([heads, heads + world[..., :3, 1] * self.lengths_m[:, None]], 1)

    def seen(self, points: np.ndarray) -> np.ndarray:
        """(N, P, 3) -> (N, P, 2) pixels."""
        flat = np.einsum("nij,npj->npi", self.projections[..., :3], points) + self.projections[:, None, :, 3]
        return flat[..., :2] / np.maximum(flat[..., 2:], 1e-3)


@dataclass(frozen=True)
class Keys:
    """Where keys are needed."""

    bones: np.ndarray
    """(N, J) bool: the rotation of that joint is keyed in that frame."""
    location: np.ndarray
    """(N,) bool, of the first joint's place."""
    error_px: float
    """Largest distance, in any frame, of any bone's end from where it was, in the camera's picture."""


def reduce_keys(motion: Motion, chain: Chain, budget_px: float) -> Keys:
    """The keys that keep every bone within `budget_px` of where it is, seen through the camera."""
    reference = chain.points(motion)
    wanted = chain.seen(reference)
    px_per_m = _px_per_m(chain, reference, wanted)  # (N,)
    weights = np.concatenate([2 * _reach_m(motion, chain, reference), np.ones(1)])  # half angles, then metres
    channels = np.concatenate([motion.quaternions, np.zeros((*motion.location.shape[:1], 1, 4))], 1)
    channels[:, -1, :3] = motion.location
    slopes = np.gradient(channels, motion.times, axis=0)
    share = 1.0
    while True:
        keyed = _keys_within(motion.times, channels, slopes, weights * px_per_m[:, None], share * budget_px)
        curves = interpolate(motion.times, channels, slopes, keyed)
        again = replace(motion, quaternions=_unit(curves[:, :-1]), location=curves[:, -1, :3])
        error = np.linalg.norm(chain.seen(chain.points(again)) - wanted, axis=-1).max()
        if error <= budget_px or share < _LEAST_SHARE:
            return Keys(keyed[:, :-1], keyed[:, -1], float(error))
        share *= _SHRINK


def interpolate(times: np.ndarray, values: np.ndarray, slopes: np.ndarray, keyed: np.ndarray) -> np.ndarray:
    """(N, C, D) what Blender shows if only `keyed` (N, C) rows of `values` are keys with these slopes (per frame)."""
    before, after = _neighbours(keyed)
    t0, t1 = times[before], times[after]
    span = (t1 - t0)[..., None]
    t = ((times[:, None] - t0) / np.maximum(t1 - t0, 1e-9))[..., None]
    columns = np.arange(values.shape[1])
    v0, v1, m0, m1 = values[before, columns], values[after, columns], slopes[before, columns], slopes[after, columns]
    h01 = t * t * (3 - 2 * t)
    return (1 - h01) * v0 + h01 * v1 + t * (1 - t) * span * ((1 - t) * m0 - t * m1)


def _keys_within(
    times: np.ndarray, values: np.ndarray, slopes: np.ndarray, weights: np.ndarray, tolerance: float
) -> np.ndarray:
    """(N, C) keys such that weights (N, C) * distance is at most `tolerance` everywhere.

    The worst frame of each segment that is not good enough becomes a key, until all segments are.
    """
    count, columns = values.shape[:2]
    keyed = np.zeros((count, columns), bool)
    keyed[[0, -1]] = True
    while True:
        errors = weights * np.linalg.norm(interpolate(times, values, slopes, keyed) - values, axis=-1)
        errors[keyed] = 0.0
        if errors.max() <= tolerance:
            return keyed
        # Segments of all curves in one row: each begins with its key.
        flat = errors.T.ravel()
        starts = np.flatnonzero(keyed.T.ravel())
        worst = np.maximum.reduceat(flat, starts)
        lengths = np.diff(np.append(starts, flat.size))
        is_worst = (flat == np.repeat(worst, lengths)) & (flat > tolerance)
        segment = np.repeat(np.arange(len(starts)), lengths)
        rows = np.flatnonzero(is_worst)
        rows = rows[np.unique(segment[rows], return_index=True)[1]]  # one for each segment
        keyed.T[np.unravel_index(rows, (columns, count))] = True


def _neighbours(keyed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) rows of the last key at or before, and of the first key after (of the last segment: at its end)."""
    rows = np.arange(len(keyed))[:, None]
    before = np.maximum.accumulate(np.where(keyed, rows, 0), axis=0)
    after = np.minimum.accumulate(np.where(keyed, rows, len(keyed) - 1)[::-1], axis=0)[::-1]
    return before, after


def _reach_m(motion: Motion, chain: Chain, reference: np.ndarray) -> np.ndarray:
    """(J,) distance from each joint to the farthest bone end that it carries, over all frames."""
    count = len(chain.parents)
    carried = np.eye(count, dtype=bool)
    for joint in reversed(range(count)):
        if chain.parents[joint] >= 0:
            carried[chain.parents[joint]] |= carried[joint]
    heads, ends = reference[:, :count], reference[:, count:]
    return np.array([np.linalg.norm(ends[:, carried[j]] - heads[:, j : j + 1], axis=-1).max() for j in range(count)])


def _px_per_m(chain: Chain, reference: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,) how many pixels a metre is at most, at the body's nearest point, in each frame."""
    depth = np.einsum("nj,npj->np", chain.projections[:, 2, :3], reference) + chain.projections[:, 2:3, 3]
    focal = np.linalg.norm(chain.projections[:, :2, :3], axis=-1).max(-1)
    return focal / np.maximum(depth.min(1), 0.05)


def _matrices(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) unit -> (..., 3, 3)."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _unit(quaternions: np.ndarray) -> np.ndarray:
    return quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
