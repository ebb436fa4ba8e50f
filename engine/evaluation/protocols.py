# SPDX-License-Identifier: GPL-3.0-or-later
"""How 3DPW and EMDB are scored, so that our figures can be laid beside published ones.

Metres in, millimetres out, one value per picture. Sources: von Marcard et al., "3DPW" (ECCV 2018); Kaufmann et al.,
"EMDB" (ICCV 2023); the protocols are those of HMR2.0 and TokenHMR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.smpl_joints import EVALUATED, PELVIS
from .metrics import point_errors_mm, procrustes_aligned

_HIPS = [1, 2]  # among SMPL's 24 joints


@dataclass(frozen=True)
class BodyErrors:
    """(N,) each, mm."""

    pve: np.ndarray
    """Vertices, pelvis on pelvis."""
    mpjpe: np.ndarray
    """Joints, pelvis on pelvis."""
    pa_mpjpe: np.ndarray
    """Joints, after the best rotation, scale and translation."""


def errors_3dpw(
    keypoints_pred: np.ndarray, keypoints_true: np.ndarray, vertices_pred: np.ndarray, vertices_true: np.ndarray
) -> BodyErrors:
    """(N, 44, 3) keypoints as `keypoints_44` makes them, (N, V, 3) vertices; 14 joints are scored."""
    pelvis_pred, pelvis_true = keypoints_pred[:, [PELVIS]], keypoints_true[:, [PELVIS]]
    scored = list(EVALUATED)
    joints_pred, joints_true = keypoints_pred[:, scored] - pelvis_pred, keypoints_true[:, scored] - pelvis_true
    return _errors(joints_pred, joints_true, vertices_pred - pelvis_pred, vertices_true - pelvis_true)


def errors_emdb(vertices_pred: np.ndarray, vertices_true: np.ndarray, joint_regressor: np.ndarray) -> BodyErrors:
    """(N, V, 3) vertices and SMPL's (24, V) regressor; all 24 joints are scored, the pelvis is the hips' middle."""
    joints_pred, joints_true = joint_regressor @ vertices_pred, joint_regressor @ vertices_true
    pelvis_pred = joints_pred[:, _HIPS].mean(1, keepdims=True)
    pelvis_true = joints_true[:, _HIPS].mean(1, keepdims=True)
    return _errors(
        joints_pred - pelvis_pred, joints_true - pelvis_true, vertices_pred - pelvis_pred, vertices_true - pelvis_true
    )


def _errors(
    joints_pred: np.ndarray, joints_true: np.ndarray, vertices_pred: np.ndarray, vertices_true: np.ndarray
) -> BodyErrors:
    return BodyErrors(
        pve=point_errors_mm(vertices_pred, vertices_true).mean(1),
        mpjpe=point_errors_mm(joints_pred, joints_true).mean(1),
        pa_mpjpe=point_errors_mm(procrustes_aligned(joints_pred, joints_true), joints_true).mean(1),
    )
