# SPDX-License-Identifier: GPL-3.0-or-later
"""The body that explains the landmarks: a batched Levenberg-Marquardt fit with analytic Jacobians, in numpy.

For every person at once it solves for the rotations of 22 joints, the place, ten shape numbers and, where the camera is
not known, the focal length. It weighs, as one negative log likelihood,

* image landmarks against the body's, in pixels, robustly (Geman-McClure);
* MediaPipe's metric landmarks against the body's, robustly: they are seen orthographically about the hips, so they are
  turned by the viewing ray first (specification 4.1);
* the pose prior (a mixture of Gaussians), soft limits of knees and elbows, a normal prior on shape, and on ln(focal).

Place and focal length are parametrised as (u, v, zeta, ln f): the pelvis projects to the offset (u, v) from the principal
point and has the depth f e^zeta. The size in the picture depends on zeta alone and perspective on ln f alone, so the two
are nearly independent, which the translation in metres and f are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ...models.body_model import load_body
from ...models.pose_prior import load_pose_prior
from ...models.rotations import cross_matrix, matrix_to_rotvec, rotation_between, rotvec_to_matrix
from .landmark_points import BODY_JOINTS, LandmarkPoints, landmark_points

ROTATIONS = slice(0, 3 * BODY_JOINTS)
BODY_ROTATIONS = slice(3, 3 * BODY_JOINTS)  # all but the root's, for which every direction is as likely
PLACE = slice(66, 69)  # u, v (pixels from the principal point), zeta = ln(depth / f)
BETAS = slice(69, 79)
LOG_FOCAL = 79
UNKNOWNS = 80

IMAGE_SIGMA = 0.015
"""Standard deviation of an image landmark, as a share of the person's size in the picture."""
METRIC_SIGMA_M = 0.10
"""Standard deviation of a metric landmark relative to the hips, mostly in depth (measured on renders)."""
METRIC_WEIGHT = 0.5
"""Metric and image landmarks come from one network, so they are not two independent observations."""
PRIOR_WEIGHT = 0.6
LIMIT_SIGMA_RAD = 0.1
HEIGHT_SIGMA_M = 0.01
STEP_LIMIT_RAD = 0.5
ROBUST_FROM = 5
"""Iterations before outliers are discounted: at the start everything is far away."""

# Hinges: (joint, axis, sign): flexion is positive about sign * axis; the other way it stops.
_HINGES = (("left_knee", 0, 1), ("right_knee", 0, 1), ("left_elbow", 1, -1), ("right_elbow", 1, 1))


@dataclass(frozen=True)
class Observations:
    """What was seen of B people (or frames), each fitted on its own."""

    points_px: np.ndarray
    """(B, 33, 2) landmarks in the full image."""
    visibility: np.ndarray
    """(B, 33) 0 to 1; 0 for landmarks outside the picture."""
    metric_points: np.ndarray
    """(B, 33, 3) landmarks in metres about the hips, camera axes (x right, y down, z forward)."""
    size_px: np.ndarray
    """(B,) the person's size in the picture, which scales the landmarks' noise."""
    centre_px: np.ndarray
    """(B, 2) principal point."""
    focal_px: np.ndarray
    """(B,) focal length, or its prior's centre."""
    focal_sigma: np.ndarray
    """(B,) standard deviation of the prior on ln(focal); 0 keeps it fixed."""
    height_m: np.ndarray
    """(B,) stature where known, else NaN."""


@dataclass(frozen=True)
class Fit:
    """B fitted bodies."""

    pose: np.ndarray
    """(B, 22, 3) rotation vectors."""
    betas: np.ndarray
    """(B, 10)."""
    translation: np.ndarray
    """(B, 3) metres, camera frame, added after posing."""
    focal_px: np.ndarray
    """(B,)."""
    focal_sigma: np.ndarray
    """(B,) posterior standard deviation of ln(focal)."""
    certainty: np.ndarray
    """(B, 22) 0 to 1: how much of the joint's spread in the prior the landmarks took away."""
    points_px: np.ndarray
    """(B, N, 2) where the body has the landmarks `landmark_points(body).indices`."""
    cost: np.ndarray
    """(B,) negative log likelihood, for comparing hypotheses of one person."""


