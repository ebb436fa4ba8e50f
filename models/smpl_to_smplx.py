# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL's answers on a body of SMPL-X's layout: pose joint by joint, shape by measuring, place by the pelvis.

Both models share the rest pose, the axes and the first 22 joints (pelvis to wrists). SMPL's last two, the hands, have
no like in SMPL-X, whose hands hang on the wrists and have fingers: they are left out, and the hand follows the wrist.
Betas belong to one body, so they are never copied: the other body is fitted to the first one's measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body_model import BodyModel

SHARED_JOINTS = 22
"""Pelvis to wrists: the same joints in the same order."""
SMPL_PELVIS_M = np.array([0.0, -0.23, 0.03])
"""Where SMPL's pelvis lies at rest, within about two centimetres: for whoever does not have the file."""
MEASURE_SIGMA_M = 0.001
"""How closely measures are met, against one standard deviation of a beta."""
BETA_LIMIT = 4.0
"""Farther from the mean are no people; a body file without a human shape must not deform ours."""
_ROUNDS = 5


@dataclass(frozen=True)
class FittedShape:
    """Shapes of B people on another body."""

    betas: np.ndarray
    """(B, 10)."""
    bone_error_m: np.ndarray
    """(B,) mean difference of the bones' lengths."""


def smpl_to_smplx_pose(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 24, 3) SMPL rotation vectors or (..., 24, 3, 3) matrices -> (..., 22, …): the joints both have."""
    axis = rotvecs.ndim - 2 if rotvecs.shape[-2:] == (24, 3) else rotvecs.ndim - 3
    return np.take(rotvecs, np.arange(SHARED_JOINTS), axis)


def smpl_to_smplx_shape(source: BodyModel, betas: np.ndarray, target: BodyModel) -> FittedShape:
    """Betas (B, n) of `source` -> ten betas of `target` with the same bones, stature and volume, as near as it can.

    Gauss-Newton on the measures, with the target's own mean as the prior.
    """
    fitted, error = np.zeros((len(betas), 10)), np.zeros(len(betas))
    for row, given in enumerate(betas):
        wanted, _ = _measures(source, given)
        for _ in range(_ROUNDS):
            measured, slope = _measures(target, fitted[row])
            slope, residual = slope / MEASURE_SIGMA_M, (wanted - measured) / MEASURE_SIGMA_M
            step = np.linalg.solve(slope.T @ slope + np.eye(10), slope.T @ residual - fitted[row])
            fitted[row] = np.clip(fitted[row] + step, -BETA_LIMIT, BETA_LIMIT)
        error[row] = np.abs(_measures(target, fitted[row])[0] - wanted)[: SHARED_JOINTS - 1].mean()
    return FittedShape(fitted, error)


def moved_pelvis(translation: np.ndarray, source_pelvis: np.ndarray, target_pelvis: np.ndarray) -> np.ndarray:
    """(B, 3) translation of one body -> of another whose rest pelvis lies elsewhere; the posed pelvis stays.

    Both models turn about the pelvis and are moved afterwards, so only the difference of the rest pelves counts.
    """
    return translation + source_pelvis - target_pelvis


def _measures(body: BodyModel, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) betas -> (23,) metres: 21 bones, stature, cube root of the volume; and their slopes (23, n)."""
    count = len(beta)
    joints = body.rest_joints(beta[None])[0, :SHARED_JOINTS].astype(np.float64)
    joint_slopes = body.joint_shapedirs[:SHARED_JOINTS, :, :count].astype(np.float64)
    parents = body.parents[1:SHARED_JOINTS]
    bones, bone_slopes = joints[1:] - joints[parents], joint_slopes[1:] - joint_slopes[parents]
    lengths = np.linalg.norm(bones, axis=-1)
    length_slopes = np.einsum("ji,jik->jk", bones / lengths[:, None], bone_slopes)

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
        np.concatenate([lengths, [vertices[top, 1] - vertices[bottom, 1], side]]),
        np.concatenate([length_slopes, (slopes[top, 1] - slopes[bottom, 1])[None], side_slopes[None]]),
    )
