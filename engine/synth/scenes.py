# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in a picture, and the camera that sees them. Everything is in the camera frame: x right, y down, z forward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...models.body_model import BodyModel
from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ...wire.frames import FULL_FRAME_MM, project
from ..raster import silhouette
from . import people
from .poses import Poses, random_pose

LENSES_MM, DEPTHS_M = (18.0, 85.0), (0.5, 8.0)
CLOSE_LENSES_MM, CLOSE_DEPTHS_M = (18.0, 35.0), (0.5, 1.2)
"""As PDHUMAN's: so near that perspective distorts the person."""
TWO_PEOPLE_SHARE, CUT_OFF_SHARE, REACH_SHARE = 0.2, 0.2, 0.15
CLOSE_CUT_OFF_SHARE, CLOSE_REACH_SHARE = 0.6, 0.6
NEAREST_M = 0.12
"""No part of anybody comes nearer to the camera."""
SMALLEST_EXTENT = 0.3
"""Of the joints in the picture, in its longer sides."""
_ASPECTS = (2 / 3, 3 / 4, 1.0, 1.0, 4 / 3, 3 / 2)
_UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""From the body's frame (y up, z front) to the camera's: facing it."""
_TRIES = 200
_HEAD = (12, 15)


@dataclass(frozen=True)
class Actor:
    shape: people.Shape
    look: people.Look
    pose: np.ndarray
    """(55, 3), the root in the camera frame."""
    translation: np.ndarray
    """(3,)"""
    vertices: np.ndarray
    """(V, 3) naked."""
    joints: np.ndarray
    """(55, 3)"""
    clothed: np.ndarray
    """(V, 3) what is drawn."""

    @property
    def body(self) -> BodyModel:
        return self.shape.body


@dataclass(frozen=True)
class Scene:
    actors: tuple[Actor, ...]
    """The first is the one whom the camera looks at."""
    intrinsics: np.ndarray
    """(3, 3), principal point in the middle."""
    width: int
    height: int
    lens_mm: float
    """For a sensor whose longer side is 36 mm."""


def make_scene(rng: np.random.Generator, longer_px: int, poses: Poses, close_up_share: float) -> Scene:
    """Somebody, perhaps with a second person behind."""
    while True:
        is_close = rng.random() < close_up_share
        dummy = Dummy.made(rng, poses, CLOSE_REACH_SHARE if is_close else REACH_SHARE)
        found = _framed(rng, dummy, longer_px, is_close)
        if found is None:
            continue
        if rng.random() < TWO_PEOPLE_SHARE and not is_close:
            found = _with_second(rng, found, Dummy.made(rng, poses, 0.0))
        return found


@dataclass(frozen=True)
class Dummy:
    """Somebody posed and dressed, the pelvis at the origin, before the camera is placed."""

    shape: people.Shape
    look: people.Look
    pose: np.ndarray
    R_camera_body: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    clothed: np.ndarray

    @classmethod
    def made(cls, rng: np.random.Generator, poses: Poses, reach: float) -> Dummy:
        shape = people.random_shape(rng)
        look = people.random_look(rng, shape.body)
        R_camera_body = _direction(rng)
        towards = R_camera_body.T @ np.array([0, 0, -1.0])
        pose = random_pose(rng, shape.body, poses, towards, reach).astype(np.float32)
        root = R_camera_body @ rotvec_to_matrix(pose[0].astype(np.float64))
        pose[0] = matrix_to_rotvec(root)
        none = np.zeros((1, 0))
        naked = shape.body.forward(pose[None], none)
        drawn = people.clothed(shape.body, look).forward(pose[None], none).vertices[0]
        pelvis = naked.joints[0, 0]
        return cls(
            shape, look, pose, R_camera_body, naked.vertices[0] - pelvis, naked.joints[0] - pelvis, drawn - pelvis
        )

    def at(self, pelvis: np.ndarray) -> Actor:
        """Placed; the labels' own arithmetic is used, so that they are exact."""
        translation = (pelvis - self.shape.body.joints_template[0]).astype(np.float32)
        none = np.zeros((1, 0))
        naked = self.shape.body.forward(self.pose[None], none, translation=translation[None])
        return Actor(
            self.shape,
            self.look,
            self.pose,
            translation,
            naked.vertices[0],
            naked.joints[0],
            self.clothed + naked.joints[0, 0],
        )


