# SPDX-License-Identifier: GPL-3.0-or-later
"""From MakeHuman's A-pose to SMPL-X's T-pose, by linear blend skinning on MakeHuman's own 163 bones.

Every left bone is given its rotation from the A-pose in the body's frame; the right side is the mirror image.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ...rotations import rotation_between
from .skeleton import FINGER_NUMBER, FINGERS, JOINT_INDEX, JOINT_MIRROR, JOINTS, SIDES
from .source import Bodies, MakeHumanSource, symmetric

PELVIS_M = np.array([0.0, -0.35, 0.01])  # where SMPL-X keeps it, near enough

# Where the limbs point in SMPL-X's T-pose (left side; x left, y up, z front).
_UPPER_ARM = np.array([0.974, -0.191, -0.12])
_FOREARM = np.array([1.0, 0.03, -0.03])
_HAND = np.array([1.0, -0.02, 0.0])
_HAND_ACROSS = np.array([0.0, 0.08, 1.0])  # from the little finger to the index finger: palm down
_ELBOW_HINGE = np.array([0.0, -1.0, 0.0])  # bending the left elbow about -y brings the hand forward
_THIGH = np.array([0.105, -1.0, -0.03])
_SHIN = np.array([-0.052, -1.0, -0.06])
_FINGER_SPREAD = {"index": 0.07, "middle": 0.0, "ring": -0.06, "pinky": -0.15}
_FINGER_DROOP = {1: -0.05, 2: -0.10, 3: -0.12}
_THUMB = {1: np.array([0.62, -0.25, 0.75]), 2: np.array([0.78, -0.12, 0.6]), 3: np.array([0.85, -0.1, 0.5])}
_COLLAR_RAISE_RAD = np.deg2rad(12)  # the shoulder girdle follows the arm a little


def to_tpose(source: MakeHumanSource, bodies: Bodies) -> tuple[np.ndarray, np.ndarray]:
    """-> vertices (B, V, 3) and joints (B, 55, 3) in T-pose, metres, every pelvis at `PELVIS_M`."""
    rotations = tpose_rotations(source, bodies)
    heads = bone_heads(source, bodies, rotations)
    vertices = skin(source, bodies, rotations, heads)
    joints = _joints(source, vertices, heads)
    offset = PELVIS_M - joints[:, :1]
    return vertices + offset, joints + offset


def tpose_rotations(source: MakeHumanSource, bodies: Bodies) -> np.ndarray:
    """(B, 163, 3, 3) rotation of each bone from the A-pose to the T-pose, in the body's frame."""
    count = len(bodies.vertices)
    rotations = np.tile(np.eye(3), (count, len(source.bones), 1, 1))
    for bone, rotation in _left_rotations(source, bodies).items():
        rotations[:, source.bone_index[f"{bone}.L"]] = rotation
        # S R S with S = diag(-1, 1, 1) is the rotation seen in the mirror.
        rotations[:, source.bone_index[f"{bone}.R"]] = rotation * np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])
    return rotations


def _left_rotations(source: MakeHumanSource, bodies: Bodies) -> dict[str, np.ndarray]:
    head = {bone[:-2]: bodies.heads[:, index] for bone, index in source.bone_index.items() if bone.endswith(".L")}
    tail = {bone[:-2]: bodies.tails[:, index] for bone, index in source.bone_index.items() if bone.endswith(".L")}
    rotations = {}

    collar = Rotation.from_rotvec([0, 0, _COLLAR_RAISE_RAD]).as_matrix()
    rotations["clavicle"] = part_of(collar, 0.5)
    rotations["shoulder01"] = collar

    upper_arm = head["lowerarm01"] - head["upperarm01"]
    forearm = head["wrist"] - head["lowerarm01"]
    hinge = np.cross(upper_arm, forearm)
    upper = _aligning(upper_arm, hinge, _UPPER_ARM, _ELBOW_HINGE)
    lower = _aligning(forearm, hinge, _FOREARM, _ELBOW_HINGE)
    palm = tail["metacarpal2"] - head["wrist"]
    hand = _aligning(palm, head["finger2-1"] - head["finger5-1"], _HAND, _HAND_ACROSS)
    # Twist is spread along the half bones of upper arm and forearm, as muscles do it.
    swing = rotation_between(upper_arm, _UPPER_ARM)
    rotations["upperarm01"] = swing @ part_of(_inverse(swing) @ upper, 0.5)
    rotations["upperarm02"] = upper
    rotations["lowerarm01"] = lower @ part_of(_inverse(lower) @ hand, 0.25)
    rotations["lowerarm02"] = lower @ part_of(_inverse(lower) @ hand, 0.7)
    for bone in ("wrist", "metacarpal1", "metacarpal2", "metacarpal3", "metacarpal4"):
        rotations[bone] = hand

    for finger in FINGERS:
        for k in (1, 2, 3):
            bone = f"finger{FINGER_NUMBER[finger]}-{k}"
            target = _THUMB[k] if finger == "thumb" else np.array([1, _FINGER_DROOP[k], _FINGER_SPREAD[finger]])
            along = (hand @ (tail[bone] - head[bone])[..., None])[..., 0]
            rotations[bone] = rotation_between(along, target) @ hand

    # Legs come together under the hips; the feet keep their rotation, so that the soles stay flat.
    hip = _hip(head["upperleg01"])
    thigh = rotation_between(head["lowerleg01"] - hip, _THIGH)
    shin = rotation_between(head["foot"] - head["lowerleg01"], _SHIN)
    rotations |= {"upperleg01": part_of(thigh, 0.6), "upperleg02": thigh, "lowerleg01": shin, "lowerleg02": shin}
    return rotations