@dataclass(frozen=True)
class _State:
    rotations: np.ndarray  # (B, 22, 3, 3) local
    place: np.ndarray  # (B, 3) u, v, zeta
    betas: np.ndarray  # (B, 10)
    log_focal: np.ndarray  # (B,)

    @property
    def focal_px(self) -> np.ndarray:
        return np.exp(self.log_focal)

    @property
    def pelvis(self) -> np.ndarray:
        """(B, 3) metres, camera frame."""
        u, v, zeta = self.place.T
        return np.exp(zeta)[:, None] * np.stack([u, v, self.focal_px], -1)

    def moved(self, step: np.ndarray) -> _State:
        turns = rotvec_to_matrix(step[:, ROTATIONS].reshape(-1, BODY_JOINTS, 3))
        return _State(
            rotations=self.rotations @ turns,
            place=self.place + step[:, PLACE],
            betas=self.betas + step[:, BETAS],
            log_focal=self.log_focal + step[:, LOG_FOCAL],
        )

    def where(self, keep: np.ndarray, other: _State) -> _State:
        """Rows of self where `keep`, else of other."""
        pick = lambda a, b: np.where(keep.reshape(-1, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
        return _State(
            pick(self.rotations, other.rotations),
            pick(self.place, other.place),
            pick(self.betas, other.betas),
            pick(self.log_focal, other.log_focal),
        )


def fit_landmarks(
    seen: Observations, body_name: str = "neutral", iterations: int = 24, start: Fit | None = None
) -> Fit:
    """Fit one body to each row of `seen`; `start` goes on from an earlier fit of the same people."""
    # Thousands of tiny solves: BLAS threads would only fight over them.
    with threadpool_limits(1, "blas"):
        problem = _Problem(seen, body_name)
        state = problem.start() if start is None else problem.resume(start)
        state, system = _minimise(problem, state, iterations, 0 if start is not None else ROBUST_FROM)
        return problem.result(state, system)


def _minimise(problem: _Problem, state: _State, iterations: int, robust_from: int) -> tuple[_State, _System]:
    """Levenberg-Marquardt with a damping per person; a step that makes things worse is taken back."""
    damping = np.full(len(state.place), 1e-2)
    system = problem.linearise(state, robust=robust_from == 0)
    for iteration in range(iterations):
        robust = iteration >= robust_from
        if iteration == robust_from > 0:
            system = problem.linearise(state, robust)
        proposed = state.moved(_step(system, damping))
        new = problem.linearise(proposed, robust)
        better = new.cost < system.cost
        gain = np.where(better, system.cost - new.cost, 0)
        state, system = proposed.where(better, state), new.where(better, system)
        damping = np.clip(np.where(better, damping * 0.3, damping * 8), 1e-5, 1e3)
        # Both finished and stuck people stop asking for iterations.
        if robust and np.all((better & (gain < 1e-3)) | (damping >= 1e2)):
            break
    return state, system


def _step(system: _System, damping: np.ndarray) -> np.ndarray:
    """(B, 80) damped Gauss-Newton step, no joint turning by more than the limit at once."""
    hessian = system.hessian + damping[:, None, None] * np.einsum("bii,ij->bij", system.hessian, np.eye(UNKNOWNS))
    step = -np.linalg.solve(hessian, system.gradient[..., None])[..., 0]
    largest = np.abs(step[:, ROTATIONS]).max(1)
    return step * np.minimum(1, STEP_LIMIT_RAD / np.maximum(largest, 1e-9))[:, None]


@dataclass(frozen=True)
class _System:
    """The cost and its quadratic model about a state."""

    cost: np.ndarray  # (B,)
    gradient: np.ndarray  # (B, 80)
    hessian: np.ndarray  # (B, 80, 80) Gauss-Newton
    data_hessian: np.ndarray  # (B, 80, 80) the landmarks' share of it

    def where(self, keep: np.ndarray, other: _System) -> _System:
        return _System(
            np.where(keep, self.cost, other.cost),
            np.where(keep[:, None], self.gradient, other.gradient),
            np.where(keep[:, None, None], self.hessian, other.hessian),
            np.where(keep[:, None, None], self.data_hessian, other.data_hessian),
        )


class _Problem:
    """Costs and derivatives of B people."""

    def __init__(self, seen: Observations, body_name: str) -> None:
        body = load_body(body_name)
        self.points: LandmarkPoints = landmark_points(body_name)
        # The pelvis is its own parent here, which makes its bone zero and spares a special case.
        self.parents = np.maximum(body.parents[:BODY_JOINTS], 0)
        self.levels, self.path = _tree(body.parents[:BODY_JOINTS])
        self.rest_joints = body.joints_template[:BODY_JOINTS].astype(np.float64)
        self.joint_dirs = body.joint_shapedirs[:BODY_JOINTS, :, :10].astype(np.float64)
        self.prior = load_pose_prior()
        names = list(body.joint_names)
        self.hinges = [(names.index(joint), axis, sign) for joint, axis, sign in _HINGES]
        chosen = self.points.indices
        self.observed_px = seen.points_px[:, chosen] - seen.centre_px[:, None]
        self.visibility = seen.visibility[:, chosen]
        self.sigma_px = IMAGE_SIGMA * seen.size_px
        metric = seen.metric_points[:, chosen]
        self.hips = np.flatnonzero(np.isin(chosen, (23, 24)))
        self.torso = np.flatnonzero(np.isin(chosen, (11, 12, 23, 24)))
        self.metric = metric - metric[:, self.hips].mean(1, keepdims=True)
        self.focal_prior = np.log(seen.focal_px)
        self.focal_sigma = seen.focal_sigma
        self.centre_px = seen.centre_px
        self.height_m = seen.height_m
        top, bottom = body.v_template[:, 1].argmax(), body.v_template[:, 1].argmin()
        self.stature = float(body.v_template[top, 1] - body.v_template[bottom, 1])
        self.stature_dirs = (body.shapedirs[top, 1, :10] - body.shapedirs[bottom, 1, :10]).astype(np.float64)

    # ---- start ----

    def start(self) -> _State:
        """Torso turned onto the metric landmarks' torso, limbs at the prior's mean, place from the size in the picture."""
        count = len(self.observed_px)
        heaviest = self.prior.means[self.prior.log_weights.argmax()].reshape(-1, 3)
        rotations = np.tile(rotvec_to_matrix(np.concatenate([np.zeros((1, 3)), heaviest])), (count, 1, 1, 1))
        rest = self.points.rest[self.torso] - self.points.rest[self.torso].mean(0)
        target = self.metric[:, self.torso] - self.metric[:, self.torso].mean(1, keepdims=True)
        rotations[:, 0] = _kabsch(rest, target)
        state = _State(rotations, np.zeros((count, 3)), np.zeros((count, 10)), self.focal_prior.copy())
        pelvis_to_points = self._pose(state).points - state.pelvis[:, None]
        weight = self.visibility * self.visibility + 1e-6
        weight = weight / weight.sum(1, keepdims=True)
        # Weak perspective: the spread of the landmarks in the picture over their spread in metres gives the depth.
        centred_px = self.observed_px - np.einsum("bn,bni->bi", weight, self.observed_px)[:, None]
        centred_m = self.metric[..., :2] - np.einsum("bn,bni->bi", weight, self.metric[..., :2])[:, None]
        spread_px = np.sqrt(np.einsum("bn,bni->b", weight, centred_px**2))
        spread_m = np.sqrt(np.einsum("bn,bni->b", weight, centred_m**2))
        metres_per_px = np.maximum(spread_m, 1e-2) / np.maximum(spread_px, 1e-2)
        torso_px = self.observed_px[:, self.torso].mean(1)
        torso_m = pelvis_to_points[:, self.torso, :2].mean(1)
        place = np.concatenate([torso_px - torso_m / metres_per_px[:, None], np.log(metres_per_px)[:, None]], 1)
        return replace(state, place=place)

    def resume(self, fit: Fit) -> _State:
        """Where an earlier fit ended, with this problem's focal length: the size in the picture stays."""
        pelvis = fit.translation + self.rest_joints[0] + fit.betas @ self.joint_dirs[0].T
        scale = pelvis[:, 2] / fit.focal_px
        place = np.concatenate([pelvis[:, :2] / scale[:, None], np.log(scale)[:, None]], 1)
        return _State(rotvec_to_matrix(fit.pose), place, fit.betas, self.focal_prior.copy())

    # ---- the body ----

    def _pose(self, state: _State) -> _Posed:
        """Joints and landmarks in the camera frame, and how they move with the betas."""
        count = len(state.place)
        rest = self.rest_joints + np.einsum("jik,bk->bji", self.joint_dirs, state.betas)
        rotations = np.empty((count, BODY_JOINTS, 3, 3))
        rotations[:, 0] = state.rotations[:, 0]
        for level in self.levels:
            rotations[:, level] = rotations[:, self.parents[level]] @ state.rotations[:, level]
        # Each joint lies at the pelvis plus all bones on the way to it.
        at_parent = rotations[:, self.parents]
        bones = (at_parent @ (rest - rest[:, self.parents])[..., None])[..., 0]
        joints = state.pelvis[:, None] + self.path @ bones
        bone_betas = at_parent @ (self.joint_dirs - self.joint_dirs[self.parents])
        joint_betas = (self.path @ bone_betas.reshape(count, BODY_JOINTS, -1)).reshape(bone_betas.shape)
        owners = self.points.owners
        rest_points = self.points.rest + np.einsum("nik,bk->bni", self.points.rest_shapedirs, state.betas)
        lever = rest_points - rest[:, owners]
        points = joints[:, owners] + (rotations[:, owners] @ lever[..., None])[..., 0]
        lever_betas = self.points.rest_shapedirs - self.joint_dirs[owners]
        point_betas = joint_betas[:, owners] + rotations[:, owners] @ lever_betas
        return _Posed(rotations, joints, points, point_betas)

    def _point_jacobian(self, state: _State, posed: _Posed) -> np.ndarray:
        """(B, N, 3, 80) derivative of the landmarks (metres, camera frame) by the unknowns."""
        count, points = posed.points.shape[:2]
        jacobian = np.zeros((count, points, 3, UNKNOWNS))
        # A small turn e_a of joint j, in its own frame, moves a point below it by (G_j e_a) x (point - joint_j).
        lever = posed.points[:, :, None] - posed.joints[:, None]  # (B, N, 22, 3)
        turn = -cross_matrix(lever) @ posed.rotations[:, None]  # (B, N, 22, 3, 3)
        turn *= self.points.ancestors[None, :, :, None, None]
        jacobian[..., ROTATIONS] = turn.transpose(0, 1, 3, 2, 4).reshape(count, points, 3, -1)
        scale = np.exp(state.place[:, 2])
        jacobian[:, :, 0, PLACE.start] = scale[:, None]
        jacobian[:, :, 1, PLACE.start + 1] = scale[:, None]
        jacobian[:, :, :, PLACE.start + 2] = state.pelvis[:, None]
        jacobian[..., BETAS] = posed.point_betas
        jacobian[:, :, 2, LOG_FOCAL] = state.pelvis[:, None, 2]
        return jacobian

    # ---- the cost ----

    def linearise(self, state: _State, robust: bool) -> _System:
        posed = self._pose(state)
        jacobian = self._point_jacobian(state, posed)
        image = self._image_terms(state, posed, jacobian)
        metric = self._metric_terms(posed, jacobian)
        count = len(state.place)
        cost, rows, residuals = np.zeros(count), [], []
        for (residual, derivative, weight), width in ((image, 3.0), (metric, 2.5)):
            squared = np.square(residual).sum(-1)
            if robust:
                # Geman-McClure: width^2 s / (width^2 + s); its weight for Gauss-Newton is the derivative by s.
                cost += 0.5 * (weight * width**2 * squared / (width**2 + squared)).sum(1)
                weight = weight * (width**2 / (width**2 + squared)) ** 2
            else:
                cost += 0.5 * (weight * squared).sum(1)
            root = np.sqrt(weight)[..., None]
            residuals.append((residual * root).reshape(count, -1))
            rows.append((derivative * root[..., None]).reshape(count, -1, UNKNOWNS))
        stacked, residual = np.concatenate(rows, 1), np.concatenate(residuals, 1)
        transposed = stacked.swapaxes(1, 2)
        data_hessian = transposed @ stacked
        gradient = (transposed @ residual[..., None])[..., 0]
        hessian = data_hessian.copy()
        rotvecs = matrix_to_rotvec(state.rotations[:, 1:])
        self._add_pose_prior(rotvecs, cost, gradient, hessian)
        self._add_limits(rotvecs, cost, gradient, hessian)
        self._add_shape_and_focal(state, cost, gradient, hessian)
        return _System(cost, gradient, hessian, data_hessian)

    def _image_terms(self, state: _State, posed: _Posed, jacobian: np.ndarray):
        """Residuals (B, N, 2) in standard deviations, their derivative, and weights."""
        focal = state.focal_px[:, None, None]
        depth = np.maximum(posed.points[..., 2:], 0.05)  # a point that strays behind the camera comes back smoothly
        projected = focal * posed.points[..., :2] / depth
        derivative = (focal[..., None] * jacobian[:, :, :2] - projected[..., None] * jacobian[:, :, 2:]) / depth[
            ..., None
        ]
        derivative[..., LOG_FOCAL] += projected
        sigma = self.sigma_px[:, None, None]
        return (projected - self.observed_px) / sigma, derivative / sigma[..., None], self.visibility

    def _metric_terms(self, posed: _Posed, jacobian: np.ndarray):
        """Residuals (B, N, 3) in standard deviations, their derivative, and weights."""
        hips = posed.points[:, self.hips].mean(1)
        ray = hips / np.linalg.norm(hips, axis=-1, keepdims=True)
        turned = np.einsum("bij,bnj->bni", rotation_between(np.array([0, 0, 1.0]), ray), self.metric)
        residual = posed.points - hips[:, None] - turned
        by_hips = jacobian[:, self.hips].mean(1)  # (B, 3, 80)
        # As the ray swings, the metric landmarks turn about ray x d(ray); a turn w moves a point by w x point.
        swing = cross_matrix(ray) @ by_hips / np.linalg.norm(hips, axis=-1)[:, None, None]
        derivative = jacobian - by_hips[:, None] + cross_matrix(turned) @ swing[:, None]
        return residual / METRIC_SIGMA_M, derivative / METRIC_SIGMA_M, METRIC_WEIGHT * self.visibility

    def _add_pose_prior(self, rotvecs: np.ndarray, cost: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> None:
        flat = rotvecs.reshape(len(cost), -1)
        nearest = self.prior.nearest(flat)
        root = self.prior.roots[nearest]  # (B, 63, 63)
        residual = (root @ (flat - self.prior.means[nearest])[..., None])[..., 0]
        cost += PRIOR_WEIGHT * (0.5 * np.square(residual).sum(1) - self.prior.log_weights[nearest])
        # The unknowns are turns in the joint's own frame; the prior speaks of rotation vectors.
        by_turn = root.reshape(len(cost), 63, 21, 3).transpose(0, 2, 1, 3) @ _rotvec_by_turn(rotvecs)
        derivative = by_turn.transpose(0, 2, 1, 3).reshape(len(cost), 63, 63)
        transposed = PRIOR_WEIGHT * derivative.swapaxes(1, 2)
        gradient[:, BODY_ROTATIONS] += (transposed @ residual[..., None])[..., 0]
        hessian[:, BODY_ROTATIONS, BODY_ROTATIONS] += transposed @ derivative

    def _add_limits(self, rotvecs: np.ndarray, cost: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> None:
        """Knees and elbows do not bend backwards."""
        for joint, axis, sign in self.hinges:
            over = np.minimum(sign * rotvecs[:, joint - 1, axis], 0) / LIMIT_SIGMA_RAD
            cost += 0.5 * over**2
            column = 3 * joint + axis
            gradient[:, column] += sign * over / LIMIT_SIGMA_RAD
            hessian[:, column, column] += (over < 0) / LIMIT_SIGMA_RAD**2

    def _add_shape_and_focal(self, state: _State, cost: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> None:
        cost += 0.5 * np.square(state.betas).sum(1)
        gradient[:, BETAS] += state.betas
        diagonal = np.arange(BETAS.start, BETAS.stop)
        hessian[:, diagonal, diagonal] += 1
        known = np.isfinite(self.height_m)
        if known.any():
            excess = np.where(known, self.stature + state.betas @ self.stature_dirs - self.height_m, 0) / HEIGHT_SIGMA_M
            direction = known[:, None] * self.stature_dirs / HEIGHT_SIGMA_M
            cost += 0.5 * excess**2
            gradient[:, BETAS] += excess[:, None] * direction
            hessian[:, BETAS, BETAS] += direction[:, :, None] * direction[:, None]
        # A known focal length gets a very narrow prior, so that one code path serves both.
        precision = 1 / np.maximum(self.focal_sigma, 1e-6) ** 2
        offset = state.log_focal - self.focal_prior
        cost += 0.5 * precision * offset**2
        gradient[:, LOG_FOCAL] += precision * offset
        hessian[:, LOG_FOCAL, LOG_FOCAL] += precision

    # ---- the answer ----

    def result(self, state: _State, system: _System) -> Fit:
        posed = self._pose(state)
        rest_pelvis = self.rest_joints[0] + state.betas @ self.joint_dirs[0].T
        covariance = np.linalg.inv(system.hessian + 1e-9 * np.eye(UNKNOWNS))
        prior_only = np.linalg.inv(system.hessian - system.data_hessian + 1e-3 * np.eye(UNKNOWNS))
        spread = lambda c: np.einsum("bii->bi", c)[:, ROTATIONS].reshape(-1, BODY_JOINTS, 3).sum(-1)  # noqa: E731
        focal = state.focal_px[:, None, None]
        projected = focal * posed.points[..., :2] / np.maximum(posed.points[..., 2:], 0.05)
        return Fit(
            pose=matrix_to_rotvec(state.rotations),
            betas=state.betas,
            translation=state.pelvis - rest_pelvis,
            focal_px=state.focal_px,
            focal_sigma=np.sqrt(covariance[:, LOG_FOCAL, LOG_FOCAL]),
            certainty=np.clip(1 - spread(covariance) / spread(prior_only), 0, 1),
            points_px=projected + self.centre_px[:, None],
            cost=system.cost,
        )


@dataclass(frozen=True)
class _Posed:
    rotations: np.ndarray  # (B, 22, 3, 3) from the rest frame to the camera frame
    joints: np.ndarray  # (B, 22, 3)
    points: np.ndarray  # (B, N, 3)
    point_betas: np.ndarray  # (B, N, 3, 10)


def _tree(parents: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Joints below the root by depth, so that one depth is one step; and (J, J) which joints lie on the way to which."""
    path = np.eye(len(parents))
    for joint, parent in enumerate(parents):
        if parent >= 0:
            path[joint] += path[parent]
    depth = path.sum(1).astype(int) - 1
    return [np.flatnonzero(depth == d) for d in range(1, depth.max() + 1)], path


def _kabsch(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, 3), (B, N, 3), both centred -> (B, 3, 3) rotation taking source onto target best."""
    u, _, vt = np.linalg.svd(np.einsum("bni,nj->bij", target, source))
    sign = np.ones((len(target), 3))
    sign[:, 2] = np.linalg.det(u @ vt)
    return (u * sign[:, None]) @ vt


def _rotvec_by_turn(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3): how the rotation vector changes with a small turn in the joint's own frame.

    The inverse right Jacobian of SO(3): I + K/2 + (1/t^2 - (1 + cos t) / (2 t sin t)) K^2, K the cross matrix, t the angle.
    """
    angle = np.linalg.norm(rotvecs, axis=-1)[..., None, None]
    cross = cross_matrix(rotvecs)
    small = angle < 1e-3
    safe = np.where(small, 1.0, np.minimum(angle, np.pi - 1e-3))  # at pi the rotation vector jumps
    factor = np.where(small, 1 / 12, 1 / safe**2 - (1 + np.cos(safe)) / (2 * safe * np.sin(safe)))
    return np.eye(3) + 0.5 * cross + factor * (cross @ cross)
