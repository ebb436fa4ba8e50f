# SPDX-License-Identifier: GPL-3.0-or-later
"""People in motion with exact labels: recorded motion on random bodies, on a floor, before a camera that stands still.

The recordings have no place in the world. It is found as walking works: whatever carries the weight stays where it is.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from recover_body.engine.motion import contacts
from recover_body.engine.motion.foot_lock import lock_feet
from recover_body.engine.motion.placed import PlacedMotion
from recover_body.models.body_model import SHIPPED_BODIES, BodyModel, BodyOutput, load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import B_BLENDER_BODY, project, transform
from recover_body.wire.take import JOINT_COUNT

from .poses import BODY_JOINTS, FINGERS, Clip
from .scenes import Camera, look_at

FPS = 30.0
WIDTH, HEIGHT = 1280, 720
_CARRIES_M = 0.012
"""Points so much above the lowest one carry a third of its weight."""
_CALM_FRAMES, _CALM_WAY_FRAMES = 1.2, 3.0
"""The recordings are stored in half precision, which is a jitter of a millimetre, and a way made of steps is jerkier
than people are. Both are smoothed away: the pelvis then has 1 to 2 m/s², as in walking."""


@dataclass(frozen=True)
class Label:
    """One person over F frames; world z up, floor at 0, metres."""

    name: str
    body_name: str
    betas: np.ndarray
    """(10,)."""
    pose: np.ndarray
    """(F, 55, 3) rotation vectors; the root turns the body frame into the *world*."""
    pelvis_world: np.ndarray
    """(F, 3)."""
    camera: Camera
    fps: float = FPS

    @property
    def count(self) -> int:
        return len(self.pose)

    @property
    def times_s(self) -> np.ndarray:
        return np.arange(self.count) / self.fps

    @property
    def joints_world(self) -> np.ndarray:
        """(F, 55, 3)."""
        return self.posed.joints

    @property
    def motion(self) -> PlacedMotion:
        """As everything after the network has it."""
        eye = np.tile(self.camera.T_world_camera[:3, 3], (self.count, 1))
        rotations = rotvec_to_matrix(self.pose)
        return PlacedMotion(self.body_name, self.betas, self.times_s, rotations, self.pelvis_world, eye)

    def vertices_cam(self, frame: int) -> np.ndarray:
        """(V, 3) in the camera frame."""
        one = slice(frame, frame + 1)
        out = self.body.forward(self.pose[one], self.betas[None], None, self._translation[one])
        return self.camera.see(out.vertices[0])

    @property
    def _translation(self) -> np.ndarray:
        return self.pelvis_world - self.body.rest_joints(self.betas[None])[0, 0]

    @property
    def body(self) -> BodyModel:
        return load_body(self.body_name)

    @cached_property
    def posed(self) -> BodyOutput:
        """Joints and their turns in the world; no vertices."""
        return self.body.forward(self.pose, self.betas[None], None, self._translation, vertex_ids=np.zeros(0, int))


def moving_person(clip: Clip, frames: slice, seed: int, away_m: float = 5.0, lens_mm: float | None = None) -> Label:
    """A random person who does what `frames` of `clip` show, seen from a random side and `away_m`, or from as much
    farther as the way needs."""
    rng = np.random.default_rng((seed, zlib.crc32(clip.name.encode())))
    name, betas = _somebody(rng)
    body = load_body(name)
    recorded = clip.poses[frames]
    pose = np.zeros((len(recorded), JOINT_COUNT, 3))
    pose[:, : recorded.shape[1]] = recorded
    pose[:, FINGERS] = np.concatenate([body.hands_mean_left, body.hands_mean_right])
    pose[:, :BODY_JOINTS] = _calmed(pose[:, :BODY_JOINTS])
    pose[:, 0] = matrix_to_rotvec(B_BLENDER_BODY @ rotvec_to_matrix(pose[:, 0]))
    rotations, pelvis = _planted(name, betas, pose, _blurred(_walked(name, betas, pose), _CALM_WAY_FRAMES))
    return _before_a_camera(clip.name.rsplit("/", 1)[-1], name, betas, rotations, pelvis, rng, away_m, lens_mm)


def standing_person(seconds: float, seed: int, clip: Clip, fps: float, away_m: float = 4.0) -> Label:
    """Somebody who stands still, breathing and swaying a little about one frame of `clip`; the feet do not move."""
    rng = np.random.default_rng((seed, 78))
    name, betas = _somebody(rng)
    body, count = load_body(name), round(seconds * fps)
    times_s = np.arange(count) / fps
    pose = np.zeros((count, JOINT_COUNT, 3))
    pose[:, :BODY_JOINTS] = clip.poses[0, :BODY_JOINTS]
    pose[:, FINGERS] = np.concatenate([body.hands_mean_left, body.hands_mean_right])
    upper = [3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19]
    waves = [np.sin(2 * np.pi * times_s / period_s + phase) for period_s, phase in ((3.7, 0.0), (11.0, 1.0), (23, 2))]
    for joint in upper:
        pose[:, joint] += np.stack(waves, 1) @ rng.normal(0, 0.008, (3, 3))
    pose[:, 0] = matrix_to_rotvec(B_BLENDER_BODY @ rotvec_to_matrix(pose[:, 0]))
    pelvis = np.tile(_walked(name, betas, pose[:1])[0], (count, 1))
    return replace(_before_a_camera("standing", name, betas, pose, pelvis, rng, away_m, None), fps=fps)


def _somebody(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A shipped body, often not the one that is fitted, and a shape (10,)."""
    return SHIPPED_BODIES[rng.integers(len(SHIPPED_BODIES))], rng.normal(0, 1, 10).clip(-2, 2)


