# SPDX-License-Identifier: GPL-3.0-or-later
"""What a freshly drawn character takes over from its predecessor: an artist's choices, but not the pose."""

from __future__ import annotations

import bpy
from mathutils import Vector

from .bone_colors import STYLE, color_bones
from .scene_facts import CORRECTIVES, DRAWN_AT
from .scene_rig import ROOT

_LOOKS = ("hide_viewport", "hide_render", "hide_select", "display_type", "show_in_front", "show_name", "color")
_OURS = "recover_body"


def inherit(old: bpy.types.Object, new: bpy.types.Object) -> None:
    """Give `new` the looks of `old`, its materials, added modifiers, bone constraints, and where the artist put it."""
    for name in _LOOKS:
        setattr(new, name, getattr(old, name))
    for name, value in list(old.items()):
        if name not in new and not name.startswith(_OURS):
            new[name] = value
    if old.type == "MESH" and new.type == "MESH":
        _inherit_mesh(old, new)
    elif old.type == "ARMATURE" and new.type == "ARMATURE":
        _inherit_rig(old, new)


def _inherit_mesh(old: bpy.types.Object, new: bpy.types.Object) -> None:
    if len(old.material_slots) == len(new.material_slots):
        for before, after in zip(old.material_slots, new.material_slots, strict=True):
            after.material = before.material
    for modifier in old.modifiers:
        if modifier.name not in new.modifiers:
            _copy_settings(modifier, new.modifiers.new(modifier.name, modifier.type))


def _inherit_rig(old: bpy.types.Object, new: bpy.types.Object) -> None:
    new.data.display_type = old.data.display_type
    for collection in old.data.collections:
        if collection.name in new.data.collections:
            new.data.collections[collection.name].is_visible = collection.is_visible
    new[CORRECTIVES] = old.get(CORRECTIVES, 1.0)
    color_bones(new, old.get(STYLE, "INFERRED"))
    for bone in old.pose.bones:
        if bone.name in new.pose.bones:
            for constraint in bone.constraints:
                _copy_settings(constraint, new.pose.bones[bone.name].constraints.new(constraint.type))
    if ROOT in old.pose.bones and DRAWN_AT in old:
        before, after = old.pose.bones[ROOT], new.pose.bones[ROOT]
        after.location = after.location + (before.location - Vector(old[DRAWN_AT]))
        after.rotation_mode, after.scale = before.rotation_mode, before.scale
        after.rotation_quaternion, after.rotation_euler = before.rotation_quaternion, before.rotation_euler


def _copy_settings(source: bpy.types.bpy_struct, target: bpy.types.bpy_struct) -> None:
    for setting in source.bl_rna.properties:
        if not setting.is_readonly and setting.identifier != "type":
            try:
                setattr(target, setting.identifier, getattr(source, setting.identifier))
            except (AttributeError, TypeError, ValueError):
                continue  # it depends on something that the new one does not have
