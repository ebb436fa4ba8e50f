# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of our own that tells a person's joints from what MediaPipe saw, knowing the lens.

MediaPipe sees a person's square and nothing else: its metric landmarks take every picture for one from afar, flatten
limbs that point at the camera, and are told from features that know more than landmarks can say. This network goes on
from those features (a branch like the one that tells landmarks, learned anew from there), reads the landmarks too, and
knows under which angle the person is seen. It says where joints are, in metres and in the picture, how sure it is of
each, and what it thinks of the lens. It was trained on drawn people only
(`tests/synthetic/lifter_samples.py` draws them, `engine/training/lifter.py` trains), so it is ours to ship.

Its frame is the *crop frame*: the camera's, turned by the smallest rotation that brings the optical axis onto the ray
through the middle of the hips, then about that ray until the region that MediaPipe looked at is upright. Metres, x
right, y down, z along the ray; joints are relative to the pelvis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from .pose_prior import MIRROR
from .rotations import rotation_between

LIFTER_FILE = Path(__file__).parent / "body" / "landmark_lifter.npz"
JOINTS, LANDMARKS = 22, 33
SEEN = 6 * LANDMARKS + 3
"""Two numbers in the picture, one visibility and three in metres of each landmark; the person's angle, twice; lens."""
APPEARANCE = 256
NOTHING_SEEN = np.zeros(APPEARANCE, np.float32)
"""The appearance of somebody of whom only landmarks are known."""
OUTPUTS = {"joints": 3 * JOINTS, "log_sigma_m": JOINTS, "points": 2 * JOINTS, "log_sigma": JOINTS, "lens": 2}
"""What the last layer gives, in this order: joints in metres and how far off (natural logarithms), joints in the
picture in sizes of the person and how far off, ln of true over presumed focal length and its ln(sigma)."""
SIGMA_RANGE_M = (0.01, 0.5)
SIGMA_RANGE = (0.003, 0.5)
"""Of joints in the picture, in sizes of the person."""
SIGMAS_PER_SCALE = 1.3
"""The lens is believed with the density exp(-d / scale): within 1.14 scales lie as many as within one sigma. More on
rendered pictures, which it has not learned from: with this, 69 % of 301 people's lenses lie within the stated sigma."""
LEAST_EVIDENCE = 0.05
"""About the lens, as a precision of ln(focal); keeps what was seen finite where nothing was."""
_HIPS = (23, 24)
_MIRRORED_JOINTS = np.concatenate([[0], MIRROR + 1])
# From the eleventh on, a left landmark has an odd number and is followed by its right one.
_MIRRORED_LANDMARKS = np.array([0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(i - (-1) ** i for i in range(11, LANDMARKS))])
FAR = 3.0
"""Landmarks are cut off this many sizes of the person away from the hips: beyond, they are wild guesses."""


@dataclass(frozen=True)
class View:
    """What was seen of B people, and through which lens."""

    points_px: np.ndarray
    """(B, 33, 2) landmarks, from the principal point."""
    visibility: np.ndarray
    """(B, 33)."""
    metric_points: np.ndarray
    """(B, 33, 3)."""
    size_px: np.ndarray
    """(B,) diagonal of the person's box."""
    angle_rad: np.ndarray
    """(B,) how far the region that was looked at is turned."""
    appearance: np.ndarray
    """(B, 256) from `LandmarkLifter.appearance`; zeros where nothing but landmarks is known."""
    focal_px: np.ndarray
    """(B,)."""
    is_known: np.ndarray
    """(B,) bool: that focal length is known rather than presumed."""


@dataclass(frozen=True)
class Lifted:
    """What the network says of B people."""

    joints: np.ndarray
    """(B, 22, 3) metres relative to the pelvis, camera frame."""
    sigma_m: np.ndarray
    """(B, 22) how far off it believes to be."""
    points_px: np.ndarray
    """(B, 22, 2) joints in the picture, from the principal point."""
    sigma_px: np.ndarray
    """(B, 22)."""
    log_focal: np.ndarray
    """(B,) ln of the focal length in pixels that was seen, apart from what is usual; as given where it was known."""
    log_focal_sigma: np.ndarray
    """(B,) its standard deviation, mostly large: perspective shows little of the lens. 0 where it was known."""

    def of_rows(self, rows: np.ndarray) -> Lifted:
        """Of some of the people."""
        return Lifted(*(getattr(self, field.name)[rows] for field in fields(self)))


Layer = tuple[np.ndarray, np.ndarray]
"""Weight (out, in) and bias."""


