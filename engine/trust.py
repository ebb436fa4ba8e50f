# SPDX-License-Identifier: GPL-3.0-or-later
"""How far off a recovered body probably is, in millimetres, by the signs that its fit and its picture give.

ln(error) is a weighted sum of a dozen signs, all such that more is worse. The weights stand in `trust_table.py` and
were found on rendered people whose joints are known (`tests/benchmarks/trust.py`); `doubts.py` has the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..models.body_model import load_body
from ..models.pose_prior import load_pose_prior
from ..models.rotations import rotvec_to_matrix
from . import trust_table
from .evaluation.metrics import procrustes_aligned
from .fit.points import LANDMARK_NAMES, landmark_points

if TYPE_CHECKING:
    from .cameras import Pinhole
    from .detect import Detection
    from .fit.body_fit import Fit
    from .follow import Sighting

SEEN = 0.5
"""Visibility from which on a landmark counts as seen."""
FARTHEST = 3.0
"""A sign counts at most so many of its spreads: beyond, nobody has measured what it means."""
_TO_CAMERA = 3
"""So many of the limb bones, those that point most at the camera, count."""
_MOST_SIGMAS = 5.0
_SIDES = ("left", "right")
_SHARED = [f"{s}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in _SIDES]
"""What landmarks and joints both name."""
LIMB_BONES = {
    f"{side} {limb}": [(f"{side}_{a}", f"{side}_{b}") for a, b in bones]
    for limb, bones in {
        "arm": (("shoulder", "elbow"), ("elbow", "wrist")),
        "leg": (("hip", "knee"), ("knee", "ankle")),
    }.items()
    for side in _SIDES
}
"""Limb -> its two bones, each from joint to joint."""


def joint_errors_mm(people: Sequence[Detection | Sighting], fit: Fit, camera: Pinhole, body_name: str) -> np.ndarray:
    """(B, 22) how far each joint of B fitted people probably lies from its place, the pelves put together.

    The mean over a person's joints is what its signs say; how it is shared out is what the lifter says.
    """
    share = fit.lifted_sigma_m.copy()
    share[:, 0] = 0  # the pelvis
    person_mm = np.exp(trust_table.LN_ERROR_MM + weighed(signs(people, fit, camera, body_name)))
    return person_mm[:, None] * share / share.mean(1, keepdims=True)


def with_overlap(joint_error_mm: np.ndarray, overlay_iou: np.ndarray) -> np.ndarray:
    """(F, 22) the same, knowing how well the body covers its picture: overlap (F,), NaN where that is not known."""
    more = weighed({"uncovered": uncovered(overlay_iou)})
    return joint_error_mm * np.exp(np.where(np.isfinite(overlay_iou), more, 0))[:, None]


def weighed(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Signs by name, each (B,) -> (B,) what they add to ln(error)."""
    return np.sum([trust_table.SIGNS[name].weight * standard(name, value) for name, value in found.items()], axis=0)


def standard(name: str, value: np.ndarray) -> np.ndarray:
    """A sign (B,) in its spreads from what is usual."""
    usual, spread = trust_table.SIGNS[name].usual, trust_table.SIGNS[name].spread
    return ((value - usual) / spread).clip(-FARTHEST, FARTHEST)


def uncovered(overlay_iou: np.ndarray) -> np.ndarray:
    """The verdict's own sign."""
    return 1 - overlay_iou


