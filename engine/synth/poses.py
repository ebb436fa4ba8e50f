# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses for synthetic pictures: out of motion data or the shipped prior, and limbs turned where recordings seldom
have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...models.body_model import BodyModel
from ...models.pose_prior import MIRROR, load_pose_prior
from ...models.rotations import matrix_to_rotvec, rotation_between, rotvec_to_matrix
from ...wire.take import JOINT_COUNT

if TYPE_CHECKING:
    from ..training.data.motions import PoseSet

BODY_JOINTS = 21
"""Posed by motion data and the prior: SMPL-X's joints 1 to 21."""
FINGERS = slice(25, JOINT_COUNT)
PRIOR_SPREAD = 0.75
"""The shipped prior is wider than what it was made of, so that it does not insist; samples shall look like people."""
_JITTER_RAD = 0.05
FALLEN_SHARE = 0.1
"""Where no motion data tell how people lean: who is not upright."""
_LIMBS = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class Poses:
    """Where body poses come from."""

    sets: Sequence[PoseSet] = ()
    """Motion data; none: the prior that ships."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The root (3,) of somebody who faces +z, and (21, 3) rotation vectors; half of them mirrored."""
        root, pose = self._recorded(rng) if self.sets else (_leaning(rng), _from_prior(rng))
        return (root * (1, -1, -1), pose[MIRROR] * (1, -1, -1)) if rng.random() < 0.5 else (root, pose)

    def _recorded(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Every clip counts the same, or else most people would walk."""
        one = self.sets[rng.integers(len(self.sets))]
        clip = rng.integers(len(one.starts) - 1)
        low, high = int(one.starts[clip]), int(one.starts[clip + 1])
        frame = int(rng.integers(low, high)) if high > low else int(rng.integers(len(one)))
        pose = one.poses[frame] + rng.normal(0, _JITTER_RAD, (BODY_JOINTS, 3))
        if one.roots is None:
            return _leaning(rng), pose
        return matrix_to_rotvec(without_heading(rotvec_to_matrix(one.roots[frame].astype(np.float64)))), pose


def _leaning(rng: np.random.Generator) -> np.ndarray:
    """(3,) mostly upright; some lie, fall, or stand on their heads."""
    if rng.random() >= FALLEN_SHARE:
        return rng.normal(0, 0.1, 3)
    up = rng.normal(0, 1, 3)
    up[1] = min(up[1], 0.5 * np.linalg.norm(up[[0, 2]]))  # at least 60 degrees from upright
    return matrix_to_rotvec(rotation_between(np.array([0, 1.0, 0]), up / np.linalg.norm(up)))


def without_heading(rotation: np.ndarray) -> np.ndarray:
    """(3, 3) of the pelvis in a world with y up, turned about the vertical so that the front (or, for someone lying,
    the top) points to +z."""
    front = rotation[:, 2]
    if np.hypot(front[0], front[2]) < 0.5:
        front = rotation[:, 1]
    heading = np.arctan2(front[0], front[2])
    return rotvec_to_matrix(np.array([0, -heading, 0])) @ rotation


def _from_prior(rng: np.random.Generator) -> np.ndarray:
    prior = load_pose_prior()
    log_weights = prior.log_weights - np.linalg.slogdet(prior.roots)[1]
    shares = np.exp(log_weights - log_weights.max())
    chosen = rng.choice(len(shares), p=shares / shares.sum())
    # precision = A^T A, so inv(A) spreads independent numbers as the Gaussian is spread.
    offset = np.linalg.solve(prior.roots[chosen], rng.normal(0, 1, 3 * BODY_JOINTS))
    pose = (prior.means[chosen] + PRIOR_SPREAD * offset).reshape(BODY_JOINTS, 3)
    # A Gaussian does not know that knees and elbows bend one way only.
    pose[[3, 4], 0] = np.abs(pose[[3, 4], 0])
    pose[17, 1], pose[18, 1] = -abs(pose[17, 1]), abs(pose[18, 1])
    return pose


def random_pose(
    rng: np.random.Generator, body: BodyModel, source: Poses, towards: np.ndarray, reach: float
) -> np.ndarray:
    """(55, 3) pose of somebody who faces +z; the root is how they lean or lie.

    `towards` (3,) points from the body to the camera (body frame: y up, z front). With the chance `reach` an arm or a
    leg is stretched there.
    """
    pose = np.zeros((JOINT_COUNT, 3))
    pose[0], pose[1 : 1 + BODY_JOINTS] = source.draw(rng)
    pose[FINGERS] = relaxed_fingers(rng, body)
    if rng.random() < 0.12:
        pose = seated(rng, body, pose)
    if rng.random() < reach:
        pose = stretched(rng, body, pose, _LIMBS[rng.integers(len(_LIMBS))], towards)
    return pose


def relaxed_fingers(rng: np.random.Generator, body: BodyModel) -> np.ndarray:
    """(30, 3): from flat over relaxed to curled, each hand its own."""
    hands = [body.hands_mean_left, body.hands_mean_right]
    return np.concatenate([rng.uniform(0.2, 2.2) * hand + rng.normal(0, 0.05, (15, 3)) for hand in hands])


def seated(rng: np.random.Generator, body: BodyModel, pose: np.ndarray) -> np.ndarray:
    """From a chair to a deep squat: thighs forward, shins down or folded, trunk leaning to balance."""
    pose, flexion = pose.copy(), rng.uniform(1.2, 2.1)
    pose[0] = (rng.normal(0.2, 0.15), rng.normal(0, 0.1), rng.normal(0, 0.05))
    for side, sign in (("left", 1), ("right", -1)):
        hip, knee, ankle = (body.joint_names.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
        pose[hip] = (-flexion + rng.normal(0, 0.1), 0.1 * sign, sign * rng.uniform(0, 0.35))
        pose[knee] = (rng.uniform(0.9, 1.1) * flexion, 0, 0)
        pose[ankle] = (rng.normal(-0.1, 0.15), 0, 0)
    return pose


def stretched(
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