@dataclass(frozen=True)
class Block:
    """Each channel is filtered by its own 3 x 3 numbers, channels are mixed, and the result is added to what came."""

    filters: Layer
    """(3, 3, C) and (C,)."""
    mix: Layer
    """(C, C) and (C,)."""
    halves: bool
    """Whether rows and columns become half as many."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(B, H, W, C) -> the same, or (B, H / 2, W / 2, C)."""
        stride, before = (2, 0) if self.halves else (1, 1)
        padded = np.pad(x, ((0, 0), (before, 1), (before, 1), (0, 0)))
        rows, columns = (size // stride for size in x.shape[1:3])
        filtered = self.filters[1] + sum(
            padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride] * self.filters[0][i, j]
            for i in range(3)
            for j in range(3)
        )
        if self.halves:
            x = x.reshape(len(x), rows, 2, columns, 2, -1).max((2, 4))
        return relu6(x + relu6(filtered) @ self.mix[0].T + self.mix[1])


@dataclass(frozen=True)
class LandmarkLifter:
    """The weights."""

    branches: dict[str, tuple[tuple[Block, ...], Layer]]
    """For each landmark network, from its features to the appearance."""
    centre: np.ndarray
    """(201,) of what is seen over the training people."""
    spread: np.ndarray
    """(201,)."""
    linear: Layer
    """What is seen straight to everything told."""
    layers: tuple[Layer, ...]
    """A residual perceptron; what the last gives is added."""
    usual_lens: np.ndarray
    """(2,) mean and standard deviation of ln of true over presumed focal length among the training people."""

    def appearance(self, features: np.ndarray, network: str) -> np.ndarray:
        """(B, 8, 8, 288) features of one landmark network -> (B, 256)."""
        blocks, (weight, bias) = self.branches[network]
        for block in blocks:
            features = block(features)
        return features.reshape(len(features), -1) @ weight.T + bias

    def lift(self, view: View) -> Lifted:
        """Everything it says of B people."""
        seen, R_camera_crop = features_of(view)
        told = self._told(seen, view.appearance)
        blind = np.flatnonzero(~view.appearance.any(1))
        if len(blind):
            self._look_in_mirror(told, seen[blind], blind)
        joints, points = told["joints"].reshape(-1, JOINTS, 3), told["points"].reshape(-1, JOINTS, 2)
        joints[:, 0] = 0  # the pelvis, which is not learned
        size_px = view.size_px[:, None]
        lens, lens_sigma = self._seen_of_lens(*told["lens"].T)
        return Lifted(
            joints=joints @ R_camera_crop.swapaxes(1, 2),
            sigma_m=np.exp(told["log_sigma_m"]).clip(*SIGMA_RANGE_M),
            points_px=in_picture(points, view, R_camera_crop),
            sigma_px=np.exp(told["log_sigma"]).clip(*SIGMA_RANGE) * size_px,
            log_focal=np.log(view.focal_px) + np.where(view.is_known, 0, lens),
            log_focal_sigma=np.where(view.is_known, 0, lens_sigma),
        )

    def _seen_of_lens(self, belief: np.ndarray, log_scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) belief and ln of its scale -> (B,) what was seen and its sigma, without what was usual in training."""
        mean, spread = self.usual_lens
        precision = (SIGMAS_PER_SCALE * np.exp(log_scale)) ** -2
        evidence = np.maximum(precision - spread**-2, LEAST_EVIDENCE)
        return (precision * belief - mean * spread**-2) / evidence, evidence**-0.5

    def _look_in_mirror(self, told: dict[str, np.ndarray], seen: np.ndarray, rows: np.ndarray) -> None:
        """Make what is told of some rows by landmarks alone the mean of that and of what their mirror images tell.

        A mirrored person has mirrored joints; the network only nearly knows that.
        """
        other = self._told(mirrored(seen), np.zeros((len(rows), APPEARANCE)))
        for name in ("joints", "points"):
            other[name] = mirrored_joints(other[name].reshape(len(rows), JOINTS, -1)).reshape(len(rows), -1)
        for name in ("log_sigma_m", "log_sigma"):
            other[name] = other[name][:, _MIRRORED_JOINTS]
        for name, values in told.items():
            values[rows] = (values[rows] + other[name]) / 2

    def _told(self, seen: np.ndarray, appearance: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 201), (B, 256) -> `OUTPUTS`."""
        x = standard(seen, appearance, self.centre, self.spread)
        (weight, bias), *between, (last_weight, last_bias) = self.layers
        hidden = _gelu(x @ weight.T + bias)
        for weight, bias in between:
            hidden = hidden + _gelu(hidden @ weight.T + bias)
        out = x @ self.linear[0].T + self.linear[1] + hidden @ last_weight.T + last_bias
        return dict(zip(OUTPUTS, np.split(out, np.cumsum(list(OUTPUTS.values()))[:-1], 1), strict=True))


