# SPDX-License-Identifier: GPL-3.0-or-later
"""Levenberg-Marquardt for B people at once: each has its own damping, and none ever ends worse than it began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, Self

import numpy as np

from .kinematics import ALL_ROWS, ROTATIONS, UNKNOWNS, Posed, Rows, Skeleton, State

STEP_LIMIT_RAD = 0.5
CONVERGED = 0.1
"""A step that gains less than this in negative log likelihood is the last."""


@dataclass
class System:
    """The cost of a state and its quadratic model; terms add themselves to it."""

    cost: np.ndarray
    """(B,) negative log likelihood."""
    gradient: np.ndarray
    """(B, 80)."""
    prior_hessian: np.ndarray
    """(B, 80, 80) Gauss-Newton, of what is likely before anything is seen."""
    data_hessian: np.ndarray
    """(B, 80, 80) float32, of what was seen."""

    @classmethod
    def zero(cls, count: int) -> System:
        """For `count` people."""
        square = (count, UNKNOWNS, UNKNOWNS)
        return cls(np.zeros(count), np.zeros((count, UNKNOWNS)), np.zeros(square), np.zeros(square, np.float32))

    def hessian(self) -> np.ndarray:
        """(B, 80, 80) of everything."""
        return self.prior_hessian + self.data_hessian

    def add_seen(
        self,
        residual: np.ndarray,
        jacobian: np.ndarray,
        sigma: np.ndarray | float,
        weight: np.ndarray,
        robust_width: float | None,
        rows: Rows = ALL_ROWS,
        seen_share: np.ndarray | None = None,
    ) -> None:
        """Add observations: residual (B, M, d), jacobian (B, 80, d, M) float32, which is overwritten, their standard
        deviation sigma and weight (B, M).

        With `rows`, B of the people, in whom alone something was seen. `seen_share` (B, M) tells how much of each was
        seen rather than inferred; by default all of it.

        With `robust_width`, the cost of each is Geman-McClure's w^2 s / (w^2 + s) of its squared length s, in standard
        deviations.
        """
        residual = residual / np.expand_dims(sigma, -1)
        squared = np.square(residual).sum(-1)
        if robust_width is None:
            self.cost[rows] += 0.5 * (weight * squared).sum(1)
        else:
            width = robust_width**2
            less = width / (width + squared)
            self.cost[rows] += 0.5 * (weight * less * squared).sum(1)
            weight = weight * less**2
        root = np.sqrt(weight)
        jacobian *= (root / sigma).astype(np.float32)[:, None, None]
        count, unknowns, dimensions, points = jacobian.shape
        weighted = jacobian.reshape(count, unknowns, dimensions * points)
        residual = (residual * root[..., None]).swapaxes(1, 2).reshape(count, dimensions * points, 1)
        self.gradient[rows] += (weighted @ residual.astype(np.float32))[..., 0]
        if seen_share is None:
            self.data_hessian[rows] += weighted @ weighted.swapaxes(1, 2)
            return
        for share, hessian in ((seen_share, self.data_hessian), (1 - seen_share, self.prior_hessian)):
            part = (jacobian * np.sqrt(share).astype(np.float32)[:, None, None]).reshape(weighted.shape)
            hessian[rows] += part @ part.swapaxes(1, 2)

    def of_rows(self, rows: Rows) -> System:
        """Of some of the people."""
        return System(self.cost[rows], self.gradient[rows], self.prior_hessian[rows], self.data_hessian[rows])

    def put(self, rows: np.ndarray, other: System) -> None:
        """Take over some people's from `other`."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)[rows]

    @classmethod
    def joined(cls, parts: Sequence[System]) -> System:
        """One after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


class Term(Protocol):
    """One part of the cost."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Add cost, gradient and Gauss-Newton Hessian at `posed`."""

    def of_rows(self, rows: np.ndarray) -> Self:
        """The same of some of the people, ascending numbers, when the others are done."""


def linearise(skeleton: Skeleton, terms: Sequence[Term], state: State, robust: bool) -> System:
    """The sum of all terms at `state`."""
    system = System.zero(len(state.place))
    posed = skeleton.pose(state)
    for term in terms:
        term.add_to(system, posed, robust)
    return system


def minimise(
    skeleton: Skeleton, terms: Sequence[Term], state: State, iterations: int, robust_from: int = 0
) -> tuple[State, System]:
    """Go downhill from `state`. Outliers are discounted from iteration `robust_from` on: at first everything is far.

    Whoever is done leaves the batch.
    """
    count = len(state.place)
    going, damping, done = np.arange(count), np.full(count, 1e-2), []
    system = linearise(skeleton, terms, state, robust=robust_from == 0)
    for iteration in range(iterations):
        robust = iteration >= robust_from
        if iteration == robust_from > 0:
            system = linearise(skeleton, terms, state, robust)
        proposed = state.moved(_step(system, damping))
        new = linearise(skeleton, terms, proposed, robust)
        better = new.cost < system.cost
        finished = np.where(better, system.cost - new.cost < CONVERGED, damping >= 1e2) & robust
        if not better.all():
            new.put(~better, system)
            proposed = proposed.where(better, state)
        state, system = proposed, new
        damping = np.clip(np.where(better, damping * 0.3, damping * 8), 1e-5, 1e3)
        if finished.all():
            break
        if finished.any():
            done.append((going[finished], state.rows(finished), system.of_rows(finished)))
            left = np.flatnonzero(~finished)
            going, damping, state, system = going[left], damping[left], state.rows(left), system.of_rows(left)
            terms = [term.of_rows(left) for term in terms]
    return in_order([*done, (going, state, system)])


def in_order(parts: Sequence[tuple[np.ndarray, State, System]]) -> tuple[State, System]:
    """Parts of a batch as one batch again: the numbers of the people in each, where they stand, and their systems."""
    numbers, states, systems = zip(*parts, strict=True)
    if len(parts) == 1:
        return states[0], systems[0]
    order = np.argsort(np.concatenate(numbers))
    return State.joined(states).rows(order), System.joined(systems).of_rows(order)


def _step(system: System, damping: np.ndarray) -> np.ndarray:
    """(B, 80) damped Gauss-Newton step, no joint turning by more than the limit at once."""
    hessian = system.hessian()
    diagonal = np.arange(UNKNOWNS)
    hessian[:, diagonal, diagonal] *= 1 + damping[:, None]
    step = -np.linalg.solve(hessian, system.gradient[..., None])[..., 0]
    largest = np.abs(step[:, ROTATIONS]).max(1)
    return step * np.minimum(1, STEP_LIMIT_RAD / np.maximum(largest, 1e-9))[:, None]
