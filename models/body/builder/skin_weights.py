# SPDX-License-Identifier: GPL-3.0-or-later
"""MakeHuman's weights for 163 bones -> weights for the 55 joints, at most four per vertex."""

from itertools import pairwise

import numpy as np
from scipy.sparse import coo_matrix

from .skeleton import JOINT_INDEX, JOINT_MIRROR, JOINTS, joint_of_bone
from .source import MakeHumanSource

_SPINE = ("pelvis", "spine1", "spine2", "spine3")
# As long as the belly is deep: the skin there must shorten by so much when the spine bends by a radian.
_BLEND_HEIGHT_M = 0.17
# Where MakeHuman's weights change so abruptly that the skin tears in wide poses.
_SOFTENED = (
    "pelvis",
    "left_hip",
    "right_hip",
    *_SPINE[1:],
    "left_collar",
    "right_collar",
    "left_shoulder",
    "right_shoulder",
)
_SOFTENING_STEPS = 4
_INFLUENCES = 4


def merge_weights(source: MakeHumanSource, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(V, 55) weights for the body in T-pose with these vertices (V, 3) and joints (55, 3)."""
    merged = np.zeros((len(vertices), len(JOINTS)))
    trunk = np.zeros(len(vertices))
    for bone in range(len(source.bones)):
        joint = _carrier(source, bone)
        if joint == "trunk":
            trunk += source.weights[:, bone]
        else:
            merged[:, JOINT_INDEX[joint]] += source.weights[:, bone]
    for joint, share in _spine_shares(vertices[:, 1], joints[:, 1]).items():
        merged[:, JOINT_INDEX[joint]] += trunk * share
    merged = _softened(merged, source.faces)
    # Sums in another order differ in the last digit, and the cut below must treat left and right alike.
    merged = (merged + merged[source.mirror][:, JOINT_MIRROR]) / 2
    return _strongest(merged)


def _carrier(source: MakeHumanSource, bone: int) -> str:
    while (joint := joint_of_bone(source.bones[bone])) is None:
        bone = source.bone_parents[bone]
    return joint


def _spine_shares(height: np.ndarray, joint_height: np.ndarray) -> dict[str, np.ndarray]:
    """MakeHuman's trunk bones sit elsewhere than SMPL-X's: hand the trunk over from joint to joint by height."""
    shares, above = {}, np.ones_like(height)
    for lower, upper in pairwise(_SPINE):
        t = np.clip((height - joint_height[JOINT_INDEX[upper]]) / _BLEND_HEIGHT_M + 0.5, 0, 1)
        t = t * t * (3 - 2 * t)
        shares[lower], above = above * (1 - t), above * t
    return shares | {_SPINE[-1]: above}


def _softened(weights: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Weights spread to neighbouring vertices, fully around hips, spine and shoulders, not at all on limbs and head."""
    start, end = np.unique(faces[:, [0, 1, 1, 2, 2, 0, 1, 0, 2, 1, 0, 2]].reshape(-1, 2), axis=0).T
    neighbours = coo_matrix((np.ones(len(start)), (start, end))).tocsr()
    neighbours = neighbours.multiply(1 / neighbours.sum(1)).tocsr()
    for _ in range(_SOFTENING_STEPS):
        amount = 0.5 * weights[:, [JOINT_INDEX[joint] for joint in _SOFTENED]].sum(1, keepdims=True)
        weights = (1 - amount) * weights + amount * (neighbours @ weights)
    return weights


def _strongest(weights: np.ndarray) -> np.ndarray:
    """Keep the four strongest influences. Ties for the fourth place all go, so that left and right stay alike."""
    fifth = np.sort(weights, 1)[:, -_INFLUENCES - 1, None]
    kept = np.where((weights > fifth) & (weights >= 1e-3), weights, 0)
    return kept / kept.sum(1, keepdims=True)
