# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovered person against the labelled one, in every measure that both of them allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.smpl_to_smplx import SHARED_JOINTS
from ..crop import Crop
from ..raster import Look, shade, silhouette
from . import metrics
from .datasets import Labelled
from .people import SMPL_JOINTS, Person
from .protocols import BodyErrors, errors_3dpw, errors_emdb

MEASURES = {
    "mve_mm": "MVE / PVE, mm",
    "mpjpe_mm": "MPJPE, mm",
    "pa_mpjpe_mm": "PA-MPJPE, mm",
    "tz_m": "E_Tz, m",
    "inverse_tz": "E_1/Tz, 1/m",
    "txy_m": "E_Txy, m",
    "focal_percent": "E_f, %",
    "miou_percent": "mIoU, %",
    "part_miou_percent": "P-mIoU, %",
    "pck05_percent": "PCK@0.05, %",
    "pck10_percent": "PCK@0.1, %",
}
"""What is measured -> its name in tables."""
PROTOCOLS = {
    "3dpw": "14 of the 44 keypoints, pelvis on pelvis, as published",
    "3dpw-like": "14 of the 44 keypoints, pelvis on pelvis; SMPL's regressed keypoints are approximated on "
    "another body, so these joint errors are no published ones",
    "emdb": "SMPL's 24 joints, the hips' middle on the other's, as published",
    "h36m": "14 of Human3.6M's joints, regressed from SMPL's surface, as published; everybody was fitted by SMPL",
    "h36m-like": "14 of Human3.6M's joints, regressed from SMPL's surface; bodies were fitted by SMPL over nearest "
    "places rather than SMPL-X's own transfer, which costs some millimetres",
    "shared": "14 joints that SMPL, SMPL-X and the free bodies share (hips to ankles, shoulders to wrists, neck, "
    "head), pelvis on pelvis; published tables regress theirs from SMPL's surface",
}

SHARED_LIMBS = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
PCK_SHARES = {"pck05_percent": 0.05, "pck10_percent": 0.1}
"""How far a keypoint may be off, as a share of the labelled box's longer side."""
_SEEN = 0.3
_HEAD, _LEFT_HAND, _RIGHT_HAND = 15, 22, 23
_FIRST_FINGER, _FIRST_RIGHT_FINGER = 25, 40


def protocol_of(dataset: str, labelled: Person, found: Person) -> str:
    """Which joints are compared: a key of `PROTOCOLS`."""
    if labelled.h36m and found.h36m:
        return "h36m" if labelled.h36m.is_exact and found.h36m.is_exact else "h36m-like"
    if dataset == "3dpw" and labelled.keypoints is not None and found.keypoints is not None:
        return "3dpw" if found.body.joint_count == SMPL_JOINTS else "3dpw-like"
    if dataset == "emdb" and labelled.body.joint_count == found.body.joint_count == SMPL_JOINTS:
        return "emdb"
    return "shared"


def body_errors(protocol: str, labelled: Person, found: Person) -> BodyErrors:
    """One person each; the surface's error is NaN where the bodies have different surfaces."""
    same = labelled.has_surface_of(found)
    true_surface = labelled.vertices[None]
    surface = found.vertices[None] if same else np.full_like(true_surface, np.nan)
    if protocol.startswith("h36m"):
        assert labelled.h36m is not None and found.h36m is not None
        joints, true_joints = found.h36m.joints[None], labelled.h36m.joints[None]
        return BodyErrors(
            pve=metrics.vertex_errors_mm(surface, true_surface, joints, true_joints).mean(1),
            mpjpe=metrics.joint_errors_mm(joints, true_joints).mean(1),
            pa_mpjpe=metrics.joint_errors_mm(joints, true_joints, procrustes=True).mean(1),
        )
    if protocol.startswith("3dpw"):
        assert labelled.keypoints is not None and found.keypoints is not None
        return errors_3dpw(found.keypoints[None], labelled.keypoints[None], surface, true_surface)
    if protocol == "emdb":
        return errors_emdb(surface, true_surface, found.body.J_regressor)
    joints, true_joints = found.joints[None, :SHARED_JOINTS], labelled.joints[None, :SHARED_JOINTS]
    root, true_root = joints[:, :1], true_joints[:, :1]
    limbs, true_limbs = joints[:, SHARED_LIMBS] - root, true_joints[:, SHARED_LIMBS] - true_root
    return BodyErrors(
        pve=metrics.point_errors_mm(surface - root, true_surface - true_root).mean(1),
        mpjpe=metrics.point_errors_mm(limbs, true_limbs).mean(1),
        pa_mpjpe=metrics.point_errors_mm(metrics.procrustes_aligned(limbs, true_limbs), true_limbs).mean(1),
    )


