# SPDX-License-Identifier: GPL-3.0-or-later
"""Bones that follow the shape: after the shape sliders were moved, joints go where the new body has them."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from .errors import DrawError
from .scene_facts import JOINT_OFFSETS, REST_PELVIS, SHAPE, joint_names
from .scene_mesh import BODY_FROM_BLENDER
from .scene_rig import edit_bones_in_place


def shape_values(body: bpy.types.Object, count: int) -> np.ndarray:
    """(count,) present values of the sliders that belong to the rig's offsets: betas, then expressions."""
    keys = body.data.shape_keys.key_blocks
    names = [k.name for k in keys if k.name.startswith(("beta_", "expression_"))]
    return np.array([keys[name].value for name in names[:count]])


def is_out_of_step(rig: bpy.types.Object, body: bpy.types.Object | None) -> bool:
    """Whether the body's shape is another one than the bones were placed for."""
    if body is None or SHAPE not in rig.data or body.data.shape_keys is None:
        return False
    placed_for, betas = np.array(rig.data[SHAPE]), _betas(body)
    return bool(np.abs(shape_values(body, betas) - placed_for[:betas]).max() > 1e-4)


def fit_bones(rig: bpy.types.Object, body: bpy.types.Object) -> None:
    """Move every joint to where the present shape has it. Raises DrawError for a rig that does not know.

    Bones keep their directions and with them the meaning of all keys, so a pose stays what it was.
    """
    if SHAPE not in rig.data or JOINT_OFFSETS not in rig.data:
        raise DrawError(f"{rig.name} does not know its joints.", "Recover it again.")
    names = joint_names(rig)
    placed_for = np.array(rig.data[SHAPE])
    offsets = np.array(rig.data[JOINT_OFFSETS]).reshape(len(placed_for), len(names), 3)
    # Expressions move the jaw's joint a little, frame by frame: bones do not follow those.
    now, betas = placed_for.copy(), _betas(body)
    now[:betas] = shape_values(body, betas)
    moved = np.tensordot(now - placed_for, offsets, 1)
    with edit_bones_in_place(rig) as bones:
        for name, step in zip(names, moved, strict=True):
            bone = bones[name]
            along, length = (bone.tail - bone.head).normalized(), bone.length
            bone.use_connect = False
            bone.head = bone.head + Vector(step)
            bone.tail = bone.head + along * length
        for name in names:  # a bone ends where its child begins, as nearly as its direction allows
            bone = bones[name]
            near = [child for child in bone.children if _points_at(bone, child)]
            if near:
                along = (bone.tail - bone.head).normalized()
                bone.tail = bone.head + along * max(0.01, (near[0].head - bone.head).dot(along))
    rig.data[SHAPE] = now.tolist()
    rig[REST_PELVIS] = (np.array(rig[REST_PELVIS]) + BODY_FROM_BLENDER @ moved[0]).tolist()


def _betas(body: bpy.types.Object) -> int:
    return sum(key.name.startswith("beta_") for key in body.data.shape_keys.key_blocks)


def _points_at(bone: bpy.types.EditBone, child: bpy.types.EditBone) -> bool:
    to_child = child.head - bone.head
    along = bone.tail - bone.head
    return to_child.length > 1e-4 and to_child.normalized().dot(along.normalized()) > 0.98