def _direction(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) from the body's frame to the camera's: mostly from the front, a little above or below, a little tilted."""
    heading = math.radians(rng.uniform(*((-50, 50), (-110, 110), (-180, 180))[rng.choice(3, p=(0.55, 0.25, 0.2))]))
    elevation = math.radians(np.clip(rng.normal(4, 16), -30, 50))
    roll = math.radians(rng.normal(0, 3))
    about = lambda axis, angle: rotvec_to_matrix(angle * np.eye(3)[axis])  # noqa: E731
    return about(2, roll) @ about(0, -elevation) @ _UPRIGHT @ about(1, heading)


def _framed(rng: np.random.Generator, dummy: Dummy, longer_px: int, is_close: bool) -> Scene | None:
    """A camera that has the person in the picture; None where none was found."""
    is_cut = rng.random() < (CLOSE_CUT_OFF_SHARE if is_close else CUT_OFF_SHARE)
    for _ in range(_TRIES):
        lens_mm = _log_uniform(rng, CLOSE_LENSES_MM if is_close else LENSES_MM)
        depth_m = _log_uniform(rng, CLOSE_DEPTHS_M if is_close else DEPTHS_M)
        aspect = _ASPECTS[rng.integers(len(_ASPECTS))]
        width, height = round(longer_px * min(aspect, 1)), round(longer_px / max(aspect, 1))
        focal_px = lens_mm / FULL_FRAME_MM * longer_px
        intrinsics = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
        joint = _HEAD[1] if is_cut else 0
        middle = dummy.joints[joint] if is_cut else 0.5 * (dummy.vertices.min(0) + dummy.vertices.max(0))
        aim_px = rng.normal(0, 0.06 * longer_px, 2)
        aim_z = depth_m + middle[2]
        if depth_m + dummy.clothed[:, 2].min() < NEAREST_M or aim_z < NEAREST_M:
            continue
        pelvis = np.array([*(aim_px * aim_z / focal_px - middle[:2]), depth_m])
        if _is_wanted(dummy.joints[:22] + pelvis, intrinsics, width, height, is_cut):
            return Scene((dummy.at(pelvis),), intrinsics, width, height, lens_mm)
    return None


def _is_wanted(joints: np.ndarray, intrinsics, width: int, height: int, is_cut: bool) -> bool:
    pixels = project(joints, intrinsics)
    inside = ((pixels >= 0) & (pixels <= (width, height))).all(1)
    extent = np.ptp(pixels.clip(0, (width, height)), axis=0).max() / max(width, height)
    if extent < SMALLEST_EXTENT:
        return False
    return 0.35 <= inside.mean() < 0.98 and inside[list(_HEAD)].all() if is_cut else bool(inside.all())


def _with_second(rng: np.random.Generator, scene: Scene, dummy: Dummy) -> Scene:
    """Somebody farther away who is not mostly hidden; the scene as it is where there is no room."""
    (first,) = scene.actors
    size = (scene.intrinsics, scene.width, scene.height)
    mask = silhouette(first.clothed, first.body.faces, *size)
    focal_px = scene.intrinsics[0, 0]
    for _ in range(20):
        depth_m = first.joints[0, 2] + rng.uniform(0.8, 3.0)
        across_px = rng.uniform(-0.45, 0.45) * scene.width
        # Both stand on about one floor.
        pelvis = np.array([across_px * depth_m / focal_px, first.joints[0, 1] + rng.normal(0, 0.1), depth_m])
        actor = dummy.at(pelvis)
        if depth_m > DEPTHS_M[1] or actor.clothed[:, 2].min() < first.clothed[:, 2].max():
            continue
        seen = silhouette(actor.clothed, actor.body.faces, *size)
        if np.count_nonzero(seen & ~mask) > max(0.6 * np.count_nonzero(seen), 0.01 * mask.size):
            return Scene((first, actor), scene.intrinsics, scene.width, scene.height, scene.lens_mm)
    return scene


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))
