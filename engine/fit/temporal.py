# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's frames fitted together: each frame by what was seen, and neighbours by how far bodies turn and move.

The prior of motion is a random walk of every joint's rotation and of the place. Motion at constant speed costs the
frames inside nothing they could avoid, so it is not shortened; what it takes away is jitter and sudden flips. Only
neighbours are coupled, so the Hessian is block-tridiagonal and is solved exactly in one sweep over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...models.rotations import matrix_to_rotvec
from .kinematics import BODY_JOINTS, PLACE, ROTATIONS, UNKNOWNS, Skeleton, State
from .priors import rotvec_by_turn
from .solver import STEP_LIMIT_RAD, System, Term, linearise

TURN_RAD_PER_ROOT_S, MOVE_M_PER_ROOT_S = 0.8, 0.35
"""Standard deviation of a joint's turn and of the pelvis' way after one second: at 30 frames/s 8 degrees, 6 cm."""
DEPTH_SHARE = 0.5
"""Depth is seen worst and jitters most, while people seldom move fast along the ray."""
WIDTH = 3.0
"""Standard deviations from which a quick movement is believed rather than smoothed away."""
WEIGHT = 0.5


@dataclass(frozen=True)
class Motion:
    """The random walk between T frames of one person."""

    times_s: np.ndarray
    """(T,) ascending."""
    T_world_camera: np.ndarray | None = None
    """(T, 4, 4) where the camera moves: people are held back in the world, not in the picture."""

    def cost_and_model(self, state: State) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Cost, gradient (T, 80), diagonal blocks (T, 80, 80), and blocks (T - 1, 80, 80) between t and t + 1."""
        count = len(self.times_s)
        gradient, diagonal = np.zeros((count, UNKNOWNS)), np.zeros((count, UNKNOWNS, UNKNOWNS))
        between = np.zeros((count - 1, UNKNOWNS, UNKNOWNS))
        root_dt = np.sqrt(np.diff(self.times_s))

        # Turns: r = log(R_t^T R_t+1); a small turn e of t + 1 adds J^-1(r) e to it, one of t takes J^-1(-r) e away.
        rotations, pelvis, by_place = self._in_world(state)
        turns = matrix_to_rotvec(rotations[:-1].swapaxes(-1, -2) @ rotations[1:])  # (T-1, 22, 3)
        sigma = (TURN_RAD_PER_ROOT_S * root_dt)[:, None, None]
        residual = turns / sigma
        after, before = rotvec_by_turn(turns) / sigma[..., None], -rotvec_by_turn(-turns) / sigma[..., None]
        cost, weight = _robust(residual)
        joints = np.arange(BODY_JOINTS)
        blocks = [joints * 3 + axis for axis in range(3)]
        self._add(gradient, diagonal, between, residual, before, after, weight, np.stack(blocks, 1))

        # Place: metres, along the axes of the camera of the frame before.
        to_sigmas = np.eye(3) / (MOVE_M_PER_ROOT_S * root_dt[:, None] * np.array([1, 1, DEPTH_SHARE]))[..., None]
        if self.T_world_camera is not None:
            to_sigmas = to_sigmas @ self.T_world_camera[:-1, :3, :3].swapaxes(-1, -2)
        moved = (to_sigmas @ np.diff(pelvis, axis=0)[..., None])[..., 0][:, None]
        after, before = (to_sigmas @ by_place[1:])[:, None], -(to_sigmas @ by_place[:-1])[:, None]
        cost_of_place, weight = _robust(moved)
        self._add(gradient, diagonal, between, moved, before, after, weight, np.arange(3)[None] + PLACE.start)
        return cost + cost_of_place, gradient, diagonal, between

    def _in_world(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotations (T, 22, 3, 3), the root's into the world; pelvis (T, 3), and its derivative by place (T, 3, 3)."""
        rotations, pelvis = state.rotations, state.pelvis
        by_place = np.zeros((len(pelvis), 3, 3))
        by_place[:, 0, 0] = by_place[:, 1, 1] = np.exp(state.place[:, 2])
        by_place[:, :, 2] = pelvis
        if self.T_world_camera is None:
            return rotations, pelvis, by_place
        R, centre = self.T_world_camera[:, :3, :3], self.T_world_camera[:, :3, 3]
        rotations = rotations.copy()
        rotations[:, 0] = R @ rotations[:, 0]
        return rotations, (R @ pelvis[..., None])[..., 0] + centre, R @ by_place

    @staticmethod
    def _add(gradient, diagonal, between, residual, before, after, weight, columns) -> None:
        """residual (T-1, K, 3), before and after (T-1, K, 3, 3), weight (T-1, K), columns (K, 3) of the unknowns."""
        weighted = weight[..., None, None]
        left, right = (before * weighted).swapaxes(-1, -2), (after * weighted).swapaxes(-1, -2)
        gradient[:-1, columns] += (left @ residual[..., None])[..., 0]
        gradient[1:, columns] += (right @ residual[..., None])[..., 0]
        rows, others = columns[:, :, None], columns[:, None, :]
        diagonal[:-1, rows, others] += left @ before
        diagonal[1:, rows, others] += right @ after
        between[:, rows, others] += left @ after


