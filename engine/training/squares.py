# SPDX-License-Identifier: GPL-3.0-or-later
"""What BLADE trains on: squares of pictures with the person's SMPL-X labels and depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ..crop import normalised
from .augment import MIRRORED_BODY
from .data.people import CameraLabels, LabelledPerson

DEPTH_MARGIN = 1.25
"""The square for the depth is so much larger than the person."""

_BODY = 22
_MIRRORED = np.array(
    [0, *(1 + joint for joint in MIRRORED_BODY[: _BODY - 1]), 22, 24, 23, *range(40, 55), *range(25, 40)]
)
"""SMPL-X's 55 joints, left for right."""


def square(image: np.ndarray, center_px: np.ndarray, side_px: float, out_px: int, turn_deg: float = 0.0) -> np.ndarray:
    """Cut (H, W, 3) about a corner-origin point into (out, out, 3), black outside; the cut may be turned."""
    angle = np.deg2rad(turn_deg)
    scale = out_px / side_px
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    # Pixel indices are half a pixel less than corner-origin points, in both pictures.
    shift = out_px / 2 - 0.5 - turn @ (np.asarray(center_px) - 0.5)
    return cv2.warpAffine(image, np.c_[turn, shift], (out_px, out_px), flags=cv2.INTER_LINEAR)


def known_camera(person: LabelledPerson) -> CameraLabels:
    """Raises `BadSample` where a data set does not say where people stand."""
    if person.camera is None:
        raise person.where.bad("it has no camera and no place of the person, which BLADE learns from")
    if not person.camera.pelvis_cam[2] > 0:
        raise person.where.bad("its pelvis is not before the camera")
    return person.camera


def depth_square(person: LabelledPerson, out_px: int) -> np.ndarray:
    """(out, out, 3) the square around the person, as the depth network is shown it."""
    box = known_camera(person).box_px
    side_px = DEPTH_MARGIN * float((box[2:] - box[:2]).max())
    return square(person.sample.image_rgb, (box[:2] + box[2:]) / 2, side_px, out_px)


@dataclass(frozen=True)
class DepthPreparation:
    """A labelled person -> the square for DepthNet, and the pelvis' depth."""

    side_px: int
    mirror: bool = True

    def __call__(self, person: LabelledPerson, random: np.random.Generator) -> dict[str, np.ndarray]:
        picture = depth_square(person, self.side_px)
        if self.mirror and random.random() < 0.5:
            picture = picture[:, ::-1]
        values = {
            "picture": normalised(picture),
            "depth_m": known_camera(person).pelvis_cam[2],
            "has_depth": person.has_pose,
        }
        return {name: np.asarray(value, np.float32) for name, value in values.items()}


@dataclass(frozen=True)
class PosePreparation:
    """A labelled person -> the picture for PoseNet with SMPL-X labels, and the square for DepthNet."""

    side_px: int
    depth_side_px: int = 0
    """0: nobody asks DepthNet, the labelled depth is used."""
    augment: bool = True

    def __call__(self, person: LabelledPerson, random: np.random.Generator) -> dict[str, np.ndarray]:
        camera, image = known_camera(person), person.sample.image_rgb
        height, width = image.shape[:2]
        center = np.array([width, height]) / 2
        # As far as the person reaches from the picture's middle, but not beyond the shorter side.
        reach = np.abs(camera.box_px.reshape(2, 2) - center).max()
        reach_px = min(float(reach), min(width, height) / 2)
        scale, turn_deg, mirror, gain = 1.0, 0.0, False, np.ones(3)
        if self.augment:
            scale = random.uniform(0.7, 2.0)
            turn_deg = float(np.clip(random.normal(0, 30), -60, 60)) if random.random() < 0.8 else 0.0
            mirror, gain = bool(random.random() < 0.5), random.uniform(0.6, 1.4, 3)
        shown = np.ascontiguousarray(image[:, ::-1]) if mirror else image
        picture = square(shown, center, 2 * reach_px * scale, self.side_px, turn_deg)
        pose = varied_pose(camera.pose, turn_deg, mirror=mirror)
        values = {
            "picture": normalised((picture * gain).clip(0, 255)),
            "pose": pose,
            "betas": camera.betas,
            "has_betas": person.has_betas,
            "depth_m": camera.pelvis_cam[2],
        }
        if self.depth_side_px:
            values["depth_picture"] = normalised(depth_square(person, self.depth_side_px))
        return {name: np.asarray(value, np.float32) for name, value in values.items()}


def varied_pose(pose: np.ndarray, turn_deg: float, *, mirror: bool) -> np.ndarray:
    """(55, 3) of a person as seen in a mirror, then in a cut that is turned by `turn_deg` in the picture."""
    if mirror:
        pose = pose[_MIRRORED] * np.array([1, -1, -1], np.float32)
    pose = pose.copy()
    turn = rotvec_to_matrix(np.array([0, 0, -np.deg2rad(turn_deg)]))
    pose[0] = matrix_to_rotvec(turn @ rotvec_to_matrix(pose[0].astype(np.float64)))
    return pose