def signs(people: Sequence[Detection | Sighting], fit: Fit, camera: Pinhole, body_name: str) -> dict[str, np.ndarray]:
    """What B people's fit knows of its own error: name -> (B,)."""
    names, landmarks = load_body(body_name).joint_names, landmark_points(body_name).indices
    shared = [names.index(name) for name in _SHARED], [LANDMARK_NAMES.index(name) for name in _SHARED]
    points_px, visibility, metric = (np.array([getattr(person, name) for person in people]) for name in _OF_PEOPLE)
    boxes_px = np.array([person.box_px for person in people])
    size_px = np.linalg.norm(boxes_px[:, 2:] - boxes_px[:, :2], axis=1)

    joints = fit.joints - fit.joints[:, :1]
    off_lifter_m = np.linalg.norm(joints - fit.lifted_joints, axis=-1)[:, 1:]
    in_sigmas = np.minimum(off_lifter_m / fit.lifted_sigma_m[:, 1:], _MOST_SIGMAS)
    limbs, as_seen = joints[:, shared[0]], metric[:, shared[1]]
    off_metric_m = np.linalg.norm(procrustes_aligned(as_seen, limbs) - limbs, axis=-1)
    off_px = np.linalg.norm(fit.points_px - points_px[:, landmarks], axis=-1)
    off_px = np.where(visibility[:, landmarks] > SEEN, off_px, np.nan)
    return {
        "lifter_sigma": np.log(np.sqrt(np.square(fit.lifted_sigma_m[:, 1:]).mean(1))),
        "off_lifter": np.log(off_lifter_m.mean(1) + 0.01),
        "off_lifter_in_sigmas": np.sqrt(np.square(in_sigmas).mean(1)),
        "off_landmarks": np.log(_median(off_px) / size_px + 0.002),
        "off_metric_landmarks": np.log(off_metric_m.mean(1) + 0.01),
        "outside": outside(fit, camera).mean(1),
        "hidden": 1 - visibility[:, shared[1]].mean(1),
        "to_camera": np.sort(_all_to_camera(fit, names), axis=1)[:, -_TO_CAMERA:].mean(1),
        "unlikely_pose": _unlikely(fit.pose[:, 1:].reshape(len(fit.pose), -1)),
        "uncertain_joints": 1 - fit.certainty.mean(1),
        "not_upright": 1 - uprightness(fit),
    }


_OF_PEOPLE = ("points_px", "visibility", "metric_points")


def outside(fit: Fit, camera: Pinhole) -> np.ndarray:
    """(B, 22) bool, which joints lie outside the picture."""
    centre_px = camera.centres_px(len(fit.joints))[:, None]
    px = fit.joints[..., :2] / np.maximum(fit.joints[..., 2:], 1e-3) * fit.focal_px[:, None, None] + centre_px
    return ((px < 0) | (px > (camera.width, camera.height))).any(-1)


def to_camera(fit: Fit, bone: tuple[str, str], joint_names: Sequence[str]) -> np.ndarray:
    """(B,) how much a bone points at the camera or away from it: cosine of its angle with the ray, 0 to 1."""
    start, end = (fit.joints[:, joint_names.index(name)] for name in bone)
    along, ray = end - start, end + start
    lengths = np.linalg.norm(along, axis=1) * np.linalg.norm(ray, axis=1)
    return np.abs((along * ray).sum(1)) / lengths


def uprightness(fit: Fit) -> np.ndarray:
    """(B,) cosine of the angle between the pelvis' up and the picture's: 1 upright, 0 lying, -1 upside down."""
    return -rotvec_to_matrix(fit.pose[:, 0])[:, 1, 1]


def _all_to_camera(fit: Fit, joint_names: Sequence[str]) -> np.ndarray:
    """(B, 8) all limb bones."""
    return np.stack([to_camera(fit, bone, joint_names) for bones in LIMB_BONES.values() for bone in bones], 1)


def _unlikely(poses: np.ndarray) -> np.ndarray:
    """(B, 63) -> (B,) ln of the squared Mahalanobis distance to the likely poses around."""
    prior = load_pose_prior()
    nearest = prior.nearest(poses)
    off = (prior.roots[nearest] @ (poses - prior.means[nearest])[..., None])[..., 0]
    return np.log(np.square(off).sum(1) + 1)


def _median(values: np.ndarray) -> np.ndarray:
    """(B, N) -> (B,) of those that are numbers; 0 without any."""
    known = np.isfinite(values)
    filled = np.where(known.any(1)[:, None], values, 0)
    return np.nanmedian(filled, axis=1)
