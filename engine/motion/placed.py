# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's motion in the world, where standing still means standing still whatever the camera does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...models.body_model import load_body
from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ..backends.base import BodyTrack


@dataclass(frozen=True)
class PlacedMotion:
    """T frames in which one person is present. The world has z up once the camera is placed in it."""

    body: str
    betas: np.ndarray
    """(10,)."""
    times_s: np.ndarray
    """(T,) ascending."""
    rotations: np.ndarray
    """(T, 55, 3, 3) local; the first turns the body frame into the world."""
    pelvis: np.ndarray
    """(T, 3) metres, world."""
    eye: np.ndarray
    """(T, 3) the camera's centre, world."""

    @cached_property
    def rest(self) -> np.ndarray:
        """(55, 3) the shaped body's joints at rest."""
        return load_body(self.body).rest_joints(self.betas[None])[0].astype(np.float64)

    @cached_property
    def joints(self) -> np.ndarray:
        """(T, 55, 3) world."""
        return self._posed[0]

    @cached_property
    def turns(self) -> np.ndarray:
        """(T, 55, 3, 3) of each joint, from the rest pose to the world."""
        return self._posed[1]

    @cached_property
    def _posed(self) -> tuple[np.ndarray, np.ndarray]:
        joints, turns = np.empty(self.rotations.shape[:3]), np.empty(self.rotations.shape)
        joints[:, 0], turns[:, 0] = self.pelvis, self.rotations[:, 0]
        for joint, parent in enumerate(load_body(self.body).parents[1:], start=1):
            turns[:, joint] = turns[:, parent] @ self.rotations[:, joint]
            joints[:, joint] = joints[:, parent] + turns[:, parent] @ (self.rest[joint] - self.rest[parent])
        return joints, turns

    def point(self, joint: int, offset: np.ndarray) -> np.ndarray:
        """(T, 3) world: a point that rides on a joint, `offset` (3,) from it at rest."""
        return self.joints[:, joint] + self.turns[:, joint] @ offset

    def moved(self, T: np.ndarray) -> PlacedMotion:
        """In another world, which T (4, 4) takes this one to."""
        R, t = T[:3, :3], T[:3, 3]
        rotations = self.rotations.copy()
        rotations[:, 0] = R @ rotations[:, 0]
        return replace(self, rotations=rotations, pelvis=self.pelvis @ R.T + t, eye=self.eye @ R.T + t)


def placed(track: BodyTrack, times_s: np.ndarray, T_world_camera: np.ndarray, body: str) -> PlacedMotion:
    """The frames of a track in which the person is present; T_world_camera (F, 4, 4)."""
    frames = np.flatnonzero(track.present)
    R, t = T_world_camera[frames, :3, :3], T_world_camera[frames, :3, 3]
    rotations = rotvec_to_matrix(np.asarray(track.pose[frames], np.float64))
    rotations[:, 0] = R @ rotations[:, 0]
    pelvis_cam = track.translation[frames] + load_body(body).rest_joints(track.betas[None])[0, 0]
    pelvis = (R @ pelvis_cam[..., None])[..., 0] + t
    return PlacedMotion(body, np.asarray(track.betas, np.float64), times_s[frames], rotations, pelvis, t)


def back_to_track(motion: PlacedMotion, track: BodyTrack, T_world_camera: np.ndarray) -> BodyTrack:
    """The track with this motion in the frames in which the person is present; the inverse of `placed`."""
    frames = np.flatnonzero(track.present)
    R, t = T_world_camera[frames, :3, :3], T_world_camera[frames, :3, 3]
    rotations = motion.rotations.copy()
    rotations[:, 0] = R.swapaxes(1, 2) @ rotations[:, 0]
    pelvis_cam = (R.swapaxes(1, 2) @ (motion.pelvis - t)[..., None])[..., 0]
    pose, translation = np.array(track.pose, np.float64), np.array(track.translation, np.float64)
    pose[frames], translation[frames] = matrix_to_rotvec(rotations), pelvis_cam - motion.rest[0]
    return replace(track, pose=pose, translation=translation)


def split(motion: PlacedMotion, longest_s: float) -> list[PlacedMotion]:
    """Stretches between whose frames no more than `longest_s` passes: of longer gaps nothing is said."""
    edges = [0, *(np.flatnonzero(np.diff(motion.times_s) > longest_s) + 1).tolist(), len(motion.times_s)]
    return [_rows(motion, slice(a, b)) for a, b in itertools.pairwise(edges) if b > a]


def joined(parts: list[PlacedMotion]) -> PlacedMotion:
    """The inverse of `split`."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _OVER_TIME}
    return replace(parts[0], **arrays)


def with_frames_between(motion: PlacedMotion, times_s: np.ndarray, eye: np.ndarray) -> PlacedMotion:
    """The motion at the times (N,), which include its own; at others everything moves evenly. eye (N, 3)."""
    after = np.clip(np.searchsorted(motion.times_s, times_s), 1, len(motion.times_s) - 1)
    before = after - 1
    share = (times_s - motion.times_s[before]) / (motion.times_s[after] - motion.times_s[before])
    start, end = motion.rotations[before], motion.rotations[after]
    turn = matrix_to_rotvec(start.swapaxes(-1, -2) @ end) * share[:, None, None]
    rotations = start @ rotvec_to_matrix(turn)
    pelvis = motion.pelvis[before] + share[:, None] * (motion.pelvis[after] - motion.pelvis[before])
    own = np.flatnonzero(np.isin(times_s, motion.times_s))  # to the last bit
    rotations[own], pelvis[own] = motion.rotations, motion.pelvis
    return replace(motion, times_s=times_s, rotations=rotations, pelvis=pelvis, eye=eye)


_OVER_TIME = ("times_s", "rotations", "pelvis", "eye")


def _rows(motion: PlacedMotion, rows: slice) -> PlacedMotion:
    return replace(motion, **{name: getattr(motion, name)[rows] for name in _OVER_TIME})
