# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a freshly drawn recovery take the place of an earlier one of the same footage (`identity`)."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from . import compat
from .identity import Identity, find_recovery
from .scene_inherit import inherit

TIMELINE = "recover_body_timeline"
"""Custom property of a recovery's collection: where its frames lie on the timeline (`FrameMap.to_numbers`)."""
BACKEND, NOTES = "recover_body_backend", "recover_body_notes"
"""Custom properties of a recovery's collection: what recovered it, and what to know about it, a line each."""
FRAMES = "recover_body_frames"
"""Custom property of a recovery's collection: how many frames its take has; 1 for a still."""
ROLE = "recover_body_role"
"""Custom property of its objects: camera, rig 0, mesh 0, rig 1, …"""


def put_in_place(fresh: bpy.types.Collection, scene: bpy.types.Scene) -> bpy.types.Collection:
    """Bring `fresh`, which is in no scene yet, into `scene`; returns the collection that holds the recovery now."""
    old = find_recovery(scene, Identity.of(fresh))
    if old is None:
        scene.collection.children.link(fresh)
        return fresh
    previous = objects_by_role(old)
    posing = _leave_modes(previous)
    successors = objects_by_role(fresh)
    for role, successor in successors.items():
        if role not in previous:
            old.objects.link(successor)
    for role, predecessor in previous.items():
        if role in successors:
            _succeed(predecessor, successors[role])
        else:
            _remove(predecessor)
    for fact, value in list(fresh.items()):
        old[fact] = value
    bpy.data.collections.remove(fresh)
    if posing is not None and posing.role in successors:
        _go_on_posing(successors[posing.role], posing)
    return old


def objects_by_role(collection: bpy.types.Collection) -> dict[str, bpy.types.Object]:
    """Role -> object of one recovery; what an artist added to the collection is left out."""
    return {o[ROLE]: o for o in collection.objects if ROLE in o}


def _succeed(old: bpy.types.Object, new: bpy.types.Object) -> None:
    """`new` gets the names of `old` and everything that pointed at it: collections, children, constraints, drivers."""
    names = {part: block.name for part, block in _blocks(old).items()}
    was_active, was_selected = (
        _is_active(old),
        old.select_get() if old.name in bpy.context.view_layer.objects else False,
    )
    inherit(old, new)
    old.user_remap(new)
    _remove(old)
    for part, block in _blocks(new).items():
        if part in names:
            block.name = names[part]
    if new.name in bpy.context.view_layer.objects:
        new.select_set(was_selected)
        if was_active:
            bpy.context.view_layer.objects.active = new


def _is_active(owner: bpy.types.Object) -> bool:
    return bpy.context.view_layer.objects.active == owner


def _remove(old: bpy.types.Object) -> None:
    """Remove an object of an earlier run with the data that nobody else uses."""
    blocks = _blocks(old)
    blocks.pop("shape keys", None)  # they go with their mesh
    bpy.data.objects.remove(blocks.pop("object"))
    for block in dict.fromkeys(blocks.values()):  # one action may be named twice
        if block.users == 0:
            bpy.data.batch_remove([block])


def _blocks(owner: bpy.types.Object) -> dict[str, bpy.types.ID]:
    """The object, its data, its shape keys, and the actions of each."""
    blocks = {"object": owner, "data": owner.data, "shape keys": getattr(owner.data, "shape_keys", None)}
    for part, block in list(blocks.items()):
        if block is not None and block.animation_data is not None:
            blocks[f"{part} action"] = block.animation_data.action
    return {part: block for part, block in blocks.items() if block is not None}


@dataclass(frozen=True)
class _Posing:
    """What an artist was posing."""

    role: str
    active: str
    """Name of the bone, or ""."""
    selected: frozenset[str]


def _leave_modes(previous: dict[str, bpy.types.Object]) -> _Posing | None:
    """An object cannot be exchanged while it is being edited or posed. Returns what was posed, if something was."""
    active = bpy.context.view_layer.objects.active
    role = next((role for role, owner in previous.items() if owner == active), None)
    if active is None or role is None or active.mode == "OBJECT":
        return None
    posing = None
    if active.mode == "POSE":
        bone = active.data.bones.active
        selected = frozenset(bone.name for bone in active.pose.bones if compat.is_pose_bone_selected(bone))
        posing = _Posing(role, bone.name if bone is not None else "", selected)
    _set_mode(active, "OBJECT")
    return posing


def _go_on_posing(owner: bpy.types.Object, posing: _Posing) -> None:
    """The artist goes on where the old rig was left."""
    if owner != bpy.context.view_layer.objects.active:
        return
    _set_mode(owner, "POSE")
    owner.data.bones.active = owner.data.bones.get(posing.active)
    for bone in owner.pose.bones:
        compat.select_pose_bone(bone, bone.name in posing.selected)


def _set_mode(owner: bpy.types.Object, mode: str) -> None:
    with bpy.context.temp_override(object=owner, active_object=owner):
        bpy.ops.object.mode_set(mode=mode)
