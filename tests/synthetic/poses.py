# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses for synthetic pictures: frames of recorded motion, and limbs turned where recordings seldom have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recover_body.models.body_model import BodyModel
from recover_body.models.rotations import matrix_to_rotvec, rotation_between, rotvec_to_matrix
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
    leg is stretched there.
    """
    everyday, extreme = clips
    clip = _one_of(rng, extreme if rng.random() < 0.45 else everyday)
    pose, name = np.zeros((JOINT_COUNT, 3)), clip.name.rsplit("/", 1)[-1]
    frame = clip.poses[rng.integers(len(clip.poses))]
    pose[: len(frame)] = frame
    if len(frame) < JOINT_COUNT or rng.random() < 0.3:
        pose[FINGERS] = _relaxed_fingers(rng, body)
    if rng.random() < 0.5:
        pose = _mirrored(pose, body.joint_names)
    pose[1:BODY_JOINTS] += rng.normal(0, _JITTER_RAD, (BODY_JOINTS - 1, 3))
    pose[0] = matrix_to_rotvec(_without_heading(rotvec_to_matrix(pose[0])))
    if rng.random() < 0.2:
        pose, name = _seated(rng, body, pose), f"seat, {name}"
    if rng.random() < reach:
        limb = _one_of(rng, ("left_shoulder", "right_shoulder", "left_hip", "right_hip"))
        pose, name = _stretched(rng, body, pose, limb, towards), f"{limb} to the camera, {name}"
    return pose, name


def _one_of(rng: np.random.Generator, choices):
    return choices[rng.integers(len(choices))]


def _relaxed_fingers(rng: np.random.Generator, body: BodyModel) -> np.ndarray:
    """(30, 3): from flat over relaxed to curled, each hand its own."""
    hands = [body.hands_mean_left, body.hands_mean_right]
    return np.concatenate([rng.uniform(0.2, 2.2) * hand + rng.normal(0, 0.05, (15, 3)) for hand in hands])


def _mirrored(pose: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The pose seen in a mirror: sides swapped, rotations reflected in the x = 0 plane."""
    swap = {"left": "right", "right": "left"}
    other = [names.index("_".join([swap.get(part, part) for part in name.split("_")])) for name in names]
    return pose[other] * (1, -1, -1)


def _without_heading(rotation: np.ndarray) -> np.ndarray:
    """Turned about the vertical so that the front (or, for someone lying, the top) points to +z."""
    front = rotation[:, 2]
    if np.hypot(front[0], front[2]) < 0.5:
        front = rotation[:, 1]
    heading = np.arctan2(front[0], front[2])
    return rotvec_to_matrix(np.array([0, -heading, 0])) @ rotation


def _seated(rng: np.random.Generator, body: BodyModel, pose: np.ndarray) -> np.ndarray:
    """From a chair to a deep squat: thighs forward, shins down or folded, trunk leaning to balance."""
    pose, flexion = pose.copy(), rng.uniform(1.2, 2.1)
    pose[0] = (rng.normal(0.2, 0.15), rng.normal(0, 0.1), rng.normal(0, 0.05))
    for side, sign in (("left", 1), ("right", -1)):
        hip, knee, ankle = (body.joint_names.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
        pose[hip] = (-flexion + rng.normal(0, 0.1), 0.1 * sign, sign * rng.uniform(0, 0.35))
        pose[knee] = (rng.uniform(0.9, 1.1) * flexion, 0, 0)
        pose[ankle] = (rng.normal(-0.1, 0.15), 0, 0)
    return pose


def _stretched(
    rng: np.random.Generator, body: BodyModel, pose: np.ndarray, limb: str, towards: np.ndarray
) -> np.ndarray:
    """The limb points to the camera, nearly straight. Legs rise, so they never point more than 20 degrees up."""
    pose, joint = pose.copy(), body.joint_names.index(limb)
    is_leg = limb.endswith("hip")
    bone = np.array([0, -1.0, 0]) if is_leg else np.array([1.0 if limb.startswith("left") else -1.0, 0, 0])
    goal = towards / np.linalg.norm(towards) + rng.normal(0, 0.2, 3)
    goal[2] = max(goal[2], 0.3)  # neither arms nor legs reach behind the back
    goal[1] = min(goal[1], 0.35) if is_leg else goal[1]
    parent = body.forward(pose[None], np.zeros((1, 1)), vertex_ids=np.array([0])).rotations[0, body.parents[joint]]
    pose[joint] = matrix_to_rotvec(parent.T @ rotation_between(bone, goal))
    middle = joint + (3 if is_leg else 2)
    pose[middle] *= rng.uniform(0.1, 0.5)
    return pose
