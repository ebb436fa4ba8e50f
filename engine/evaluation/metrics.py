# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of recovered bodies and cameras, measured as the literature measures them.

Points and translations come in metres, camera frame; body errors leave in millimetres. Everything is batched over
pictures (N, …) and returns one value per picture, joint or vertex, so that a report can average with
`numpy.nanmean` and still name the worst picture.

Sources: BLADE (CVPR 2025) and Zolly (ICCV 2023) for the camera and mask errors; Ionescu et al., "Human3.6M" (2014)
for the joint errors.
"""

from __future__ import annotations

import numpy as np

MM_PER_M = 1000.0

H36M_ROOT = 0
"""The pelvis among the 17 joints of Human3.6M's regressor."""
H36M_HIPS = (1, 4)
H36M_LIMBS = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
"""The 14 joints that publications average over: ankles to hips, wrists to shoulders, neck and head."""

SMPL_PARTS = 24
"""Labels 1..24 in a part map; 0 is the background."""


def depth_error_m(pelvis_pred: np.ndarray, pelvis_true: np.ndarray) -> np.ndarray:
    """E_Tz: (N, 3) pelvis positions -> (N,) metres along the optical axis."""
    return np.abs(pelvis_pred[:, 2] - pelvis_true[:, 2])


def inverse_depth_error(pelvis_pred: np.ndarray, pelvis_true: np.ndarray) -> np.ndarray:
    """E_1/Tz: (N, 3) -> (N,) 1/metres. Weighs depths as the picture feels them: close-ups most."""
    return np.abs(1 / pelvis_pred[:, 2] - 1 / pelvis_true[:, 2])


def lateral_error_m(pelvis_pred: np.ndarray, pelvis_true: np.ndarray) -> np.ndarray:
    """E_Txy: (N, 3) -> (N,) metres across the optical axis."""
    return np.linalg.norm(pelvis_pred[:, :2] - pelvis_true[:, :2], axis=-1)


def focal_error(focal_pred_px: np.ndarray, focal_true_px: np.ndarray) -> np.ndarray:
    """E_f: (N,) focal lengths -> (N,) error as a fraction of the true one."""
    return np.abs(focal_pred_px - focal_true_px) / focal_true_px


def relative_depth_error(depth_pred_m: np.ndarray, depth_true_m: np.ndarray) -> np.ndarray:
    """(N,) depths -> (N,) error as a fraction of the true depth. BLADE's depth network is trained on its mean."""
    return np.abs(depth_pred_m - depth_true_m) / depth_true_m


def joint_errors_mm(joints_pred: np.ndarray, joints_true: np.ndarray, *, procrustes: bool = False) -> np.ndarray:
    """(N, 17, 3) joints of the Human3.6M regressor -> (N, 14) mm; the mean is MPJPE, or PA-MPJPE with `procrustes`."""
    pred = _limbs_about_root(joints_pred)
    true = _limbs_about_root(joints_true)
    return point_errors_mm(procrustes_aligned(pred, true) if procrustes else pred, true)


def vertex_errors_mm(
    vertices_pred: np.ndarray,
    vertices_true: np.ndarray,
    joints_pred: np.ndarray,
    joints_true: np.ndarray,
    *,
    procrustes: bool = False,
) -> np.ndarray:
    """(N, V, 3) meshes with their (N, 17, 3) joints -> (N, V) mm; the mean is PVE.

    Both meshes are first moved so that the middle between the hips is the origin.
    """
    pred = vertices_pred - _hip_middle(joints_pred)
    true = vertices_true - _hip_middle(joints_true)
    return point_errors_mm(procrustes_aligned(pred, true) if procrustes else pred, true)


def point_errors_mm(points_pred: np.ndarray, points_true: np.ndarray) -> np.ndarray:
    """(N, P, 3) metres -> (N, P) distances in mm."""
    return np.linalg.norm(points_pred - points_true, axis=-1) * MM_PER_M


def procrustes_aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, P, 3) points turned, scaled and moved onto (N, P, 3) targets with the least square error; never mirrored."""
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    points_mean, target_mean = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    centred = points - points_mean
    covariance = centred.transpose(0, 2, 1) @ (target - target_mean)  # (N, 3, 3)
    u, singular, vt = np.linalg.svd(covariance)
    # Where the best orthogonal map is a mirror, the axis that matters least is turned back.
    signs = np.ones((len(points), 3))
    signs[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * signs[:, None]) @ vt  # acts on row vectors
    scale = (singular * signs).sum(1) / (centred**2).sum((1, 2))
    return scale[:, None, None] * (centred @ rotation) + target_mean


def mask_iou(parts_pred: np.ndarray, parts_true: np.ndarray) -> np.ndarray:
    """(N, …) part maps or masks, 0 is background -> (N,) intersection over union of the foregrounds, 0..1."""
    pred, true = _flat(parts_pred) > 0, _flat(parts_true) > 0
    return _ratio((pred & true).sum(1), (pred | true).sum(1))


def part_iou(parts_pred: np.ndarray, parts_true: np.ndarray, parts: int = SMPL_PARTS) -> np.ndarray:
    """(N, …) maps of body part labels 1..`parts` -> (N,) one intersection over union for all parts together, 0..1.

    A pixel labelled differently in both maps counts twice in the union: once for either part.
    """
    pred, true = _flat(parts_pred), _flat(parts_true)
    pred_is_part, true_is_part = (pred > 0) & (pred <= parts), (true > 0) & (true <= parts)
    same = (pred_is_part & (pred == true)).sum(1)
    return _ratio(same, pred_is_part.sum(1) + true_is_part.sum(1) - same)


def distortion_errors(vertices: np.ndarray, depth_pred_m: np.ndarray, depth_true_m: np.ndarray) -> np.ndarray:
    """How differently perspective shapes one body at two depths -> (N,), a fraction of the body's size in the picture.

    `vertices` (V, 3) or (N, V, 3), a T-pose about its pelvis; depths (N,). Both pictures are scaled to the size of the
    body's parallel projection, so that only the shape differs.
    """
    vertices = np.broadcast_to(vertices, (len(depth_pred_m), *np.shape(vertices)[-2:]))
    views = [_perspective_shape(vertices, depth) for depth in (depth_pred_m, depth_true_m)]
    return np.linalg.norm(views[0] - views[1], axis=-1).mean(1)


def _perspective_shape(vertices: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
    flat = vertices[..., :2]
    perspective = flat / (vertices[..., 2:] + np.asarray(depth_m)[:, None, None])
    # The focal length cancels here.
    return perspective * (_mean_norm(flat) / _mean_norm(perspective))


def _mean_norm(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=-1).mean(-1)[:, None, None]


def _limbs_about_root(joints: np.ndarray) -> np.ndarray:
    return joints[:, H36M_LIMBS] - joints[:, [H36M_ROOT]]


def _hip_middle(joints: np.ndarray) -> np.ndarray:
    return joints[:, H36M_HIPS].mean(1, keepdims=True)


def _flat(maps: np.ndarray) -> np.ndarray:
    return np.asarray(maps).reshape(len(maps), -1)


def _ratio(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    # Nothing on either side is no agreement about a person; averages leave such pictures out.
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)
