# SPDX-License-Identifier: GPL-3.0-or-later
"""A small network that tells body joints in metres from MediaPipe's landmarks, knowing the lens.

MediaPipe sees a person's square and nothing else: its metric landmarks take every picture for one from afar, and
flatten limbs that point at the camera. This network also knows under which angle the person is seen, and what MediaPipe
gets wrong on people whose joints are known. It was trained on drawn people only (`tests/synthetic/lifter_samples.py`
draws them, `engine/training/lifter.py` trains), so it is ours to ship, whatever it is used for.

Its frame is the *ray frame*: the camera's, turned by the smallest rotation that brings the optical axis onto the ray
through the middle of the hips. Metres, x right, y down, z along the ray; joints are relative to the pelvis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .pose_prior import MIRROR
from .rotations import rotation_between

LIFTER_FILE = Path(__file__).parent / "body" / "landmark_lifter.npz"
JOINTS = 22
LANDMARKS = 33
FEATURES = 6 * LANDMARKS + 3
"""Two numbers in the picture, one visibility and three in metres of each landmark; the person's angle, twice; lens."""
SIGMA_RANGE_M = (0.01, 0.5)
_HIPS = (23, 24)
_MIRRORED_JOINTS = np.concatenate([[0], MIRROR + 1])
# From the eleventh on, a left landmark has an odd number and is followed by its right one.
_MIRRORED_LANDMARKS = np.array([0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(i - (-1) ** i for i in range(11, LANDMARKS))])
_FAR = 3.0
"""Landmarks are cut off this many sizes of the person away from the hips: beyond, they are wild guesses."""


@dataclass(frozen=True)
class Lifted:
    """What the network says of B people."""

    joints: np.ndarray
    """(B, 22, 3) metres relative to the pelvis, camera frame."""
    sigma_m: np.ndarray
    """(B, 22) how far off it believes to be."""


@dataclass(frozen=True)
class LandmarkLifter:
    """Weights of a residual perceptron beside a linear map."""

    centre: np.ndarray
    """(201,) of the features over the training people."""
    spread: np.ndarray
    """(201,)."""
    linear: tuple[np.ndarray, np.ndarray]
    """Weight (66, 201) and bias: features straight to joints."""
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Weight and bias of each layer; the last gives 66 corrections to the joints and 22 ln(sigma)."""

    def lift(
        self,
        points_px: np.ndarray,
        visibility: np.ndarray,
        metric_points: np.ndarray,
        size_px: np.ndarray,
        focal_px: np.ndarray,
        is_known: np.ndarray,
    ) -> Lifted:
        """Joints of B people; see `features` for the arguments."""
        seen, R_camera_ray = features(points_px, visibility, metric_points, size_px, focal_px, is_known)
        as_is, in_mirror = self._joints(seen), self._joints(mirrored(seen))
        # A mirrored person has mirrored joints; the network only nearly knows that.
        joints = (as_is[0] + mirrored_joints(in_mirror[0])) / 2
        joints[:, 0] = 0  # the pelvis, which is not learned
        sigma_m = np.exp((as_is[1] + in_mirror[1][:, _MIRRORED_JOINTS]) / 2).clip(*SIGMA_RANGE_M)
        return Lifted(joints @ R_camera_ray.swapaxes(1, 2), sigma_m)

    def _joints(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, 201) -> (B, 22, 3) joints in the ray frame and (B, 22) ln(sigma)."""
        x = (seen - self.centre) / self.spread
        straight = x @ self.linear[0].T + self.linear[1]
        (weight, bias), *between, (last_weight, last_bias) = self.layers
        hidden = _gelu(x @ weight.T + bias)
        for weight, bias in between:
            hidden = hidden + _gelu(hidden @ weight.T + bias)
        out = hidden @ last_weight.T + last_bias
        return (straight + out[:, : 3 * JOINTS]).reshape(-1, JOINTS, 3), out[:, 3 * JOINTS :]


@lru_cache(maxsize=1)
def load_lifter() -> LandmarkLifter:
    """The network that ships."""
    with np.load(LIFTER_FILE, allow_pickle=False) as data:
        get = {name: data[name].astype(np.float64) for name in data.files}
    count = sum(name.startswith("weight") for name in get)
    layers = tuple((get[f"weight{layer}"], get[f"bias{layer}"]) for layer in range(count))
    return LandmarkLifter(get["centre"], get["spread"], (get["linear_weight"], get["linear_bias"]), layers)


def features(
    points_px: np.ndarray,
    visibility: np.ndarray,
    metric_points: np.ndarray,
    size_px: np.ndarray,
    focal_px: np.ndarray,
    is_known: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What the network is told: (B, 201), and (B, 3, 3) R_camera_ray, which takes its joints to the camera frame.

    points_px (B, 33, 2) from the principal point, visibility (B, 33), metric_points (B, 33, 3), size_px (B,) diagonal
    of the person's box, focal_px (B,), and whether (B,) that focal length is known rather than assumed.
    """
    count = len(points_px)
    on_plane = points_px / focal_px[:, None, None]
    rays = np.concatenate([on_plane, np.ones((count, LANDMARKS, 1))], 2)
    R_camera_ray = rotation_between(np.array([0, 0, 1.0]), rays[:, _HIPS].mean(1))
    turned = rays @ R_camera_ray
    angle = size_px / focal_px
    in_sizes = turned[..., :2] / np.maximum(turned[..., 2:], 0.1) / angle[:, None, None]
    log_angle = np.log(angle)
    parts = (
        in_sizes.clip(-_FAR, _FAR).reshape(count, -1),
        visibility,
        metric_points.clip(-2, 2).reshape(count, -1),
        np.stack([log_angle, log_angle**2, is_known.astype(float)], 1),
    )
    return np.concatenate(parts, 1), R_camera_ray


def mirrored(seen: np.ndarray) -> np.ndarray:
    """(B, 201) features of the same people in a mirror."""
    in_sizes, visibility, metric, rest = np.split(seen, np.cumsum([2 * LANDMARKS, LANDMARKS, 3 * LANDMARKS]), 1)
    in_sizes = in_sizes.reshape(-1, LANDMARKS, 2)[:, _MIRRORED_LANDMARKS] * (-1, 1)
    metric = metric.reshape(-1, LANDMARKS, 3)[:, _MIRRORED_LANDMARKS] * (-1, 1, 1)
    count = len(seen)
    return np.concatenate(
        [in_sizes.reshape(count, -1), visibility[:, _MIRRORED_LANDMARKS], metric.reshape(count, -1), rest], 1
    )


def mirrored_joints(joints: np.ndarray) -> np.ndarray:
    """(B, 22, 3) joints in the ray frame of the same people in a mirror."""
    return joints[:, _MIRRORED_JOINTS] * (-1, 1, 1)


def _gelu(x: np.ndarray) -> np.ndarray:
    """The tanh form, within 0.001 of the exact one, and the one it was trained with."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
