# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses for synthetic pictures: frames of recorded motion, and limbs turned where recordings seldom have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recover_body.engine.synth.poses import relaxed_fingers, seated, stretched, without_heading
from recover_body.models.body_model import BodyModel
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.take import JOINT_COUNT

MOTION_FILES = ("cmu8_train_30fps.npz", "mesh2motion_train_30fps.npz")
BODY_JOINTS = 22
FINGERS = slice(25, JOINT_COUNT)
_JITTER_RAD = 0.08


@dataclass(frozen=True)
class Clip:
    """One recorded motion."""

    name: str
    poses: np.ndarray
    """(frames, 22 or 55, 3) rotation vectors, SMPL-X joint order, root y up."""


def load_clips(folder: Path) -> tuple[tuple[Clip, ...], ...]:
    """The clips of each file in `folder`, the data described in its README. Raises FileNotFoundError."""
    return tuple(_read_clips(folder / name) for name in MOTION_FILES)


def _read_clips(path: Path) -> tuple[Clip, ...]:
    with np.load(path, allow_pickle=False) as data:
        poses, starts, names = data["poses"].astype(np.float64), data["clip_start"], data["clip_name"].tolist()
    return tuple(Clip(name, poses[a:b]) for name, a, b in zip(names, starts[:-1], starts[1:], strict=True))


def random_pose(
    rng: np.random.Generator, body: BodyModel, clips: tuple[tuple[Clip, ...], ...], towards: np.ndarray, reach: float
) -> tuple[np.ndarray, str]:
    """(55, 3) pose whose root faces +z as far as it faces anywhere, and what it is called.

    `towards` (3,) points from the body to the camera (body frame: y up, z front). With the chance `reach` an arm or a
    leg is stretched there, unless the camera is behind.
    """
    everyday, extreme = clips
    clip = _one_of(rng, extreme if rng.random() < 0.45 else everyday)
    pose, name = np.zeros((JOINT_COUNT, 3)), clip.name.rsplit("/", 1)[-1]
    frame = clip.poses[rng.integers(len(clip.poses))]
    pose[: len(frame)] = frame
    if len(frame) < JOINT_COUNT or rng.random() < 0.3:
        pose[FINGERS] = relaxed_fingers(rng, body)
    if rng.random() < 0.5:
        pose = _mirrored(pose, body.joint_names)
    pose[1:BODY_JOINTS] += rng.normal(0, _JITTER_RAD, (BODY_JOINTS - 1, 3))
    pose[0] = matrix_to_rotvec(without_heading(rotvec_to_matrix(pose[0])))
    if rng.random() < 0.2:
        pose, name = seated(rng, body, pose), f"seat, {name}"
    if rng.random() < reach and towards[2] > 0:
        limb = _one_of(rng, ("left_shoulder", "right_shoulder", "left_hip", "right_hip"))
        pose, name = stretched(rng, body, pose, limb, towards), f"{limb} to the camera, {name}"
    return pose, name


def _one_of(rng: np.random.Generator, choices):
    return choices[rng.integers(len(choices))]


def _mirrored(pose: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The pose seen in a mirror: sides swapped, rotations reflected in the x = 0 plane."""
    swap = {"left": "right", "right": "left"}
    other = [names.index("_".join([swap.get(part, part) for part in name.split("_")])) for name in names]
    return pose[other] * (1, -1, -1)
