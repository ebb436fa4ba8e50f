# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of characters as other programs like them, so that the artist's own stay untouched.

The person's shape becomes part of the rest mesh: many programs clamp shape keys to 0..1 or drop them, and the shape is
lost. Expressions and pose correctives stay shape keys. For FBX the *numbers* are made centimetres, in a scene that says
so: Blender's exporter would put a scale of 100 on the armature's node, which game engines carry into bones, sockets and
physics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix

from . import compat

CM_PER_M = 100.0


@contextmanager
def copies(
    rigs: Sequence[bpy.types.Object],
    bodies: Sequence[bpy.types.Object | None],
    scene: bpy.types.Scene,
    scale: float = 1.0,
    name_of_one: str = "",
) -> Iterator[list[bpy.types.Object]]:
    """Copies of `rigs`, each with its body, that bear the originals' names while inside; a unit of `scene` is 1 /
    `scale` of what it was. A single rig is called `name_of_one`, if that is given."""
    made: list[bpy.types.Object] = []
    roots: list[bpy.types.Object] = []
    scale_length = scene.unit_settings.scale_length
    names: dict[bpy.types.ID, str] = {}
    try:
        for rig, body in zip(rigs, bodies, strict=True):
            root = _copy_of_rig(rig, scale)
            roots.append(root)
            made.append(root)
            scene.collection.objects.link(root)
            wanted = name_of_one if name_of_one and len(rigs) == 1 else rig.name
            _take_name(root, wanted, names)
            if body is not None:
                skin = _copy_of_body(body, root, scale)
                made.append(skin)
                scene.collection.objects.link(skin)
                _take_name(skin, body.name, names)
                _take_name(skin.data, body.data.name, names)
                _bake_shape(skin)
        scene.unit_settings.scale_length = scale_length / scale
        yield roots
    finally:
        scene.unit_settings.scale_length = scale_length
        for copy in made:
            _remove(copy)
        for block, name in names.items():
            block.name = name


def _take_name(block: bpy.types.ID, name: str, names: dict[bpy.types.ID, str]) -> None:
    """Call `block` so; whoever was called so waits under another name, noted in `names`."""
    others = bpy.data.objects if isinstance(block, bpy.types.Object) else bpy.data.meshes
    owner = others.get(name)
    if owner is not None and owner != block:
        names[owner] = name
        owner.name = f"{name} (original)"
    block.name = name


def _copy_of_rig(rig: bpy.types.Object, scale: float) -> bpy.types.Object:
    copy = rig.copy()
    copy.data = rig.data.copy()
    if scale == 1:
        return copy
    copy.data.transform(Matrix.Scale(scale, 4))
    copy.matrix_world = _scaled_place(rig.matrix_world, scale)
    for bone in copy.pose.bones:
        bone.location = [scale * value for value in bone.location]
    animation = copy.animation_data
    if animation is not None:
        for user in (animation, *(strip for track in animation.nla_tracks for strip in track.strips)):
            if user.action is not None:
                _scale_action_of(user, scale)
    return copy


def _scale_action_of(user: bpy.types.AnimData | bpy.types.NlaStrip, scale: float) -> None:
    """Give an action's user a copy of the action in which places are scaled."""
    slot = compat.slot_of(user)
    user.action = user.action.copy()
    if slot is not None:
        user.action_slot = user.action.slots[slot.identifier]
    for curve in compat.curves_of_action(user.action, compat.slot_of(user)):
        if curve.data_path.endswith("location"):
            for point in curve.keyframe_points:
                for vector in (point.co, point.handle_left, point.handle_right):
                    vector[1] *= scale
            curve.update()


def _copy_of_body(body: bpy.types.Object, rig: bpy.types.Object, scale: float) -> bpy.types.Object:
    copy = body.copy()
    copy.data = body.data.copy()
    if scale != 1:
        copy.data.transform(Matrix.Scale(scale, 4), shape_keys=True)
    copy.parent = rig
    copy.matrix_local = _scaled_place(body.matrix_local, scale)
    for modifier in copy.modifiers:
        if modifier.type == "ARMATURE":
            modifier.object = rig
    return copy


def _bake_shape(body: bpy.types.Object) -> None:
    """Make the shape sliders' present values part of every other shape, and remove the sliders."""
    keys = body.data.shape_keys
    if keys is None:
        return
    betas = [block for block in keys.key_blocks if block.name.startswith("beta_")]
    basis = keys.key_blocks[0]
    rest = _points(basis)
    moved = sum((block.value * (_points(block) - rest) for block in betas), np.zeros_like(rest))
    for block in keys.key_blocks:
        block.points.foreach_set("co", _points(block) + moved)
    body.data.vertices.foreach_set("co", rest + moved)
    for block in betas:
        body.shape_key_remove(block)


def _points(block: bpy.types.ShapeKey) -> np.ndarray:
    flat = np.empty(3 * len(block.points), np.float32)
    block.points.foreach_get("co", flat)
    return flat


def _scaled_place(matrix: Matrix, scale: float) -> Matrix:
    scaled = matrix.copy()
    scaled.translation *= scale
    return scaled


def _remove(copy: bpy.types.Object) -> None:
    data, animation = copy.data, copy.animation_data
    actions = [animation.action] if animation else []
    actions += [strip.action for track in animation.nla_tracks for strip in track.strips] if animation else []
    bpy.data.objects.remove(copy)
    for block in dict.fromkeys((data, *actions)):
        if block is not None and block.users == 0:
            bpy.data.batch_remove([block])
