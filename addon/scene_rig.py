# SPDX-License-Identifier: GPL-3.0-or-later
"""The armature of a rig plan: 55 bones with SMPL-X names below a `root` that stands on the ground."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..wire.frames import B_BLENDER_BODY
from ..wire.take import RigPlan
from .scene_mesh import to_blender

ROOT = "root"
ROOT_LENGTH_M = 0.3
_FACE = ("jaw", "left_eye_smplhf", "right_eye_smplhf")
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")


def make_rig_object(rig: RigPlan, lift_m: float) -> bpy.types.Object:
    """The armature at rest, standing `lift_m` higher than in the plan; not yet in any collection.

    The root bone lies along the world's y axis, so that its own axes are the world's; the others point at their
    children, with the z axes of the plan.
    """
    armature = bpy.data.armatures.new(f"{rig.name} rig")
    armature.display_type = "STICK"
    owner = bpy.data.objects.new(armature.name, armature)
    owner.show_in_front = True
    heads, tails = to_blender(rig.bone_heads, lift_m), to_blender(rig.bone_tails, lift_m)
    with edit_bones(owner) as bones:
        root = bones.new(ROOT)
        root.head, root.tail, root.use_deform = (0, 0, 0), (0, ROOT_LENGTH_M, 0), False
        made = []
        z_axes = rig.bone_z_axes @ B_BLENDER_BODY.T
        for name, parent, head, tail, z_axis in zip(
            rig.bone_names, rig.bone_parents.tolist(), heads.tolist(), tails.tolist(), z_axes.tolist(), strict=True
        ):
            bone = bones.new(name)
            bone.head, bone.tail = head, tail
            bone.align_roll(z_axis)
            bone.parent = root if parent < 0 else made[parent]
            made.append(bone)
    _sort_into_collections(armature)
    return owner


def rest_rotations(owner: bpy.types.Object, rig: RigPlan) -> np.ndarray:
    """(J, 3, 3) rest rotation of each bone in armature space, as Blender made it."""
    return np.array([owner.data.bones[name].matrix_local.to_3x3() for name in rig.bone_names], np.float64)


@contextmanager
def edit_bones(owner: bpy.types.Object) -> Iterator:
    """Bones can be made in edit mode only. It is entered in a scene of its own, so that whatever mode, selection and
    editor the artist is in stays untouched; this also works without a window."""
    workshop = bpy.data.scenes.new("Recover Body workshop")
    try:
        workshop.collection.objects.link(owner)
        layer = workshop.view_layers[0]
        layer.objects.active = owner
        here = dict(scene=workshop, view_layer=layer, object=owner, active_object=owner, edit_object=None)
        with bpy.context.temp_override(selected_objects=[owner], **here):
            bpy.ops.object.mode_set(mode="EDIT")
            try:
                yield owner.data.edit_bones
            finally:
                bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        bpy.data.scenes.remove(workshop)


@contextmanager
def edit_bones_in_place(owner: bpy.types.Object) -> Iterator:
    """The same for an armature that stands in the scene; whoever was in a mode on it is put into object mode."""
    active = bpy.context.view_layer.objects.active
    if active is not None and active.mode != "OBJECT":
        with bpy.context.temp_override(object=active, active_object=active):
            bpy.ops.object.mode_set(mode="OBJECT")
    with edit_bones(owner) as bones:
        yield bones


def _sort_into_collections(armature: bpy.types.Armature) -> None:
    body, hands, face = (armature.collections.new(name) for name in ("Body", "Hands", "Face"))
    for bone in armature.bones:
        if bone.name in _FACE:
            face.assign(bone)
        elif any(finger in bone.name for finger in _FINGERS):
            hands.assign(bone)
        else:
            body.assign(bone)
