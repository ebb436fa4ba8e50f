# SPDX-License-Identifier: GPL-3.0-or-later
"""The unknowns of a fit, the skeleton they move, and the derivatives of points on the body by the unknowns.

Place and focal length are parametrised as (u, v, zeta, ln f): the pelvis projects to the offset (u, v) from the
principal point and has the depth f e^zeta. The size in the picture depends on zeta alone and perspective on ln f alone,
so the two are nearly independent, which a translation in metres and f are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np

from ...models.body_model import load_body
from ...models.rotations import cross_matrix, rotvec_to_matrix

BODY_JOINTS = 22
"""Pelvis and the 21 body joints: what the fit turns. Hands, jaw and eyes ride along."""

ROTATIONS = slice(0, 66)  # a small turn of each joint in its own frame, radians
BODY_ROTATIONS = slice(3, 66)  # all but the root's
PLACE = slice(66, 69)  # u, v (pixels from the principal point), zeta = ln(depth / f)
BETAS = slice(69, 79)
BETA_COUNT = 10
LOG_FOCAL = 79
UNKNOWNS = 80
NEAREST_M = 0.05
"""Depth below which a point is projected as if it lay there."""

Rows = slice | np.ndarray
"""Some of B people: a slice, or their numbers, each once."""
ALL_ROWS = slice(None)


@dataclass(frozen=True)
class State:
    """Where a fit of B people stands."""

    rotations: np.ndarray
    """(B, 22, 3, 3) local, relative to the parent joint."""
    place: np.ndarray
    """(B, 3) u, v, zeta."""
    betas: np.ndarray
    """(B, 10)."""
    log_focal: np.ndarray
    """(B,) ln of the focal length in pixels."""

    @property
    def focal_px(self) -> np.ndarray:
        """(B,)."""
        return np.exp(self.log_focal)

    @cached_property
    def pelvis(self) -> np.ndarray:
        """(B, 3) metres, camera frame."""
        u, v, zeta = self.place.T
        return np.exp(zeta)[:, None] * np.stack([u, v, self.focal_px], -1)

    def moved(self, step: np.ndarray) -> State:
        """The state after a step (B, 80)."""
        turns = rotvec_to_matrix(step[:, ROTATIONS].reshape(-1, BODY_JOINTS, 3))
        return State(
            rotations=self.rotations @ turns,
            place=self.place + step[:, PLACE],
            betas=self.betas + step[:, BETAS],
            log_focal=self.log_focal + step[:, LOG_FOCAL],
        )

    def rows(self, rows: Rows) -> State:
        """Some of the people."""
        return State(self.rotations[rows], self.place[rows], self.betas[rows], self.log_focal[rows])

    @classmethod
    def joined(cls, parts: Sequence[State]) -> State:
        """One after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def where(self, keep: np.ndarray, other: State) -> State:
        """Rows of self where `keep` (B,), else of other."""

        def pick(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.where(keep.reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return State(
            pick(self.rotations, other.rotations),
            pick(self.place, other.place),
            pick(self.betas, other.betas),
            pick(self.log_focal, other.log_focal),
        )


@dataclass(frozen=True)
class Posed:
    """The skeleton of B people in the camera frame, and how it moves with the betas."""

    state: State
    rotations: np.ndarray
    """(B, 22, 3, 3) from the rest frame to the camera frame."""
    joints: np.ndarray
    """(B, 22, 3) metres."""
    rest_joints: np.ndarray
    """(B, 22, 3) metres, body frame."""
    joint_betas: np.ndarray
    """(B, 22, 3, 10) derivative of `joints` by the betas, the pelvis held."""

    def rows(self, rows: Rows) -> Posed:
        """Some of the people."""
        if rows is ALL_ROWS:
            return self  # with what it has worked out already
        return Posed(
            self.state.rows(rows),
            self.rotations[rows],
            self.joints[rows],
            self.rest_joints[rows],
            self.joint_betas[rows],
        )

    @cached_property
    def by_axis(self) -> np.ndarray:
        """(B, 22, 9, 3) float32: for each axis of a joint, the matrix that turns about it (three rows each)."""
        axes = self.rotations.swapaxes(2, 3).astype(np.float32)
        return cross_matrix(axes).reshape(len(axes), BODY_JOINTS, 9, 3)


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The 22 joints that a fit turns."""

    parents: np.ndarray
    """(22,) with the pelvis as its own parent, which makes its bone zero and spares a special case."""
    rest: np.ndarray
    """(22, 3) metres at zero shape."""
    rest_betas: np.ndarray
    """(22, 3, 10) metres per unit of beta."""
    levels: tuple[np.ndarray, ...]
    """Joints below the root by depth, so that each depth is one step."""
    path: np.ndarray
    """(22, 22) 1 where joint [column] lies on the way from the pelvis to joint [row], itself included."""

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """(B, 10) -> (B, 22, 3) metres."""
        return self.rest + np.einsum("jik,bk->bji", self.rest_betas, betas)

    def pose(self, state: State) -> Posed:
        """Forward kinematics."""
        count = len(state.place)
        rest = self.rest_joints(state.betas)
        rotations = np.empty((count, BODY_JOINTS, 3, 3))
        rotations[:, 0] = state.rotations[:, 0]
        for level in self.levels:
            rotations[:, level] = rotations[:, self.parents[level]] @ state.rotations[:, level]
        # Each joint lies at the pelvis plus all bones on the way to it.
        at_parent = rotations[:, self.parents]
        bones = (at_parent @ (rest - rest[:, self.parents])[..., None])[..., 0]
        bone_betas = at_parent @ (self.rest_betas - self.rest_betas[self.parents])
        joint_betas = (self.path @ bone_betas.reshape(count, BODY_JOINTS, -1)).reshape(bone_betas.shape)
        return Posed(state, rotations, state.pelvis[:, None] + self.path @ bones, rest, joint_betas)


@lru_cache(maxsize=4)
def load_skeleton(body_name: str) -> Skeleton:
    """The skeleton of a body."""
    body = load_body(body_name)
    parents = body.parents[:BODY_JOINTS]
    path = np.eye(BODY_JOINTS)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            path[joint] += path[parent]
    depth = path.sum(1).astype(int) - 1
    return Skeleton(
        parents=np.maximum(parents, 0),
        rest=body.joints_template[:BODY_JOINTS].astype(np.float64),
        rest_betas=body.joint_shapedirs[:BODY_JOINTS, :, :10].astype(np.float64),
        levels=tuple(np.flatnonzero(depth == d) for d in range(1, depth.max() + 1)),
        path=path,
    )


@dataclass(frozen=True)
class BodyPoints:
    """N points on each of B bodies in the camera frame, with their derivatives."""

    positions: np.ndarray
    """(B, N, 3) metres."""
    jacobian: np.ndarray
    """(B, 80, 3, N) float32: a step needs no more digits, and half as much is moved about."""


def rigid_points(
    skeleton: Skeleton, posed: Posed, rest: np.ndarray, rest_betas: np.ndarray, owners: np.ndarray
) -> BodyPoints:
    """Points that ride on one joint each, owners (N,): rest (N, 3) metres at zero shape, rest_betas (N, 3, 10)."""
    state, rotations = posed.state, posed.rotations[:, owners]
    count, points = rotations.shape[:2]
    own_betas = rest_betas - skeleton.rest_betas[owners]
    own = rest - skeleton.rest[owners] + (own_betas.reshape(-1, BETA_COUNT) @ state.betas.T).T.reshape(count, points, 3)
    positions = posed.joints[:, owners] + (rotations @ own[..., None])[..., 0]
    jacobian = np.zeros((count, UNKNOWNS, 3, points), np.float32)
    # A small turn e_a of joint j, in its own frame, moves what hangs on it by (G_j e_a) x (position - joint_j).
    lever = positions.swapaxes(1, 2).astype(np.float32)[:, None] - posed.joints.astype(np.float32)[..., None]
    lever *= skeleton.path[owners].T[:, None]
    np.matmul(posed.by_axis, lever, out=jacobian[:, ROTATIONS].reshape(count, BODY_JOINTS, 9, points))
    by_betas = posed.joint_betas[:, owners] + rotations @ own_betas
    jacobian[:, BETAS] = by_betas.transpose(0, 3, 2, 1)
    jacobian[:, PLACE.start, 0] = jacobian[:, PLACE.start + 1, 1] = np.exp(state.place[:, 2, None])
    jacobian[:, PLACE.start + 2] = state.pelvis[..., None]
    jacobian[:, LOG_FOCAL, 2] = state.pelvis[:, 2, None]
    return BodyPoints(positions, jacobian)


def projected(points: BodyPoints, focal_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in pixels from the principal point (B, N, 2), and their derivative (B, 80, 2, N). focal_px (B,)."""
    # A point that strays behind the camera comes back smoothly.
    px_per_m = focal_px[:, None, None] / np.maximum(points.positions[..., 2:], NEAREST_M)
    pixels = px_per_m * points.positions[..., :2]
    slope = (pixels / focal_px[:, None, None]).swapaxes(1, 2).astype(np.float32)
    jacobian = points.jacobian[:, :, :2] - slope[:, None] * points.jacobian[:, :, 2:]
    jacobian *= px_per_m.swapaxes(1, 2).astype(np.float32)[:, None]
    jacobian[:, LOG_FOCAL] += pixels.swapaxes(1, 2)
    return pixels, jacobian


def skinned_along(
    skeleton: Skeleton,
    posed: Posed,
    rest: np.ndarray,
    rest_betas: np.ndarray,
    weights: np.ndarray,
    direction_px: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where N skinned points lie along directions in the picture: (B, N) pixels, and (B, 80, N) their derivative.

    rest (B, 3, N) metres at zero shape, rest_betas (B, 3, 10, N), weights (B, 22, N), direction_px (B, 2, N) unit;
    pixels count from the principal point. Only one number per point is asked for, so no derivative of its position is
    ever made: the direction is carried back through the projection instead. All in float32.
    """
    state, (count, _, points) = posed.state, rest.shape
    single = lambda array: array.astype(np.float32)  # noqa: E731
    rotations, joints, focal_px = single(posed.rotations), single(posed.joints), single(state.focal_px)[:, None]
    rest = rest + np.einsum("bikn,bk->bin", rest_betas, single(state.betas))
    # Where each joint alone would carry the point, times the joint's weight: (B, 22, 3, N).
    shift = joints - (rotations @ single(posed.rest_joints)[..., None])[..., 0]
    carried = rotations @ rest[:, None]
    carried += shift[..., None]
    carried *= weights[:, :, None]
    position = carried.sum(1)
    px_per_m = focal_px / np.maximum(position[:, 2], NEAREST_M)
    pixels = px_per_m[:, None] * position[:, :2]
    along = (direction_px * pixels).sum(1)
    by_position = np.concatenate([direction_px, -along[:, None] / focal_px[:, None]], 1) * px_per_m[:, None]
    # What hangs below a joint turns with it: lever x direction, told in the joint's own axes.
    path = skeleton.path.T.astype(np.float32)
    lever = (path @ carried.reshape(count, BODY_JOINTS, -1)).reshape(carried.shape)
    lever -= (path @ weights)[:, :, None] * joints[..., None]
    jacobian = np.empty((count, UNKNOWNS, points), np.float32)
    turning = jacobian[:, ROTATIONS].reshape(count, BODY_JOINTS, 3, points)
    np.matmul(rotations.swapaxes(2, 3), _cross(lever, by_position[:, None]), out=turning)
    jacobian[:, PLACE.start : PLACE.start + 2] = by_position[:, :2] * single(np.exp(state.place[:, 2, None, None]))
    pelvis = single(state.pelvis)[..., None]
    jacobian[:, PLACE.start + 2] = (by_position * pelvis).sum(1)
    jacobian[:, LOG_FOCAL] = by_position[:, 2] * pelvis[:, 2] + along
    # By the betas: the joints move, and the point moves relative to each joint.
    joint_part = single(posed.joint_betas - posed.rotations @ skeleton.rest_betas)
    of_joints = np.concatenate(
        [rotations.reshape(count, BODY_JOINTS, 9), joint_part.reshape(count, BODY_JOINTS, -1)], 2
    )
    blended = of_joints.swapaxes(1, 2) @ weights
    turned = (blended[:, :9].reshape(count, 3, 3, points) * by_position[:, :, None]).sum(1)
    by_betas = (turned[:, :, None] * rest_betas).sum(1)
    by_betas += (blended[:, 9:].reshape(count, 3, BETA_COUNT, points) * by_position[:, :, None]).sum(1)
    jacobian[:, BETAS] = by_betas
    return along, jacobian


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a x b for (..., 3, N)."""
    (ax, ay, az), (bx, by, bz) = (np.moveaxis(v, -2, 0) for v in (a, b))
    out = np.empty_like(a)
    np.subtract(ay * bz, az * by, out=out[..., 0, :])
    np.subtract(az * bx, ax * bz, out=out[..., 1, :])
    np.subtract(ax * by, ay * bx, out=out[..., 2, :])
    return out
