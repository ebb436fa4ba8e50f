# SPDX-License-Identifier: GPL-3.0-or-later
"""How a training picture is varied: moved, scaled, turned, mirrored, tinted, and cut off where people often are.

The numbers are those of HMR2.0's and TokenHMR's training. Random draws are made first (`draw`) and applied afterwards,
so that what happened to a picture can be repeated and tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ..crop import CROP_SIDE_PX, normalised

# Left and right exchanged: 25 joints of OpenPose, then 19 more (see models/smpl_joints.py).
MIRRORED_KEYPOINTS = (
    *(0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21),
    *(30, 29, 28, 27, 26, 25, 36, 35, 34, 33, 32, 31, 37, 38, 39, 40, 41, 42, 43),
)
# SMPL's joints 1..23, as indices from 0.
MIRRORED_BODY = (1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11, 13, 12, 14, 16, 15, 18, 17, 20, 19, 22, 21)


@dataclass(frozen=True)
class Augmentation:
    """One draw. The defaults change nothing."""

    shift: tuple[float, float] = (0.0, 0.0)
    """Of the crop's centre, x and y, as a fraction of its side."""
    scale: float = 1.0
    """Of the crop's side: above 1 the person gets smaller."""
    rotation_deg: float = 0.0
    """Of the crop in the image; the person turns the other way."""
    mirror: bool = False
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factor per RGB channel."""


def draw(random: np.random.Generator) -> Augmentation:
    """A draw as the networks' training makes it."""
    clipped = np.clip(random.standard_normal(4), (-1, -1, -1, -2), (1, 1, 1, 2))
    return Augmentation(
        shift=(0.02 * clipped[0], 0.02 * clipped[1]),
        scale=1 + 0.3 * clipped[2],
        rotation_deg=30 * clipped[3] if random.random() < 0.6 else 0.0,
        mirror=random.random() < 0.5,
        tint=tuple(random.uniform(0.8, 1.2, 3)),
    )


@dataclass(frozen=True)
class Sample:
    """A labelled person in a picture."""

    image_rgb: np.ndarray
    """(H, W, 3) uint8."""
    center_px: np.ndarray
    """(2,) pixel index of the crop's middle."""
    side_px: float
    keypoints_2d: np.ndarray
    """(44, 3) pixel indices and confidence."""
    keypoints_3d: np.ndarray
    """(44, 4) metres and confidence, camera frame."""
    global_orient: np.ndarray
    """(3,) rotation vector."""
    body_pose: np.ndarray
    """(23, 3) rotation vectors."""


@dataclass(frozen=True)
class Example:
    """What the network is shown, and what it should say."""

    picture: np.ndarray
    """(3, 256, 256) float32, normalised."""
    keypoints_2d: np.ndarray
    """(44, 3) crop widths from the middle (-0.5 to 0.5) and confidence."""
    keypoints_3d: np.ndarray
    global_orient: np.ndarray
    body_pose: np.ndarray
    image_to_crop: np.ndarray
    """(2, 3) pixel indices of the (mirrored) image to pixel indices of the crop."""


def applied(sample: Sample, change: Augmentation) -> Example:
    """The sample as it looks after the change, with labels to match."""
    image, center_px = sample.image_rgb, np.array(sample.center_px, np.float64)
    center_px = center_px + np.array(change.shift) * sample.side_px
    if change.mirror:
        image = np.ascontiguousarray(image[:, ::-1])
        center_px[0] = image.shape[1] - center_px[0] - 1
    image_to_crop = crop_matrix(center_px, sample.side_px * change.scale, change.rotation_deg)
    crop = cv2.warpAffine(image, image_to_crop, (CROP_SIDE_PX, CROP_SIDE_PX), flags=cv2.INTER_LINEAR)
    crop = np.clip(crop * np.asarray(change.tint, np.float32), 0, 255)
    global_orient, body_pose = turned_pose(sample.global_orient, sample.body_pose, change)
    return Example(
        picture=normalised(crop),
        keypoints_2d=_turned_2d(sample.keypoints_2d, image.shape[1], image_to_crop, mirror=change.mirror),
        keypoints_3d=_turned_3d(sample.keypoints_3d, change),
        global_orient=global_orient,
        body_pose=body_pose,
        image_to_crop=image_to_crop,
    )


def crop_matrix(center_px: np.ndarray, side_px: float, rotation_deg: float) -> np.ndarray:
    """(2, 3) pixel indices of the image to those of a crop that is turned by `rotation_deg` in the image."""
    half = CROP_SIDE_PX / 2
    angle = np.deg2rad(rotation_deg)
    reach = np.float32(side_px / 2)
    # Rounded to single precision on the way, as in the training that these crops repeat.
    across = (reach * np.array([np.cos(angle), np.sin(angle)])).astype(np.float32)
    down = (reach * np.array([-np.sin(angle), np.cos(angle)])).astype(np.float32)
    in_image = np.array([center_px, center_px + down, center_px + across], np.float32)
    in_crop = np.array([(half, half), (half, CROP_SIDE_PX), (CROP_SIDE_PX, half)], np.float32)
    return cv2.getAffineTransform(in_image, in_crop)


def turned_pose(
    global_orient: np.ndarray, body_pose: np.ndarray, change: Augmentation
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors (3,), (23, 3) of the person as seen after the change."""
    if change.mirror:
        # In a mirror, left is right, and every turn about y and z goes the other way.
        mirror = np.array([1, -1, -1], np.float32)
        global_orient, body_pose = global_orient * mirror, body_pose[list(MIRRORED_BODY)] * mirror
    in_view = rotvec_to_matrix(np.array([0, 0, -np.deg2rad(change.rotation_deg)]))
    turned = matrix_to_rotvec(in_view @ rotvec_to_matrix(np.asarray(global_orient, np.float64)))
    return turned.astype(np.float32), np.asarray(body_pose, np.float32)


def _turned_2d(keypoints: np.ndarray, width_px: int, image_to_crop: np.ndarray, *, mirror: bool) -> np.ndarray:
    keypoints = keypoints.copy()
    if mirror:
        keypoints[:, 0] = width_px - keypoints[:, 0] - 1
        keypoints = keypoints[list(MIRRORED_KEYPOINTS)]
    keypoints[:, :2] = (keypoints[:, :2] @ image_to_crop[:, :2].T + image_to_crop[:, 2]) / CROP_SIDE_PX - 0.5
    return keypoints


def _turned_3d(keypoints: np.ndarray, change: Augmentation) -> np.ndarray:
    keypoints = keypoints.copy()
    if change.mirror:
        keypoints[:, 0] *= -1
        keypoints = keypoints[list(MIRRORED_KEYPOINTS)]
    in_view = rotvec_to_matrix(np.array([0, 0, -np.deg2rad(change.rotation_deg)]))
    keypoints[:, :3] = keypoints[:, :3] @ in_view.T
    return keypoints
