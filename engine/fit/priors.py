# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms for what is likely before a picture is seen: poses, joint limits, shape, stature, focal length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...models.body_model import BodyModel
from ...models.pose_prior import PosePrior
from ...models.rotations import cross_matrix, matrix_to_rotvec
from .kinematics import BETAS, BODY_ROTATIONS, LOG_FOCAL, Posed
from .solver import System

POSE_WEIGHT = 0.6
"""The prior knows few clips; less than full weight lets the picture overrule it."""
LIMIT_SIGMA_RAD = 0.1
HEIGHT_SIGMA_M = 0.01
KNOWN_SHAPE_SIGMA = 1e-3

# Hinges: (joint, axis, sign): flexion is positive about sign * axis; the other way it stops.
_HINGES = (("left_knee", 0, 1), ("right_knee", 0, 1), ("left_elbow", 1, -1), ("right_elbow", 1, 1))


@dataclass(frozen=True)
class PoseTerms:
    """The mixture of likely poses, and knees and elbows that do not bend backwards."""

    prior: PosePrior
    joint_names: tuple[str, ...]

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Both speak of the body joints' rotation vectors."""
        rotvecs = matrix_to_rotvec(posed.state.rotations[:, 1:])
        self._add_mixture(system, rotvecs)
        self._add_limits(system, rotvecs)

    def _add_mixture(self, system: System, rotvecs: np.ndarray) -> None:
        count = len(rotvecs)
        flat = rotvecs.reshape(count, -1)
        nearest = self.prior.nearest(flat)
        precision = POSE_WEIGHT * self.prior.precisions[nearest]  # (B, 63, 63)
        offset = (flat - self.prior.means[nearest])[..., None]
        pull = precision @ offset
        system.cost += 0.5 * (offset * pull).sum((1, 2)) - POSE_WEIGHT * self.prior.log_weights[nearest]
        # The unknowns are turns in the joint's own frame; the prior speaks of rotation vectors.
        by_turn = rotvec_by_turn(rotvecs)
        transposed = by_turn.swapaxes(2, 3)
        system.gradient[:, BODY_ROTATIONS] += (transposed @ pull.reshape(count, 21, 3, 1)).reshape(count, 63)
        half = (transposed @ precision.reshape(count, 21, 3, 63)).reshape(count, 63, 63)
        # The precision is symmetric: the same on its other side.
        both = transposed @ half.swapaxes(1, 2).reshape(count, 21, 3, 63)
        system.prior_hessian[:, BODY_ROTATIONS, BODY_ROTATIONS] += both.reshape(count, 63, 63)

    def _add_limits(self, system: System, rotvecs: np.ndarray) -> None:
        columns = np.array([3 * self.joint_names.index(name) + axis for name, axis, _ in _HINGES])
        signs = np.array([sign for *_, sign in _HINGES])
        flexion = signs * rotvecs.reshape(len(rotvecs), -1)[:, columns - 3]  # the root is not among the rotvecs
        over = np.minimum(flexion, 0) / LIMIT_SIGMA_RAD
        system.cost += 0.5 * np.square(over).sum(1)
        system.gradient[:, columns] += signs * over / LIMIT_SIGMA_RAD
        system.prior_hessian[:, columns, columns] += (over < 0) / LIMIT_SIGMA_RAD**2

    def of_rows(self, rows: np.ndarray) -> PoseTerms:
        """The same for everybody."""
        return self


@dataclass(frozen=True)
class ShapeTerms:
    """Betas are standard normal; a known stature holds."""

    stature_m: float
    """Stature at zero shape."""
    stature_betas: np.ndarray
    """(10,) metres per unit of beta."""
    height_m: np.ndarray
    """(B,) known stature, else NaN."""

    @classmethod
    def of(cls, body: BodyModel, height_m: np.ndarray) -> ShapeTerms:
        """For a body and (B,) statures in metres (NaN where unknown)."""
        top, bottom = body.v_template[:, 1].argmax(), body.v_template[:, 1].argmin()
        stature = float(body.v_template[top, 1] - body.v_template[bottom, 1])
        return cls(stature, (body.shapedirs[top, 1, :10] - body.shapedirs[bottom, 1, :10]).astype(np.float64), height_m)

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Both are quadratic in the betas."""
        betas = posed.state.betas
        system.cost += 0.5 * np.square(betas).sum(1)
        system.gradient[:, BETAS] += betas
        system.prior_hessian[:, BETAS, BETAS] += np.eye(betas.shape[1])
        known = np.isfinite(self.height_m)
        excess = np.where(known, self.stature_m + betas @ self.stature_betas - self.height_m, 0) / HEIGHT_SIGMA_M
        direction = known[:, None] * self.stature_betas / HEIGHT_SIGMA_M
        system.cost += 0.5 * excess**2
        system.gradient[:, BETAS] += excess[:, None] * direction
        system.prior_hessian[:, BETAS, BETAS] += direction[:, :, None] * direction[:, None]

    def of_rows(self, rows: np.ndarray) -> ShapeTerms:
        """Of some of the people."""
        return replace(self, height_m=self.height_m[rows])


@dataclass(frozen=True)
class KnownShape:
    """The betas are those that all frames of a person agreed on."""

    betas: np.ndarray
    """(B, 10)."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Quadratic, and very steep."""
        precision = 1 / KNOWN_SHAPE_SIGMA**2
        offset = posed.state.betas - self.betas
        system.cost += 0.5 * precision * np.square(offset).sum(1)
        system.gradient[:, BETAS] += precision * offset
        system.prior_hessian[:, BETAS, BETAS] += precision * np.eye(offset.shape[1])

    def of_rows(self, rows: np.ndarray) -> KnownShape:
        """Of some of the people."""
        return KnownShape(self.betas[rows])


@dataclass(frozen=True)
class FocalTerm:
    """ln(focal) is normal; a known focal length has a very narrow prior, so that one path serves both."""

    log_focal: np.ndarray
    """(B,) centre."""
    sigma: np.ndarray
    """(B,) standard deviation; 0 keeps the focal length."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Quadratic in ln(focal)."""
        precision = 1 / np.maximum(self.sigma, 1e-6) ** 2
        offset = posed.state.log_focal - self.log_focal
        system.cost += 0.5 * precision * offset**2
        system.gradient[:, LOG_FOCAL] += precision * offset
        system.prior_hessian[:, LOG_FOCAL, LOG_FOCAL] += precision

    def of_rows(self, rows: np.ndarray) -> FocalTerm:
        """Of some of the people."""
        return FocalTerm(self.log_focal[rows], self.sigma[rows])


def rotvec_by_turn(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3): how the rotation vector changes with a small turn in the joint's own frame.

    The inverse right Jacobian of SO(3): I + K/2 + (1/t^2 - (1 + cos t) / (2 t sin t)) K^2 with K the cross matrix and t
    the angle.
    """
    angle = np.sqrt(np.square(rotvecs).sum(-1))[..., None, None]
    cross = cross_matrix(rotvecs)
    small = angle < 1e-3
    safe = np.where(small, 1.0, np.minimum(angle, np.pi - 1e-3))  # at pi the rotation vector jumps
    factor = np.where(small, 1 / 12, 1 / safe**2 - (1 + np.cos(safe)) / (2 * safe * np.sin(safe)))
    return np.eye(3) + 0.5 * cross + factor * (cross @ cross)
