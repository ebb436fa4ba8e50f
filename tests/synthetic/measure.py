# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a recovered person is from the true one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from recover_body.engine.backends.base import BodyTrack
from recover_body.engine.cameras import Pinhole
from recover_body.engine.chosen import overlap as overlap_of
from recover_body.engine.evaluation.metrics import procrustes_aligned
from recover_body.engine.raster import silhouette
from recover_body.engine.verdict import Verdict, intersection_over_union, size_in_picture
from recover_body.models.body_model import load_body
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.wire.frames import project

BODY = slice(0, 22)
NAMES = load_body("neutral").joint_names
_sides = lambda *names: [NAMES.index(f"{side}_{name}") for name in names for side in ("left", "right")]  # noqa: E731
LIMB_JOINTS = np.array(_sides("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
"""The twelve that MediaPipe's landmarks name too."""
FOURTEEN = np.array([*LIMB_JOINTS, NAMES.index("neck"), NAMES.index("head")])
RAW_LANDMARKS = np.array([11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
_SWAP = {"left": "right", "right": "left"}
_OTHER_SIDE = np.array([NAMES.index("_".join(_SWAP.get(part, part) for part in n.split("_"))) for n in NAMES[BODY]])
MATCH_IOU = 0.3
LEFT_RIGHT_GAIN = 0.8
"""Sides count as swapped when swapping them back takes away a fifth of the error."""
BONES = {
    "thigh": ("left_hip", "left_knee"),
    "shin": ("left_knee", "left_ankle"),
    "trunk": ("pelvis", "neck"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "upper arm": ("left_shoulder", "left_elbow"),
    "forearm": ("left_elbow", "left_wrist"),
}


@dataclass(frozen=True)
class Score:
    """One recovered person beside the true one. Millimetres and signed errors are recovered minus true."""

    pa_mm: float
    """Mean distance of 22 joints after the best similarity transform."""
    mpjpe_mm: float
    """Mean distance of 22 joints with the pelves put together."""
    pa14_mm: float
    mpjpe14_mm: float
    pa12_mm: float
    """The twelve limb joints alone, to compare with `raw_pa12_mm`."""
    raw_pa12_mm: float
    """The same for MediaPipe's metric landmarks."""
    depth_m: float
    """Pelvis depth, signed."""
    depth_percent: float
    focal_percent: float
    focal_sigmas: float
    """ln(focal) error in the stated standard deviations; NaN where the focal length was given."""
    joints_2d_percent: float
    """Mean distance in the picture of true joints inside it, percent of the person's size in the picture."""
    iou: float
    """Body's silhouette and true visible person with clothes, leaving out pixels of somebody else."""
    body_iou: float
    """Body's silhouette and the true naked body's, nothing in between."""
    area_ratio: float
    """Pixels of the body over those of the true naked body: girth, mostly."""
    is_left_right_flip: bool
    is_front_back_flip: bool
    overlay_iou: float
    """The verdict's."""
    reprojection_percent: float
    """The verdict's."""
    expected_error_mm: float
    """The verdict's."""
    stature_percent: float
    trunk_pitch_deg: float
    """How much farther the upper trunk leans away from the camera than it truly does."""
    pa_joints_mm: np.ndarray
    """(22,) errors by joint after the similarity transform."""
    offsets_mm: np.ndarray
    """(22, 3) recovered minus true joints, pelves together; camera frame."""
    bone_ratios: np.ndarray
    """Recovered over true lengths of `BONES`."""


def match(tracks: tuple[BodyTrack, ...], masks: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (track, true person) by the overlap of their boxes; masks (P, H, W)."""
    true = [(n, _box(mask)) for n, mask in enumerate(masks) if mask.any()]
    if not tracks or not true:
        return []
    overlap = np.array([[overlap_of(track.boxes_px[0], box) for _, box in true] for track in tracks])
    rows, columns = linear_sum_assignment(-overlap)
    return [(int(r), true[c][0]) for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= MATCH_IOU]


def score(
    track: BodyTrack,
    camera: Pinhole,
    judged: Verdict,
    metric_points: np.ndarray,
    truth: dict[str, np.ndarray],
    person: int,
) -> Score:
    """Compare the first frame of `track` (fitted through `camera`) with person number `person` of `truth`.

    `metric_points` (33, 3) are the detector's landmarks in metres.
    """
    model = load_body("neutral")
    out = model.forward(track.pose[:1], track.betas[None], track.expression[:1], track.translation[:1])
    joints, vertices = out.joints[0, BODY].astype(np.float64), out.vertices[0]
    true_joints, true_vertices = truth["joints_cam"][person, BODY].astype(np.float64), truth["vertices_cam"][person]
    intrinsics, (height, width) = truth["intrinsics"], truth["masks"].shape[1:]
    aligned = procrustes(joints, true_joints)
    pa = np.linalg.norm(aligned - true_joints, axis=1)
    pa_swapped = _distance(procrustes(joints[_OTHER_SIDE], true_joints), true_joints)
    offsets = (joints - joints[0]) - (true_joints - true_joints[0])
    pelves_apart_14 = _distance((joints - joints[0])[FOURTEEN], (true_joints - true_joints[0])[FOURTEEN])

    drawn = silhouette(vertices, model.faces, camera.matrix, width, height)
    others = np.delete(truth["masks"], person, axis=0).any(0)
    body_mask = truth["body_masks"][person]
    points_px, true_px = project(joints, camera.matrix), project(true_joints, intrinsics)
    inside = ((true_px >= 0) & (true_px <= (width, height))).all(1)
    size_px = size_in_picture(project(true_vertices, intrinsics), width, height)
    depth_m = joints[0, 2] - true_joints[0, 2]
    log_focal = np.log(camera.fx_px / intrinsics[0, 0])
    front, true_front = out.rotations[0, 0][:, 2], _true_root(truth, person)[:, 2]
    rest = model.rest_vertices(track.betas[None])[0]
    return Score(
        pa_mm=1000 * pa.mean(),
        mpjpe_mm=1000 * np.linalg.norm(offsets, axis=1).mean(),
        pa14_mm=1000 * _distance(procrustes(joints[FOURTEEN], true_joints[FOURTEEN]), true_joints[FOURTEEN]),
        mpjpe14_mm=1000 * pelves_apart_14,
        pa12_mm=1000 * _distance(procrustes(joints[LIMB_JOINTS], true_joints[LIMB_JOINTS]), true_joints[LIMB_JOINTS]),
        raw_pa12_mm=1000
        * _distance(procrustes(metric_points[RAW_LANDMARKS], true_joints[LIMB_JOINTS]), true_joints[LIMB_JOINTS]),
        depth_m=depth_m,
        depth_percent=100 * depth_m / true_joints[0, 2],
        focal_percent=100 * (camera.fx_px / intrinsics[0, 0] - 1),
        focal_sigmas=log_focal / camera.fx_sigma if camera.fx_sigma > 0 else float("nan"),
        joints_2d_percent=100 * np.linalg.norm((points_px - true_px)[inside], axis=1).mean() / size_px,
        iou=intersection_over_union(drawn & ~others, truth["masks"][person]),
        body_iou=intersection_over_union(drawn, body_mask),
        area_ratio=np.count_nonzero(drawn) / max(np.count_nonzero(body_mask), 1),
        is_left_right_flip=bool(pa_swapped < LEFT_RIGHT_GAIN * pa.mean()),
        is_front_back_flip=bool(front @ true_front < 0),
        overlay_iou=float(judged.overlay_iou[0]),
        reprojection_percent=float(judged.reprojection_percent[0]),
        expected_error_mm=float("nan") if judged.joint_error_mm is None else float(judged.joint_error_mm[0].mean()),
        stature_percent=100 * (np.ptp(rest[:, 1]) / truth["stature_m"][person] - 1),
        trunk_pitch_deg=_pitch_deg(joints) - _pitch_deg(true_joints),
        pa_joints_mm=1000 * pa,
        offsets_mm=1000 * offsets,
        bone_ratios=_bone_lengths(joints) / _bone_lengths(true_joints),
    )


def procrustes(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, 3) points moved, turned and scaled onto the target as well as possible."""
    return procrustes_aligned(points[None], target[None])[0]


def _distance(points: np.ndarray, target: np.ndarray) -> float:
    return float(np.linalg.norm(points - target, axis=-1).mean())


def _bone_lengths(joints: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(joints[NAMES.index(a)] - joints[NAMES.index(b)]) for a, b in BONES.values()])


def _pitch_deg(joints: np.ndarray) -> float:
    """Angle of pelvis to neck out of the picture plane, positive away from the camera."""
    trunk = joints[NAMES.index("neck")] - joints[0]
    return float(np.degrees(np.arcsin(trunk[2] / np.linalg.norm(trunk))))


def _true_root(truth: dict[str, np.ndarray], person: int) -> np.ndarray:
    return rotvec_to_matrix(truth["pose"][person, 0])


def _box(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