def _robust(residual: np.ndarray) -> tuple[float, np.ndarray]:
    """Geman-McClure's cost of residuals (T-1, K, 3), and their weights (T-1, K) in the quadratic model."""
    squared = np.square(residual).sum(-1)
    width = WIDTH**2
    cost = 0.5 * WEIGHT * (width * squared / (width + squared)).sum()
    return float(cost), WEIGHT * (width / (width + squared)) ** 2


def minimise_together(
    skeleton: Skeleton, terms: Sequence[Term], motion: Motion, state: State, iterations: int
) -> tuple[State, System]:
    """Levenberg-Marquardt over all frames of one person at once."""
    damping = 1e-3
    system, cost, model = _at(skeleton, terms, motion, state)
    for _ in range(iterations):
        step = _step(system, model, damping)
        proposed = state.moved(step)
        new_system, new_cost, new_model = _at(skeleton, terms, motion, proposed)
        if new_cost < cost:
            gain = cost - new_cost
            state, system, cost, model = proposed, new_system, new_cost, new_model
            damping = max(damping * 0.3, 1e-6)
            if gain < 1e-3 * len(step):
                break
        else:
            damping *= 10
    return state, system


def _at(skeleton: Skeleton, terms: Sequence[Term], motion: Motion, state: State):
    system = linearise(skeleton, terms, state, robust=True)
    model = motion.cost_and_model(state)
    return system, float(system.cost.sum()) + model[0], model


def _step(system: System, model: tuple, damping: float) -> np.ndarray:
    """(T, 80), no joint turning by more than the limit at once."""
    _, gradient, diagonal, between = model
    gradient, blocks = system.gradient + gradient, system.hessian() + diagonal
    index = np.arange(UNKNOWNS)
    blocks[:, index, index] *= 1 + damping
    blocks[:, index, index] += 1e-9
    step = solve_block_tridiagonal(blocks, between, -gradient)
    largest = np.abs(step[:, ROTATIONS]).max(1)
    return step * np.minimum(1, STEP_LIMIT_RAD / np.maximum(largest, 1e-9))[:, None]


def solve_block_tridiagonal(diagonal: np.ndarray, between: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x of A x = right for symmetric A with blocks (T, n, n) on its diagonal and (T - 1, n, n) to their right."""
    count, size = right.shape
    carried = np.zeros((count, size, size + 1))
    block, value = diagonal[0], right[0]
    for t in range(count):
        sides = np.concatenate([between[t], value[:, None]], 1) if t + 1 < count else value[:, None]
        solved = np.linalg.solve(block, sides)
        carried[t, :, -1] = solved[:, -1]
        if t + 1 < count:
            carried[t, :, :-1] = solved[:, :-1]
            block = diagonal[t + 1] - between[t].T @ solved[:, :-1]
            value = right[t + 1] - between[t].T @ solved[:, -1]
    x = np.empty_like(right)
    x[-1] = carried[-1, :, -1]
    for t in range(count - 2, -1, -1):
        x[t] = carried[t, :, -1] - carried[t, :, :-1] @ x[t + 1]
    return x
