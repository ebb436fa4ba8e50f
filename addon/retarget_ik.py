# SPDX-License-Identifier: GPL-3.0-or-later
"""The same motion on a rig's IK controls, beside its FK controls, so that an artist may go on with either.

The control of a hand or foot moves rigidly with the FK control it stands for. The pole stands where the limb bends to,
in the plane of its three joints, as far from the knee as at rest; where a limb is straight, its own turn says where.
Hands and feet are then where FK has them; knees and elbows bend in the same plane, by a little less, because Rigify
lets limbs stretch by IK.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from .retarget_maps import IkLimb

_STRAIGHT = 2e-4
"""Of the limb's length: how much the limb's own turn counts for the direction of its bend."""


def ik_controls(
    target: bpy.types.Object, limb: IkLimb, pose: np.ndarray, rest: np.ndarray, rows: dict[str, int]
) -> dict[str, np.ndarray]:
    """Control -> (N, 4, 4) what it stores, so that the limb's end by IK is where `pose` has it by FK.

    pose: (N, bones, 4, 4) of all bones of `target` as its FK controls move it, rest: (bones, 4, 4), in the armature's
    frame; rows: bone -> its row in both.
    """

    def carried(bone: str, by: str) -> np.ndarray:
        """(N, 4, 4) where `bone` is if it has moved rigidly with `by` since rest."""
        return pose[:, rows[by]] @ np.linalg.inv(rest[rows[by]]) @ rest[rows[bone]]

    wanted = {control: carried(control, by) for control, by in limb.controls.items()}
    wanted[limb.pole] = np.broadcast_to(rest[rows[limb.pole]], pose[:, 0].shape).copy()
    rest_bend = carried(limb.pole, limb.upper)[:, :3, 3]
    wanted[limb.pole][:, :3, 3] = _pole(limb, pose, rest, rows, rest_bend)

    stored = {}
    for control, matrices in wanted.items():
        parent = target.pose.bones[control].parent
        before = pose[:, rows[parent.name]]
        mover = _moved_by(parent, wanted)
        if mover is not None:  # by another of these controls, which the FK motion left at rest
            before = wanted[mover] @ np.linalg.inv(rest[rows[mover]]) @ rest[rows[parent.name]]
        stored[control] = _stored(target.data.bones[control], matrices, before)
    return stored


def _stored(bone: bpy.types.Bone, matrices: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """(N, 4, 4) what a bone stores to be at `matrices` below `parents`; Blender knows what it inherits in which way."""
    at_rest = dict(matrix_local=bone.matrix_local, parent_matrix_local=bone.parent.matrix_local, invert=True)
    pairs = zip(matrices, parents, strict=True)
    return np.array([bone.convert_local_to_pose(Matrix(m), parent_matrix=Matrix(p), **at_rest) for m, p in pairs])


def _pole(limb: IkLimb, pose: np.ndarray, rest: np.ndarray, rows: dict[str, int], rest_bend: np.ndarray) -> np.ndarray:
    """(N, 3) where the pole stands."""
    hip, knee, ankle = (pose[:, rows[bone], :3, 3] for bone in (limb.upper, limb.lower, limb.end))
    along = (ankle - hip) / np.maximum(np.linalg.norm(ankle - hip, axis=-1, keepdims=True), 1e-9)

    def across(vectors: np.ndarray) -> np.ndarray:
        return vectors - (vectors * along).sum(-1, keepdims=True) * along

    length = np.linalg.norm(rest[rows[limb.upper], :3, 3] - rest[rows[limb.end], :3, 3])
    away = np.linalg.norm(rest[rows[limb.pole], :3, 3] - rest[rows[limb.lower], :3, 3])
    would = across(rest_bend - knee)
    would /= np.maximum(np.linalg.norm(would, axis=-1, keepdims=True), 1e-9)
    bend = across(knee - hip) + _STRAIGHT * length * would
    return knee + away * bend / np.maximum(np.linalg.norm(bend, axis=-1, keepdims=True), 1e-9)


def _moved_by(bone: bpy.types.PoseBone | None, controls: dict[str, np.ndarray]) -> str | None:
    """Which of `controls` moves `bone`: an ancestor of it, or the one that its Armature constraint obeys."""
    while bone is not None:
        if bone.name in controls:
            return bone.name
        for constraint in bone.constraints:
            if constraint.type == "ARMATURE":
                strongest = max(constraint.targets, key=lambda each: each.weight, default=None)
                return strongest.subtarget if strongest is not None and strongest.subtarget in controls else None
        bone = bone.parent
    return None
