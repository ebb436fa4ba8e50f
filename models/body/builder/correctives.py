# SPDX-License-Identifier: GPL-3.0-or-later
"""Pose correctives: what linear blend skinning with 55 joints gets wrong when one joint turns, as shape keys.

Two things go wrong. Blending matrices linearly pulls bent and twisted limbs thin, and without MakeHuman's half bones a
twist is not spread along the limb. In the reference every vertex turns by an angle of its own: its share of MakeHuman's
bones times the angle of the joint. For a turn about one axis that is MakeHuman's rig under dual quaternion skinning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...rotations import rotvec_to_matrix
from .skeleton import JOINT_INDEX, JOINT_MIRROR, JOINTS, PARENTS
from .source import MakeHumanSource

# The parts of a twist that MakeHuman's half bones take over: bone -> share of the joint's angle.
_TWIST_SHARES = {
    "wrist": {"lowerarm01": 0.25, "lowerarm02": 0.7},
    "shoulder": {"upperarm01": 0.5},
}
_NEGLIGIBLE_M = 2e-4


@dataclass(frozen=True)
class Bend:
    """One way in which a joint turns (left side)."""

    name: str
    joint: str
    angle_deg: float
    axis: tuple[float, float, float] | None = None
    """In the body's frame; None is the bone that ends (wrist) or begins (shoulder) at the joint, for twists."""
    roundness: float = 1.0
    """Between linear blending's thin fold (0) and the reference's full roundness (1), which spikes at narrow hinges."""


BENDS = (
    Bend("hip_bend", "hip", 110, (-1, 0, 0)),
    Bend("knee_bend", "knee", 120, (1, 0, 0), roundness=0.5),
    Bend("elbow_bend", "elbow", 130, (0, -1, 0), roundness=0.5),
    Bend("shoulder_twist_up", "shoulder", -90),
    Bend("shoulder_twist_down", "shoulder", 90),
    Bend("wrist_twist_up", "wrist", -90),
    Bend("wrist_twist_down", "wrist", 90),
)


def fit_correctives(source: MakeHumanSource, vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> dict:
    """Correctives of the body (V, 3) with joints (55, 3) and weights (V, 55), ready for `write_common`.

    A hinge has two, full at half and at the whole angle: their sum is right at both, and linear in between. What a
    twist lacks grows linearly by itself, so one is enough.
    """
    rows = []
    for bend in BENDS:
        joint = JOINT_INDEX[f"left_{bend.joint}"]
        axis = turning_axis(bend, joints)
        angle = np.deg2rad(abs(bend.angle_deg))
        whole = missing_offsets(source, bend, vertices, joints, weights, axis * angle)
        if bend.axis is None:
            rows.append((bend.name, joint, axis, angle, whole))
            continue
        half = missing_offsets(source, bend, vertices, joints, weights, axis * angle / 2)
        rows.append((f"{bend.name}_half", joint, axis, angle / 2, 2 * half - whole))
        rows.append((bend.name, joint, axis, angle, 2 * (whole - half)))
    both_sides = []
    for name, joint, axis, angle, offsets in rows:
        both_sides.append((f"left_{name}", joint, axis, angle, offsets))
        # In a mirror a rotation vector keeps its x and loses the signs of y and z.
        mirrored = offsets[source.mirror] * [-1, 1, 1]
        both_sides.append((f"right_{name}", JOINT_MIRROR[joint], axis * [1, -1, -1], angle, mirrored))
    names, joint_numbers, axes, angles_rad, all_offsets = zip(*both_sides, strict=True)
    return dict(
        corrective_names=np.array(names),
        corrective_joints=np.array(joint_numbers),
        corrective_axes=np.array(axes, np.float32),
        corrective_angles_rad=np.array(angles_rad, np.float32),
        corrective_offsets=np.array(all_offsets).astype(np.float16),
    )


def turning_axis(bend: Bend, joints: np.ndarray) -> np.ndarray:
    """(3,) unit axis of the left side about which the bend's angle is positive."""
    if bend.axis is not None:
        return np.array(bend.axis, float)
    start, end = {"wrist": ("elbow", "wrist"), "shoulder": ("shoulder", "elbow")}[bend.joint]
    bone = joints[JOINT_INDEX[f"left_{end}"]] - joints[JOINT_INDEX[f"left_{start}"]]
    return np.sign(bend.angle_deg) * bone / np.linalg.norm(bone)


def missing_offsets(
    source: MakeHumanSource, bend: Bend, vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """(V, 3) offsets of the rest shape that make linear blending reach the reference at the rotation vector `turn`."""
    joint = JOINT_INDEX[f"left_{bend.joint}"]
    carried = weights[:, _descendants(joint)].sum(1)
    arms = vertices - joints[joint]
    blended = (1 - carried)[:, None, None] * np.eye(3) + carried[:, None, None] * rotvec_to_matrix(turn)
    linear = np.einsum("vij,vj->vi", blended, arms)
    shares = carried if bend.axis is not None else twist_shares(source, bend, carried)
    reference = np.einsum("vij,vj->vi", rotvec_to_matrix(shares[:, None] * turn), arms)
    offsets = bend.roundness * np.linalg.solve(blended, (reference - linear)[..., None])[..., 0]
    return np.where(np.linalg.norm(offsets, axis=1, keepdims=True) < _NEGLIGIBLE_M, 0, offsets)


def twist_shares(source: MakeHumanSource, bend: Bend, carried: np.ndarray) -> np.ndarray:
    """(V,) part of a twist that each vertex takes: all beyond the joint, less along the neighbouring half bones."""
    shares = carried.copy()
    for bone, share in _TWIST_SHARES[bend.joint].items():
        # Half bones before the joint add their share; those after it are carried in full and give the rest back.
        carried_bone = bend.joint == "shoulder"
        shares += (share - carried_bone) * source.weights[:, source.bone_index[f"{bone}.L"]]
    return np.clip(shares, 0, 1)


def _descendants(joint: int) -> list[int]:
    """The joint and all that hang on it."""
    below = [joint]
    for child in range(joint + 1, len(JOINTS)):
        if PARENTS[child] in below:
            below.append(child)
    return below
