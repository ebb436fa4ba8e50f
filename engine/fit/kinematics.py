# SPDX-License-Identifier: GPL-3.0-or-later
"""The unknowns of a fit, the skeleton they move, and the derivatives of points on the body by the unknowns.

Place and focal length are parametrised as (u, v, zeta, ln f): the pelvis projects to the offset (u, v) from the
principal point and has the depth f e^zeta. The size in the picture depends on zeta alone and perspective on ln f alone,
so the two are nearly independent, which a translation in metres and f are not.
"""

from __future__ import annotations

from dataclasses import dataclass
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
LOG_FOCAL = 79
UNKNOWNS = 80

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
        return Posed(
            self.state.rows(rows),
            self.rotations[rows],
            self.joints[rows],
            self.rest_joints[rows],
            self.joint_betas[rows],
        )

    def single_precision(self) -> Posed:
        """The same in float32, where much is computed and little of it matters."""
        state = self.state
        parts = (state.rotations, state.place, state.betas, state.log_focal)
        arrays = (self.rotations, self.joints, self.rest_joints, self.joint_betas)
        return Posed(State(*(p.astype(np.float32) for p in parts)), *(a.astype(np.float32) for a in arrays))


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

    def pose(self, state: State) -> Posed:
        """Forward kinematics."""
        count = len(state.place)
        rest = self.rest + np.einsum("jik,bk->bji", self.rest_betas, state.betas)
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
    """(B, N, 3, 80)."""


def skinned_points(
    skeleton: Skeleton, posed: Posed, rest: np.ndarray, rest_betas: np.ndarray, weights: np.ndarray
) -> BodyPoints:
    """Points that follow the joints by linear blend skinning.

    rest (B or 1, N, 3) metres at zero shape, rest_betas (B or 1, N, 3, 10), weights (B or 1, N, 22). A point that rides
    on one joint has one weight of 1.
    """
    state = posed.state
    count, points = len(state.place), rest.shape[1]
    rest_betas = np.broadcast_to(rest_betas, (count, points, 3, 10))
    weights = np.broadcast_to(weights, (count, points, BODY_JOINTS))
    rest = rest + np.einsum("bnik,bk->bni", rest_betas, state.betas)
    # Where each joint alone would carry the point, times the joint's weight: (B, N, 3, 22).
    across = posed.rotations.transpose(0, 3, 2, 1).reshape(count, 3, -1)
    shift = posed.joints - (posed.rotations @ posed.rest_joints[..., None])[..., 0]
    carried = (rest @ across).reshape(count, points, 3, -1) + shift.swapaxes(1, 2)[:, None]
    weighted = weights[:, :, None] * carried
    positions = weighted.sum(-1)
    # A small turn e_a of joint j, in its own frame, moves whatever hangs below it by (G_j e_a) x (carried - joint_j).
    path = skeleton.path.astype(rest.dtype)
    below = weighted @ path
    weight_below = weights @ path
    lever = (below - weight_below[:, :, None] * posed.joints.swapaxes(1, 2)[:, None]).transpose(0, 3, 1, 2)
    by_axis = cross_matrix(posed.rotations.swapaxes(2, 3))  # (B, 22, a, i, k): (G_j e_a) x
    turn = lever @ by_axis.transpose(0, 1, 4, 3, 2).reshape(count, BODY_JOINTS, 3, 9)  # (B, 22, N, (i, a))
    jacobian = np.zeros((count, points, 3, UNKNOWNS), rest.dtype)
    jacobian[..., ROTATIONS] = (
        turn.reshape(count, BODY_JOINTS, points, 3, 3).transpose(0, 2, 3, 1, 4).reshape(count, points, 3, -1)
    )
    scale = np.exp(state.place[:, 2])
    jacobian[:, :, 0, PLACE.start] = scale[:, None]
    jacobian[:, :, 1, PLACE.start + 1] = scale[:, None]
    jacobian[:, :, :, PLACE.start + 2] = state.pelvis[:, None]
    jacobian[:, :, 2, LOG_FOCAL] = state.pelvis[:, None, 2]
    # By the betas: the joints move, and the point moves relative to each joint.
    joint_part = posed.joint_betas - posed.rotations @ skeleton.rest_betas.astype(rest.dtype)
    jacobian[..., BETAS] = _blend(weights, posed.rotations) @ rest_betas + _blend(weights, joint_part)
    return BodyPoints(positions, jacobian)


def _blend(weights: np.ndarray, of_joints: np.ndarray) -> np.ndarray:
    """(B, N, 22) weights, (B, 22, i, k) matrices -> (B, N, i, k)."""
    count, joints = of_joints.shape[:2]
    return (weights @ of_joints.reshape(count, joints, -1)).reshape(*weights.shape[:2], *of_joints.shape[2:])


def projected(points: BodyPoints, focal_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in pixels from the principal point (B, N, 2), and their derivative (B, N, 2, 80). focal_px (B,)."""
    focal = focal_px[:, None, None]
    depth = np.maximum(points.positions[..., 2:], 0.05)  # a point that strays behind the camera comes back smoothly
    pixels = focal * points.positions[..., :2] / depth
    jacobian = focal[..., None] * points.jacobian[:, :, :2] - pixels[..., None] * points.jacobian[:, :, 2:]
    jacobian /= depth[..., None]
    jacobian[..., LOG_FOCAL] += pixels
    return pixels, jacobian
