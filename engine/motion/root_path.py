# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves the whole body a little, so that what touches the ground stays where it is: mostly along the camera's ray,
where it shows least in the picture and where a camera is least sure.

Least squares over all frames at once: contacts keep still and lie on the ground, the picture is kept, and the
correction is as smooth as bodies move. Only frames next to each other are coupled, so one sweep over time solves it.
"""

from __future__ import annotations

import numpy as np

from ..fit.temporal import solve_block_tridiagonal
from .placed import PlacedMotion

ACROSS_SIGMA_M, ALONG_SHARE = 0.01, 0.4
"""How far the body may be moved across the ray, metres; and along it, where it only changes its size in the picture, by
as many times more as it is farther away than this."""
ACCELERATION_SIGMA = 0.5
"""Metres per second squared that the correction may add."""
SLIDE_SIGMA_M_S = 0.1
SWAY_SIGMA_M = 0.001
"""How far along the ray somebody who stands may have wandered after a second; by the square root of the time."""
PLACE_SIGMA_M, HEIGHT_SIGMA_M = 0.03, 0.01
"""How well legs tell where the pelvis is from where a foot stands, and from the ground."""
REPEATS_S = 0.2
"""For so long they repeat one mistake, and all their frames tell no more than one."""


def root_shift(
    motion: PlacedMotion, points: np.ndarray, weights: np.ndarray, anchors: np.ndarray, stands: np.ndarray
) -> np.ndarray:
    """(T, 3) metres to add to the pelvis.

    points (T, N, 3) world, weights (T, N) 0 to 1 where they touch, anchors (T, N, 3) where they lie then; stands (T,)
    bool, where both feet have stood for a while.
    """
    count = len(points)
    even = count + count % 2  # frames are solved in pairs
    hessian, diagonal, right = _Banded(even), np.tile(np.eye(3), (even, 1, 1)), np.zeros((even, 3))
    rays = motion.pelvis - motion.eye
    depth = np.maximum(np.linalg.norm(rays, axis=1), ALONG_SHARE)[:, None, None]
    along = rays[:, :, None] * rays[:, None] / depth**2
    diagonal[:count] = (np.eye(3) - along + along * (ALONG_SHARE / depth) ** 2) / ACROSS_SIGMA_M**2
    dt = np.diff(motion.times_s)
    told = min(1.0, float(np.median(dt)) / REPEATS_S)
    lying = told * weights[..., None] / np.square([PLACE_SIGMA_M, PLACE_SIGMA_M, HEIGHT_SIGMA_M])
    diagonal[:count, range(3), range(3)] += lying.sum(1)
    right[:count] += (lying * np.where(weights[..., None] > 0, anchors - points, 0.0)).sum(1)
    hessian.add(0, diagonal)
    # Standing still: between two frames a touching point moves by nothing, the shift included.
    both = np.minimum(weights[1:], weights[:-1]) / (SLIDE_SIGMA_M_S * dt[:, None]) ** 2
    pull = both.sum(1)[:, None, None] * np.eye(3)
    moved = (both[..., None] * np.diff(points, axis=0)).sum(1)
    hessian.couple(0, 1, pull)
    right[: count - 1] += moved
    right[1:count] -= moved
    # Who stands does not sway along the ray, where only a camera's doubt moves.
    held = (stands[1:] & stands[:-1])[:, None, None] * along[1:] / (SWAY_SIGMA_M**2 * dt)[:, None, None]
    swayed = (held @ np.diff(motion.pelvis, axis=0)[..., None])[..., 0]
    hessian.couple(0, 1, held)
    right[: count - 1] += swayed
    right[1:count] -= swayed
    if count > 2:
        # Second differences over uneven steps.
        before, after = dt[:-1], dt[1:]
        scale = 2 / (before + after)
        rows = np.stack([scale / before, -scale / before - scale / after, scale / after], 1) / ACCELERATION_SIGMA
        hessian.smooth(rows)
    return hessian.solve(right)[:count]


class _Banded:
    """A symmetric matrix of 3 x 3 blocks that couples each frame with the next two."""

    def __init__(self, count: int) -> None:
        self._bands = [np.zeros((count, 3, 3)) for _ in range(3)]

    def add(self, apart: int, blocks: np.ndarray, first: int = 0) -> None:
        """blocks (n, 3, 3) at the frames from `first` on and the frame `apart` later."""
        self._bands[apart][first : first + len(blocks)] += blocks

    def couple(self, a: int, b: int, blocks: np.ndarray) -> None:
        """The squared difference between frames t + a and t + b, weighted by blocks (n, 3, 3)."""
        self.add(0, blocks, a)
        self.add(0, blocks, b)
        self.add(b - a, -blocks, a)

    def smooth(self, rows: np.ndarray) -> None:
        """Squares of rows (n, 3) times the frames t, t + 1, t + 2."""
        for a in range(3):
            for b in range(a, 3):
                self.add(b - a, (rows[:, a] * rows[:, b])[:, None, None] * np.eye(3), a)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """x (T, 3) for an even number of frames."""
        zero, one, two = self._bands
        pairs = len(right) // 2
        diagonal, between = np.zeros((pairs, 6, 6)), np.zeros((pairs - 1, 6, 6))
        diagonal[:, :3, :3], diagonal[:, 3:, 3:] = zero[0::2], zero[1::2]
        diagonal[:, :3, 3:], diagonal[:, 3:, :3] = one[0::2], one[0::2].swapaxes(1, 2)
        between[:, :3, :3], between[:, 3:, 3:] = two[0::2][: pairs - 1], two[1::2][: pairs - 1]
        between[:, 3:, :3] = one[1::2][: pairs - 1]
        return solve_block_tridiagonal(diagonal, between, right.reshape(pairs, 6)).reshape(-1, 3)
