# SPDX-License-Identifier: GPL-3.0-or-later
"""MakeHuman's weights for 163 bones -> weights for the 55 joints, at most four per vertex."""

from itertools import pairwise

import numpy as np

from .skeleton import JOINT_INDEX, JOINTS, joint_of_bone
from .source import MakeHumanSource

_SPINE = ("pelvis", "spine1", "spine2", "spine3")
_BLEND_HEIGHT_M = 0.11
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


def _strongest(weights: np.ndarray) -> np.ndarray:
    """Keep the four strongest influences. Ties for the fourth place all go, so that left and right stay alike."""
    fifth = np.sort(weights, 1)[:, -_INFLUENCES - 1, None]
    kept = np.where((weights > fifth) & (weights >= 1e-3), weights, 0)
    return kept / kept.sum(1, keepdims=True)
