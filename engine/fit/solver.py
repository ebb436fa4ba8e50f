# SPDX-License-Identifier: GPL-3.0-or-later
"""Levenberg-Marquardt for B people at once: each has its own damping, and none ever ends worse than it began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
    hessian: np.ndarray
    """(B, 80, 80) Gauss-Newton."""
    data_hessian: np.ndarray
    """(B, 80, 80) the share of what was seen, without the priors."""

    @classmethod
    def zero(cls, count: int) -> System:
        """For `count` people."""
        return cls(np.zeros(count), np.zeros((count, UNKNOWNS)), *np.zeros((2, count, UNKNOWNS, UNKNOWNS)))

    def add_seen(
        self,
        residual: np.ndarray,
        jacobian: np.ndarray,
        weight: np.ndarray,
        robust_width: float | None,
        rows: Rows = ALL_ROWS,
        seen_share: np.ndarray | None = None,
    ) -> None:
        """Add observations: residual (B, M, d) in standard deviations, jacobian (B, M, d, 80), weight (B, M).

        With `rows`, B of the people, in whom alone something was seen. `seen_share` (B, M) tells how much of each was
        seen rather than inferred; by default all of it.

        With `robust_width`, the cost of each is Geman-McClure's w^2 s / (w^2 + s) of its squared length s.
        """
        squared = np.square(residual).sum(-1)
        if robust_width is None:
            self.cost[rows] += 0.5 * (weight * squared).sum(1)
        else:
            width = robust_width**2
            self.cost[rows] += 0.5 * (weight * width * squared / (width + squared)).sum(1)
            weight = weight * (width / (width + squared)) ** 2
        count = len(weight)
        root = np.sqrt(weight)[..., None]
        weighted = (jacobian * root[..., None]).reshape(count, -1, UNKNOWNS)
        transposed = weighted.swapaxes(1, 2)
        hessian = transposed @ weighted
        self.gradient[rows] += (transposed @ (residual * root).reshape(count, -1, 1))[..., 0]
        self.hessian[rows] += hessian
        if seen_share is not None:
            hessian = transposed @ (weighted * np.repeat(seen_share, residual.shape[-1], 1)[..., None])
        self.data_hessian[rows] += hessian

    def where(self, keep: np.ndarray, other: System) -> System:
        """Rows of self where `keep` (B,), else of other."""
        return System(
            np.where(keep, self.cost, other.cost),
            np.where(keep[:, None], self.gradient, other.gradient),
            np.where(keep[:, None, None], self.hessian, other.hessian),
            np.where(keep[:, None, None], self.data_hessian, other.data_hessian),
        )


class Term(Protocol):
    """One part of the cost."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Add cost, gradient and Gauss-Newton Hessian at `posed`."""


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
    """Go downhill from `state`. Outliers are discounted from iteration `robust_from` on: at first everything is far."""
    damping = np.full(len(state.place), 1e-2)
    system = linearise(skeleton, terms, state, robust=robust_from == 0)
    for iteration in range(iterations):
        robust = iteration >= robust_from
        if iteration == robust_from > 0:
            system = linearise(skeleton, terms, state, robust)
        proposed = state.moved(_step(system, damping))
        new = linearise(skeleton, terms, proposed, robust)
        better = new.cost < system.cost
        finished = np.where(better, system.cost - new.cost < CONVERGED, damping >= 1e2)
        state, system = proposed.where(better, state), new.where(better, system)
        damping = np.clip(np.where(better, damping * 0.3, damping * 8), 1e-5, 1e3)
        if robust and finished.all():
            break
    return state, system


def _step(system: System, damping: np.ndarray) -> np.ndarray:
    """(B, 80) damped Gauss-Newton step, no joint turning by more than the limit at once."""
    hessian = system.hessian.copy()
    diagonal = np.arange(UNKNOWNS)
    hessian[:, diagonal, diagonal] *= 1 + damping[:, None]
    step = -np.linalg.solve(hessian, system.gradient[..., None])[..., 0]
    largest = np.abs(step[:, ROTATIONS]).max(1)
    return step * np.minimum(1, STEP_LIMIT_RAD / np.maximum(largest, 1e-9))[:, None]