def _calmed(rotvecs: np.ndarray) -> np.ndarray:
    """(F, J, 3) smoothed over about a frame, on the sphere."""
    reach = np.arange(-4, 5)
    weights = np.exp(-0.5 * (reach / _CALM_FRAMES) ** 2)
    weights /= weights.sum()
    padded = rotvec_to_matrix(np.concatenate([rotvecs[:1]] * 4 + [rotvecs] + [rotvecs[-1:]] * 4))
    here = padded[4:-4]
    mean = sum(
        weight * matrix_to_rotvec(here.swapaxes(-1, -2) @ padded[4 + by : len(padded) - 4 + by])
        for by, weight in zip(reach, weights, strict=True)
    )
    return matrix_to_rotvec(here @ rotvec_to_matrix(mean))


def _blurred(path: np.ndarray, frames: float) -> np.ndarray:
    """(F, 3) smoothed over so many frames; going on straight beyond both ends."""
    reach = math.ceil(4 * frames)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    start, end = (np.arange(1, reach + 1)[:, None] * (path[a] - path[b]) for a, b in ((0, 1), (-1, -2)))
    longer = np.concatenate([path[0] + start[::-1], path, path[-1] + end])
    return np.stack([np.convolve(axis, weights / weights.sum(), "valid") for axis in longer.T], 1)


def _walked(name: str, betas: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(F, 3) the pelvis' way: the lowest point is on the floor, and what carries weight slides as little as it can."""
    points = contacts.places(_motion(name, betas, pose, np.zeros((len(pose), 3))))[:, contacts.FEET]
    carried = np.exp(-(points[..., 2] - points[..., 2].min(1, keepdims=True)) / _CARRIES_M)
    weight = np.sqrt(carried[1:] * carried[:-1])
    moved = (weight[..., None] * np.diff(points, axis=0)).sum(1) / weight.sum(1)[:, None]
    pelvis = np.concatenate([np.zeros((1, 3)), -np.cumsum(moved, 0)])
    pelvis[:, 2] = -points[..., 2].min(1)
    return pelvis


def _planted(name: str, betas: np.ndarray, pose: np.ndarray, pelvis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose and pelvis with feet that do not slide at all: recordings fit no other body's legs exactly."""
    motion = _motion(name, betas, pose, pelvis)
    motion = lock_feet(motion, contacts.find_contacts(motion, ground_known=True), on_ground=True)
    return matrix_to_rotvec(motion.rotations), motion.pelvis


def _motion(name: str, betas: np.ndarray, pose: np.ndarray, pelvis: np.ndarray) -> PlacedMotion:
    far_above = np.tile([0.0, 0.0, 100.0], (len(pose), 1))  # a camera that sees what moves along the floor
    return PlacedMotion(name, betas, np.arange(len(pose)) / FPS, rotvec_to_matrix(pose), pelvis, far_above)


def _before_a_camera(name, body_name, betas, pose, pelvis, rng, away_m: float, lens_mm: float | None) -> Label:
    """The camera sees the whole way, from a random side and height."""
    middle = 0.5 * (pelvis.min(0) + pelvis.max(0))
    pelvis = pelvis - [*middle[:2], 0]
    azimuth, lens_mm = rng.uniform(0, 2 * math.pi), lens_mm or float(rng.choice((24, 28, 35, 50)))
    for away in np.arange(away_m, 40, 0.1):
        eye = np.array([away * math.cos(azimuth), away * math.sin(azimuth), rng.uniform(0.9, 2.2)])
        camera = Camera(WIDTH, HEIGHT, lens_mm, look_at(eye, np.array([0, 0, 0.9]), math.radians(rng.normal(0, 1))))
        label = Label(name, body_name, betas, pose, pelvis, camera)
        points_px = project(transform(np.linalg.inv(camera.T_world_camera), label.joints_world), camera.intrinsics)
        margin = np.array([0.03 * WIDTH, 0.06 * HEIGHT])
        if ((points_px > margin) & (points_px < np.array([WIDTH, HEIGHT]) - margin)).all():
            return label
    raise ValueError(f"{name} does not fit into a picture")
