# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL's answers on a body of SMPL-X's layout: pose joint by joint, shape by measuring, place by the pelvis.

Both models share the rest pose, the axes and the first 22 joints (pelvis to wrists). SMPL's last two, the hands, have
no like in SMPL-X, whose hands hang on the wrists and have fingers: they are left out, and the hand follows the wrist.
Betas belong to one body, so they are never copied: the other body is fitted to the first one's measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .body_model import BodyModel
from .body_surfaces import overlay

SHARED_JOINTS = 22
"""Pelvis to wrists: the same joints in the same order."""
SMPL_PELVIS_M = np.array([0.0, -0.23, 0.03])
"""Where SMPL's pelvis lies at rest, within about two centimetres: for whoever does not have the file."""
MEASURE_SIGMA_M = 0.001
"""How closely measures are met, against one standard deviation of a beta."""
SURFACE_POINTS, SURFACE_REACH_M = 400, 0.03
"""Places compared, and how far apart they may lie on the mean bodies."""
SURFACE_WEIGHT = 20.0
"""A place counts as much less than a measure: its correspondence is worse, and there are many of them."""
BETA_LIMIT = 4.0
"""Farther from the mean are no people; a body file without a human shape must not deform ours."""
_ROUNDS = 5


@dataclass(frozen=True)
class FittedShape:
    """Shapes of B people on another body."""

    betas: np.ndarray
    """(B, 10)."""
    bone_error_m: np.ndarray
    """(B,) mean difference of the bones, lengths and rest directions."""


def smpl_to_smplx_pose(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 24, 3) SMPL rotation vectors or (..., 24, 3, 3) matrices -> (..., 22, …): the joints both have."""
    axis = rotvecs.ndim - 2 if rotvecs.shape[-2:] == (24, 3) else rotvecs.ndim - 3
    return np.take(rotvecs, np.arange(SHARED_JOINTS), axis)


def smpl_to_smplx_shape(source: BodyModel, betas: np.ndarray, target: BodyModel) -> FittedShape:
    """Betas (B, n) of `source` -> ten betas of `target` with the same bones, stature, volume and surface.

    Bones come first; the surface, whose places correspond within some millimetres, says where the flesh is.
    """
    source_skin, target_skin = _skins(source, target)
    return _fitted(
        [np.concatenate([_measures(source, beta)[0], source_skin.at(beta) / SURFACE_WEIGHT]) for beta in betas],
        lambda beta: _joined(
            _measures(target, beta), (target_skin.at(beta) / SURFACE_WEIGHT, target_skin.slopes / SURFACE_WEIGHT)
        ),
    )


def shape_by_measures(source: BodyModel, betas: np.ndarray, target: BodyModel) -> FittedShape:
    """The same by bones, stature and volume alone."""
    return _fitted([_measures(source, beta)[0] for beta in betas], lambda beta: _measures(target, beta))


def _fitted(wanted: list[np.ndarray], measure: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> FittedShape:
    """Gauss-Newton on measures (n,) and their slopes (n, 10), with the target's own mean as the prior."""
    fitted, error = np.zeros((len(wanted), 10)), np.zeros(len(wanted))
    for row, values in enumerate(wanted):
        for _ in range(_ROUNDS):
            measured, slope = measure(fitted[row])
            slope, residual = slope / MEASURE_SIGMA_M, (values - measured) / MEASURE_SIGMA_M
            step = np.linalg.solve(slope.T @ slope + np.eye(10), slope.T @ residual - fitted[row])
            fitted[row] = np.clip(fitted[row] + step, -BETA_LIMIT, BETA_LIMIT)
        off = (measure(fitted[row])[0] - values)[: 3 * (SHARED_JOINTS - 1)].reshape(-1, 3)
        error[row] = np.linalg.norm(off, axis=1).mean()
    return FittedShape(fitted, error)