def bone_heads(source: MakeHumanSource, bodies: Bodies, rotations: np.ndarray) -> np.ndarray:
    """(B, 163, 3) where the bones begin once turned by `rotations` (B, 163, 3, 3)."""
    heads = bodies.heads.copy()
    for bone, parent in enumerate(source.bone_parents):
        if parent >= 0:
            offset = bodies.heads[:, bone] - bodies.heads[:, parent]
            heads[:, bone] = heads[:, parent] + (rotations[:, parent] @ offset[..., None])[..., 0]
    return heads


def skin(source: MakeHumanSource, bodies: Bodies, rotations: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(B, V, 3) vertices carried by the bones."""
    shifts = heads - (rotations @ bodies.heads[..., None])[..., 0]
    motions = np.concatenate([rotations, shifts[..., None]], -1)
    vertices = np.empty_like(bodies.vertices)
    for out, rest, motion in zip(vertices, bodies.vertices, motions, strict=True):
        blended = (source.weights @ motion.reshape(-1, 12)).reshape(-1, 3, 4)
        out[:] = np.einsum("vij,vj->vi", blended[:, :, :3], rest) + blended[:, :, 3]
    return vertices


def _joints(source: MakeHumanSource, vertices: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(B, 55, 3) SMPL-X's joints, from the posed bones and the eyeballs."""
    head = {bone: heads[:, index] for bone, index in source.bone_index.items()}
    # SMPL-X's trunk joints lie between MakeHuman's; the fractions put them at its heights.
    joints = {
        "pelvis": head["spine04"] + [0, 0, 0.045],
        "spine1": 0.5 * head["spine03"] + 0.5 * head["spine02"],
        "spine2": 0.4 * head["spine02"] + 0.6 * head["spine01"],
        "spine3": 0.8 * head["spine01"] + 0.2 * head["neck01"],
        "neck": head["neck01"],
        "head": head["head"],
        "jaw": head["jaw"],
    }
    for side, letter in SIDES.items():
        eyeball = vertices[:, source.weights[:, source.bone_index[f"eye.{letter}"]] > 0.9]
        joints |= {
            f"{side}_hip": _hip(head[f"upperleg01.{letter}"]),
            f"{side}_knee": head[f"lowerleg01.{letter}"],
            f"{side}_ankle": head[f"foot.{letter}"],
            f"{side}_foot": np.mean([head[f"toe{k}-1.{letter}"] for k in (1, 2, 3, 4)], 0),
            f"{side}_collar": head[f"clavicle.{letter}"],
            f"{side}_shoulder": head[f"upperarm01.{letter}"],
            f"{side}_elbow": head[f"lowerarm01.{letter}"],
            f"{side}_wrist": head[f"wrist.{letter}"],
            f"{side}_eye_smplhf": (eyeball.min(1) + eyeball.max(1)) / 2,
        }
        for finger in FINGERS:
            for k in (1, 2, 3):
                joints[f"{side}_{finger}{k}"] = head[f"finger{FINGER_NUMBER[finger]}-{k}.{letter}"]
    assert joints.keys() == JOINT_INDEX.keys()
    return symmetric(np.stack([joints[name] for name in JOINTS], 1), JOINT_MIRROR)


def _hip(upper_leg: np.ndarray) -> np.ndarray:
    """MakeHuman's hip lies a tenth further out than the femur's head: (B, 3) -> (B, 3)."""
    return upper_leg * [0.8, 1, 1]


def part_of(rotations: np.ndarray, fraction: float) -> np.ndarray:
    """(..., 3, 3): the same turn, by a fraction of its angle."""
    rotvecs = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec()
    return Rotation.from_rotvec(fraction * rotvecs).as_matrix().reshape(rotations.shape)


def _aligning(along: np.ndarray, across: np.ndarray, to_along: np.ndarray, to_across: np.ndarray) -> np.ndarray:
    """(B, 3, 3) rotation taking `along` to `to_along` exactly, and `across` as near `to_across` as it can."""
    return _frame(to_along, to_across) @ _inverse(_frame(along, across))


def _frame(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(..., 3, 3) right-handed axes as columns: along, across made perpendicular, and their cross product."""
    x = along / np.linalg.norm(along, axis=-1, keepdims=True)
    y = across - (across * x).sum(-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], -1)


def _inverse(rotations: np.ndarray) -> np.ndarray:
    return np.swapaxes(rotations, -1, -2)