def scored(
    protocol: str, picture: Labelled, labelled: Person, found: Person, intrinsics: np.ndarray | None
) -> dict[str, float]:
    """`MEASURES` of one person; NaN where a label or the answer does not tell. `intrinsics`: the recovered camera."""
    values = dict.fromkeys(MEASURES, np.nan)
    errors = body_errors(protocol, labelled, found)
    values |= {"mve_mm": errors.pve[0], "mpjpe_mm": errors.mpjpe[0], "pa_mpjpe_mm": errors.pa_mpjpe[0]}
    if labelled.is_placed and found.is_placed:
        pelves = found.joints[None, 0], labelled.joints[None, 0]
        values["tz_m"] = metrics.depth_error_m(*pelves)[0]
        values["inverse_tz"] = metrics.inverse_depth_error(*pelves)[0]
        values["txy_m"] = metrics.lateral_error_m(*pelves)[0]
        if picture.intrinsics is not None and intrinsics is not None:
            focals = np.array([intrinsics[0, 0]]), np.array([picture.intrinsics[0, 0]])
            values["focal_percent"] = 100 * metrics.focal_error(*focals)[0]
            values |= _overlaps(picture.image_rgb, (labelled, picture.intrinsics), (found, intrinsics))
    if labelled.keypoints_px is not None and found.keypoints_px is not None:
        values |= _pck(labelled, found)
    return {name: float(value) for name, value in values.items()}


def _pck(labelled: Person, found: Person) -> dict[str, float]:
    assert labelled.keypoints_px is not None and found.keypoints_px is not None
    seen = labelled.keypoints_px[:, 2] >= _SEEN
    if not seen.any():
        return {}
    off_px = np.linalg.norm((labelled.keypoints_px - found.keypoints_px)[seen, :2], axis=1)
    side_px = float((labelled.box_px[2:] - labelled.box_px[:2]).max())
    return {name: 100 * float((off_px <= share * side_px).mean()) for name, share in PCK_SHARES.items()}


def _overlaps(
    image: np.ndarray, labelled: tuple[Person, np.ndarray], found: tuple[Person, np.ndarray]
) -> dict[str, float]:
    """Both naked bodies drawn, each through its own camera, in a picture of the image's size."""
    height, width = image.shape[:2]
    ours, theirs = (
        silhouette(one.vertices, one.body.faces, matrix, width, height)[None] for one, matrix in (found, labelled)
    )
    values = {"miou_percent": 100 * metrics.mask_iou(ours, theirs)[0]}
    if labelled[0].has_surface_of(found[0]):
        ours, theirs = (_part_map(one, matrix, width, height)[None] for one, matrix in (found, labelled))
        values["part_miou_percent"] = 100 * metrics.part_iou(ours, theirs)[0]
    return values


def _part_map(person: Person, intrinsics: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W) 0 background, n + 1 where SMPL's joint n moves the surface."""
    owners = person.body.weights.argmax(1)
    if person.body.joint_count != SMPL_JOINTS:  # face parts belong to the head, fingers to the hands
        owners = np.where(owners >= _FIRST_RIGHT_FINGER, _RIGHT_HAND, owners)
        owners = np.where((owners >= _FIRST_FINGER) & (owners < _FIRST_RIGHT_FINGER), _LEFT_HAND, owners)
        is_face = person.body.weights.argmax(1)
        owners = np.where((is_face >= SHARED_JOINTS) & (is_face < _FIRST_FINGER), _HEAD, owners)
    parts = owners[person.body.faces[:, 0]]
    flat = Look(colours=tuple((n + 1, n + 1, n + 1) for n in range(SMPL_JOINTS)), ambient=1.0, rim=0.0)
    return shade(person.vertices, person.body.faces, intrinsics, width, height, parts, flat)[..., 0]


# ---- crop robustness ----


def cropped(picture: Labelled, row: int, share: float) -> Labelled:
    """The picture with one labelled person, of whose box only the middle is left.

    The middle (1 - share) of the box's width and height stays, the rest of the picture is black, and the box keeps its
    place and size for networks that are told it. This is our reading of "cropped by 30 % / 50 % evenly from the
    boundaries" (TokenHMR, table 2), for which no program was published.
    """
    person = picture.people[row]
    middle, half = (person.box_px[:2] + person.box_px[2:]) / 2, (person.box_px[2:] - person.box_px[:2]) / 2
    low, high = middle - half * (1 - share), middle + half * (1 - share)
    height, width = picture.image_rgb.shape[:2]
    x1, y1 = np.round(low).astype(int).clip(0, (width, height))
    x2, y2 = np.round(high).astype(int).clip(0, (width, height))
    image = np.zeros_like(picture.image_rgb)
    image[y1:y2, x1:x2] = picture.image_rgb[y1:y2, x1:x2]
    crops: tuple[Crop, ...] = picture.crops[row : row + 1]
    return replace(picture, image_rgb=image, people=(person,), crops=crops)