def _joined(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    values, slopes = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(slopes)


@dataclass(frozen=True, eq=False)
class _Skin:
    """How far N places of the surface stand out from the joints they follow. Linear in the betas."""

    rest: np.ndarray
    """(N,) metres."""
    slopes: np.ndarray
    """(N, S) metres per unit of beta."""

    def at(self, beta: np.ndarray) -> np.ndarray:
        """(N,) metres for one person's betas (n,)."""
        return self.rest + self.slopes[:, : len(beta)] @ beta

    @classmethod
    def of(cls, body: BodyModel, vertices: np.ndarray, joints: np.ndarray, outwards: np.ndarray) -> _Skin:
        """Of places (N,) that follow joints (N,), along directions (N, 3)."""
        rest = body.v_template[vertices] - body.joints_template[joints]
        slopes = body.shapedirs[vertices] - body.joint_shapedirs[joints][..., : body.beta_count]
        along = lambda vectors: np.einsum("ni,ni...->n...", outwards, vectors.astype(np.float64))  # noqa: E731
        return cls(along(rest), along(slopes))


@lru_cache(maxsize=4)
def _skins(source: BodyModel, target: BodyModel) -> tuple[_Skin, _Skin]:
    """Corresponding places of both bodies, spread over trunk and limbs."""
    laid = overlay(source, target)
    owners = source.weights.argmax(1)
    head = source.joint_names.index("head")
    mine = np.flatnonzero((owners < SHARED_JOINTS) & (owners != head))
    mine = mine[:: max(1, len(mine) // SURFACE_POINTS)]
    theirs = laid.vertices_near(mine)
    met = np.linalg.norm(laid.vertices[mine] - target.v_template[theirs], axis=1) < SURFACE_REACH_M
    mine, theirs = mine[met], theirs[met]
    outwards = laid.other_normals[theirs]
    return _Skin.of(source, mine, owners[mine], outwards), _Skin.of(target, theirs, owners[mine], outwards)


def moved_pelvis(translation: np.ndarray, source_pelvis: np.ndarray, target_pelvis: np.ndarray) -> np.ndarray:
    """(B, 3) translation of one body -> of another whose rest pelvis lies elsewhere; the posed pelvis stays.

    Both models turn about the pelvis and are moved afterwards, so only the difference of the rest pelves counts.
    """
    return translation + source_pelvis - target_pelvis


def _measures(body: BodyModel, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) betas -> (65,) metres: 21 bones as vectors, stature, cube root of the volume; and their slopes (65, n).

    Rotations are copied, so joints keep their places if bones keep lengths and rest directions.
    """
    count = len(beta)
    joints = body.rest_joints(beta[None])[0, :SHARED_JOINTS].astype(np.float64)
    joint_slopes = body.joint_shapedirs[:SHARED_JOINTS, :, :count].astype(np.float64)
    parents = body.parents[1:SHARED_JOINTS]
    bones, bone_slopes = joints[1:] - joints[parents], joint_slopes[1:] - joint_slopes[parents]

    vertices = body.rest_vertices(beta[None])[0].astype(np.float64)
    slopes = body.shapedirs[:, :, :count]
    top, bottom = vertices[:, 1].argmax(), vertices[:, 1].argmin()
    a, b, c = vertices[body.faces].swapaxes(0, 1)
    volume = np.einsum("fi,fi->", a, np.cross(b, c)) / 6
    # What the volume gains as a vertex moves: a third of the area of the triangles around it, along their normals.
    by_vertex = np.zeros_like(vertices)
    for corner, (one, other) in enumerate(((b, c), (c, a), (a, b))):
        for axis, across in enumerate(np.cross(one, other).T / 6):
            by_vertex[:, axis] += np.bincount(body.faces[:, corner], across, len(vertices))
    side = np.cbrt(volume)
    side_slopes = np.einsum("vi,vik->k", by_vertex, slopes) / (3 * side**2 + 1e-12)
    return (
        np.concatenate([bones.ravel(), [vertices[top, 1] - vertices[bottom, 1], side]]),
        np.concatenate([bone_slopes.reshape(-1, count), (slopes[top, 1] - slopes[bottom, 1])[None], side_slopes[None]]),
    )