@lru_cache(maxsize=1)
def load_lifter() -> LandmarkLifter:
    """The network that ships."""
    with np.load(LIFTER_FILE, allow_pickle=False) as data:
        get = {name: data[name].astype(np.float32) for name in data.files}
    layer = lambda name: (get[f"{name}.weight"], get[f"{name}.bias"])  # noqa: E731
    count = lambda stem: len({n.split(".")[1] for n in get if n.startswith(f"{stem}.")})  # noqa: E731
    branches = {}
    for network in ("medium", "large"):
        blocks = []
        for number in range(count(f"{network}_blocks")):
            name = f"{network}_blocks.{number}"
            filters = (get[f"{name}.filters.weight"][:, 0].transpose(1, 2, 0), get[f"{name}.filters.bias"])
            blocks.append(Block(filters, layer(f"{name}.mix"), bool(get[f"{name}.halves"])))
        branches[network] = (tuple(blocks), layer(f"{network}_appearance"))
    layers = (*(layer(f"hidden.{n}") for n in range(count("hidden"))), layer("last"))
    return LandmarkLifter(branches, get["centre"], get["spread"], layer("linear"), layers, get["usual_lens"])


def features_of(view: View) -> tuple[np.ndarray, np.ndarray]:
    """What the network is told of landmarks and lens: (B, 201), and (B, 3, 3) R_camera_crop, which takes what it says
    to the camera frame."""
    count = len(view.points_px)
    rays = _rays(view.points_px, view.focal_px)
    R_camera_ray = rotation_between(np.array([0, 0, 1.0]), rays[:, _HIPS].mean(1))
    R_ray_crop = _about_z(view.angle_rad)
    R_camera_crop = R_camera_ray @ R_ray_crop
    angle = view.size_px / view.focal_px
    log_angle = np.log(angle)
    parts = (
        in_sizes(rays, R_camera_crop, angle).reshape(count, -1),
        view.visibility,
        (view.metric_points @ R_ray_crop).clip(-2, 2).reshape(count, -1),
        np.stack([log_angle, log_angle**2, view.is_known.astype(float)], 1),
    )
    return np.concatenate(parts, 1), R_camera_crop


def in_sizes(rays: np.ndarray, R_camera_crop: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(B, N, 3) rays in the camera frame -> (B, N, 2) where they go in the crop frame, in sizes of the person."""
    turned = rays @ R_camera_crop
    return (turned[..., :2] / np.maximum(turned[..., 2:], 0.1) / angle[:, None, None]).clip(-FAR, FAR)


def in_picture(points: np.ndarray, view: View, R_camera_crop: np.ndarray) -> np.ndarray:
    """The other way: (B, N, 2) in sizes of the person -> (B, N, 2) pixels from the principal point."""
    angle = view.size_px / view.focal_px
    ahead = np.ones((*points.shape[:2], 1))
    rays = np.concatenate([points * angle[:, None, None], ahead], 2) @ R_camera_crop.swapaxes(1, 2)
    return rays[..., :2] / np.maximum(rays[..., 2:], 0.05) * view.focal_px[:, None, None]


def points_in_sizes(points_px: np.ndarray, view: View, R_camera_crop: np.ndarray) -> np.ndarray:
    """(B, N, 2) pixels from the principal point -> (B, N, 2) in sizes of the person."""
    return in_sizes(_rays(points_px, view.focal_px), R_camera_crop, view.size_px / view.focal_px)


def standard(seen: np.ndarray, appearance: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(B, 201), (B, 256) -> (B, 458) what the perceptron reads; the last number tells whether anything was seen."""
    is_seen = appearance.any(1, keepdims=True)
    return np.concatenate([(seen - centre) / spread, appearance, is_seen], 1)


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
    """(B, 22, d) joints in the crop frame, or in the picture, of the same people in a mirror."""
    return joints[:, _MIRRORED_JOINTS] * np.array([-1, 1, 1])[: joints.shape[-1]]


def relu6(x: np.ndarray) -> np.ndarray:
    """The landmark networks' nonlinearity."""
    return x.clip(0, 6)


def _rays(points_px: np.ndarray, focal_px: np.ndarray) -> np.ndarray:
    """(B, N, 2), (B,) -> (B, N, 3) with z = 1."""
    return np.concatenate([points_px / focal_px[:, None, None], np.ones((*points_px.shape[:2], 1))], 2)


def _about_z(angle_rad: Sequence[float] | np.ndarray) -> np.ndarray:
    """(B,) -> (B, 3, 3) turning x towards y."""
    c, s, zero = np.cos(angle_rad), np.sin(angle_rad), np.zeros(len(angle_rad))
    return np.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1], 1).reshape(-1, 3, 3)


def _gelu(x: np.ndarray) -> np.ndarray:
    """The tanh form, within 0.001 of the exact one, and the one it was trained with."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
