# SPDX-License-Identifier: GPL-3.0-or-later
"""People moved to where they look the same through another lens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..models.body_model import load_body
from ..models.rotations import cross_matrix, matrix_to_rotvec, rotation_between, rotvec_to_matrix
from ..wire.frames import project, rays
from ..wire.take import CameraTrack, PersonTrack

BODY_JOINTS = 22
_STEPS = 4
_DAMPING = 1e-6


def seen_through(person: PersonTrack, old: CameraTrack, new: CameraTrack) -> PersonTrack:
    """A person who was recovered through `old`, placed so that `new` sees the joints on the same pixels.

    The depth goes with the focal length, the body keeps its angle to the ray on which it is seen, and a few steps of
    Gauss-Newton over place and turn take away what perspective changes within the body. Pixels that stay off are what
    no rigid move can mend.
    """
    frames = np.arange(len(person.present))
    old_K, new_K = (np.stack([camera.intrinsics(int(frame)) for frame in frames]) for camera in (old, new))
    model = load_body(person.body)
    pelvis_rest = model.rest_joints(person.betas[None])[0, 0].astype(np.float64)
    pose = person.pose.astype(np.float64)
    posed = model.forward(pose, person.betas[None], vertex_ids=np.zeros(0, int))
    about_pelvis = posed.joints[:, :BODY_JOINTS].astype(np.float64) - pelvis_rest  # of a body at the origin
    pelvis = person.translation + pelvis_rest
    wanted_px = project(about_pelvis + pelvis[:, None], old_K[:, None])

    on_ray = rays(project(pelvis, old_K), new_K)
    turn = rotation_between(pelvis, on_ray)
    pelvis = on_ray * (pelvis[:, 2] * new_K[:, 0, 0] / old_K[:, 0, 0])[:, None]
    for _ in range(_STEPS):
        turn, pelvis = _step(about_pelvis, turn, pelvis, wanted_px, new_K)
    pose[:, 0] = matrix_to_rotvec(turn @ rotvec_to_matrix(pose[:, 0]))
    as_before = person.pose.dtype
    return replace(
        person, pose=pose.astype(as_before), translation=(pelvis - pelvis_rest).astype(person.translation.dtype)
    )


def _step(
    points: np.ndarray, turn: np.ndarray, pelvis: np.ndarray, wanted_px: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step of all frames: points (F, J, 3) about the pelvis, turn (F, 3, 3), pelvis (F, 3), wanted_px (F, J, 2)."""
    turned = points @ turn.swapaxes(-1, -2)
    at = turned + pelvis[:, None]
    depth = np.maximum(at[..., 2:], 0.05)
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)[:, None]
    residual = wanted_px - project(at, intrinsics[:, None])
    usable = np.isfinite(residual).all(-1, keepdims=True)
    by_point = np.zeros((*at.shape[:2], 2, 3))
    by_point[..., 0, 0], by_point[..., 1, 1] = (focal / depth)[..., 0], (focal / depth)[..., 1]
    by_point[..., 2] = -focal * at[..., :2] / depth**2
    by_point *= usable[..., None]
    jacobian = np.concatenate([by_point @ -cross_matrix(turned), by_point], -1)  # (F, J, 2, 6)
    rows = jacobian.reshape(len(at), -1, 6)
    normal = rows.swapaxes(1, 2) @ rows
    normal += _DAMPING * normal.trace(axis1=1, axis2=2)[:, None, None] * np.eye(6) + 1e-12 * np.eye(6)
    right = rows.swapaxes(1, 2) @ np.where(usable, residual, 0.0).reshape(len(at), -1, 1)
    step = np.linalg.solve(normal, right)[..., 0]
    return rotvec_to_matrix(step[:, :3]) @ turn, pelvis + step[:, 3:]
