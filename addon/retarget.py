# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovered character's motion on another rig: a generated Rigify human, or a skeleton with Mixamo's names.

`retarget_math` says where each bone of the target is to look in the world. A helper armature holds these answers, the
target's bones copy them through constraints, Blender evaluates (so that whatever the rig does between its controls is
taken into account), and what the controls must store is read off and keyed. Then helper and constraints go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Quaternion

from .errors import RetargetError
from .pose_math import continuous, matrix_to_quaternion
from .pose_sampling import action_frames, rest_matrices, sample_bones
from .retarget_ik import ik_controls
from .retarget_maps import RigMap, map_for
from .retarget_math import Retargeted, Skeleton, nearest_mapped_parents, retarget
from .scene_animation import Curves, TakeAction
from .scene_rig import ROOT, edit_bones

_CLOSE_M = 1e-4


def retarget_character(
    source: bpy.types.Object, target: bpy.types.Object, scene: bpy.types.Scene, lock_feet: bool = True
) -> bpy.types.Action:
    """Key `target` so that it does what the recovered rig `source` does. Raises RetargetError; then nothing is changed.

    The action that `target` had stays in the file.
    """
    if target.type != "ARMATURE" or target == source:
        raise RetargetError("Choose another armature to move.")
    if target.library is not None and target.override_library is None:
        raise RetargetError(f"{target.name} is linked and cannot be keyed.", "Make a library override of it first.")
    rig_map = map_for(target.data.bones.keys())
    joints, parents = _joints(source)
    missing = [j for j in ("pelvis", "left_hip", "right_hip") if j not in joints]
    if missing:
        raise RetargetError("The source is not a recovered character.", "Select a rig that Recover Body made.")
    chain = nearest_mapped_parents(joints, parents, {j: b for j, b in rig_map.bones.items() if j in joints})

    frames = action_frames(source, scene)
    world = np.array(source.matrix_world, np.float64) @ sample_bones(source, frames, scene)
    rows = {name: row for row, name in enumerate(source.pose.bones.keys())}
    moved = retarget(
        _skeleton(source, {j: j for j in chain}),
        _skeleton(target, {j: rig_map.bones[j] for j in chain}),
        chain,
        {j: world[:, rows[j], :3, 3] for j in chain},
        {j: _axes(world[:, rows[j]]) for j in chain},
        lock_feet,
    )
    return _bake(target, rig_map, moved, frames, scene, f"{source.name} on {target.name}")


def _joints(source: bpy.types.Object) -> tuple[list[str], list[int]]:
    """Names of the source's joints, and each one's parent by number, -1 for the first."""
    names = [b.name for b in source.data.bones if b.name != ROOT]
    index = {name: i for i, name in enumerate(names)}
    return names, [index.get(b.parent.name, -1) if b.parent else -1 for b in source.data.bones if b.name != ROOT]


def _skeleton(owner: bpy.types.Object, bones: dict[str, str]) -> Skeleton:
    world = np.array(owner.matrix_world, np.float64)
    rest = {joint: owner.data.bones[name] for joint, name in bones.items()}
    return Skeleton(
        heads={j: world[:3, :3] @ np.array(b.head_local) + world[:3, 3] for j, b in rest.items()},
        tails={j: world[:3, :3] @ np.array(b.tail_local) + world[:3, 3] for j, b in rest.items()},
        rotations={j: _axes(world @ np.array(b.matrix_local, np.float64)) for j, b in rest.items()},
        ground_m=float(world[2, 3]),
    )


def _axes(matrices: np.ndarray) -> np.ndarray:
    """(..., 4, 4) -> (..., 3, 3) without scale."""
    linear = matrices[..., :3, :3]
    return linear / np.linalg.norm(linear, axis=-2, keepdims=True)


# ---------------------------------------------------------------------------------------------- baking


def _bake(
    target: bpy.types.Object,
    rig_map: RigMap,
    moved: Retargeted,
    frames: np.ndarray,
    scene: bpy.types.Scene,
    name: str,
) -> bpy.types.Action:
    rest = rest_matrices(target)
    rows = {bone.name: row for row, bone in enumerate(target.pose.bones)}
    places = moved.carried(_rest_head(target, rig_map.place))
    rotations = {rig_map.bones[j]: turns for j, turns in moved.rotations.items()}
    place_axes = _axes(np.array(target.matrix_world, np.float64) @ rest[rows[rig_map.place]])
    rotations.setdefault(rig_map.place, moved.hips_turn @ place_axes)

    _forget_pose(target, (*rotations, *(bone for limb in rig_map.ik for bone in (*limb.controls, limb.pole))))
    switches = (*rig_map.switches, *(limb.switch for limb in rig_map.ik))
    for bone, key, value in switches:
        if bone in rows and key in target.pose.bones[bone]:
            target.pose.bones[bone][key] = type(target.pose.bones[bone][key])(value)
    target.update_tag()
    with _followed(target, rig_map.place, rotations, places, frames, scene):
        pose = sample_bones(target, frames, scene)
    off = moved.hips - _middle_of_hips(target, rig_map, rows, pose)
    if np.abs(off).max() > _CLOSE_M:  # bending Rigify's spine about its pivot shifts the hips: once more, made up for
        with _followed(target, rig_map.place, rotations, places + off, frames, scene):
            pose = sample_bones(target, frames, scene)

    action = TakeAction(name)
    curves = action.animate(target)
    for bone in rotations:
        pose_bone = target.pose.bones[bone]
        row, parent = rows[bone], pose_bone.parent
        frame_of_parent = np.broadcast_to(np.eye(4), pose[:, 0].shape)
        rest_in_parent = rest[row]
        if parent is not None:
            frame_of_parent, rest_in_parent = (
                pose[:, rows[parent.name]],
                np.linalg.inv(rest[rows[parent.name]]) @ rest_in_parent,
            )
        basis = np.linalg.inv(frame_of_parent @ rest_in_parent) @ pose[:, row]
        _key_rotation(curves, pose_bone, frames, _axes(basis))
        if bone == rig_map.place:
            curves.key(f'pose.bones["{bone}"].location', frames, basis[:, :3, 3], group=bone)
    for limb in rig_map.ik:
        for bone, stored in ik_controls(target, limb, pose, rest, rows).items():
            pose_bone = target.pose.bones[bone]
            _key_rotation(curves, pose_bone, frames, _axes(stored))
            curves.key(f'pose.bones["{bone}"].location', frames, stored[:, :3, 3], group=bone)
    for bone, key, value in switches:
        if bone in rows and key in target.pose.bones[bone]:
            curves.key(f'pose.bones["{bone}"]["{key}"]', frames[:1], np.array([value]), group=bone)
    scene.frame_set(scene.frame_current)
    return target.animation_data.action


def _middle_of_hips(target: bpy.types.Object, rig_map: RigMap, rows: dict[str, int], pose: np.ndarray) -> np.ndarray:
    """(N, 3) metres, world."""
    joints = [pose[:, rows[rig_map.bones[f"{side}_hip"]], :3, 3] for side in ("left", "right")]
    world = np.array(target.matrix_world, np.float64)
    return 0.5 * (joints[0] + joints[1]) @ world[:3, :3].T + world[:3, 3]


def _rest_head(owner: bpy.types.Object, bone: str) -> np.ndarray:
    return np.array(owner.matrix_world @ owner.data.bones[bone].head_local, np.float64)


def _forget_pose(target: bpy.types.Object, bones) -> None:
    """What an earlier action left on the controls must not shine through."""
    animation = target.animation_data or target.animation_data_create()
    animation.action = None
    for name in bones:
        bone = target.pose.bones[name]
        bone.matrix_basis.identity()
        bone.location, bone.scale = (0, 0, 0), (1, 1, 1)
        bone.rotation_quaternion, bone.rotation_euler = (1, 0, 0, 0), (0, 0, 0)


@contextmanager
def _followed(
    target: bpy.types.Object,
    place: str,
    rotations: dict[str, np.ndarray],
    places: np.ndarray,
    frames: np.ndarray,
    scene: bpy.types.Scene,
) -> Iterator[None]:
    """While inside, the target's bones follow a helper whose bones are keyed to look as `rotations` say."""
    armature = bpy.data.armatures.new("Recover Body helper")
    helper = bpy.data.objects.new(armature.name, armature)
    added = []
    try:
        with edit_bones(helper) as bones:
            for name in rotations:
                # At the origin along y: at rest its axes are the world's, so that a pose bone stores the answer itself.
                bones.new(name).tail = (0, 1, 0)
        scene.collection.objects.link(helper)
        curves = TakeAction(armature.name).animate(helper)
        for name, turns in rotations.items():
            helper.pose.bones[name].rotation_mode = "QUATERNION"
            turns = continuous(matrix_to_quaternion(turns)[:, None])[:, 0]
            curves.key(f'pose.bones["{name}"].rotation_quaternion', frames, turns)
        curves.key(f'pose.bones["{place}"].location', frames, places)
        for name in rotations:
            kinds = ("COPY_ROTATION", "COPY_LOCATION") if name == place else ("COPY_ROTATION",)
            for kind in kinds:
                constraint = target.pose.bones[name].constraints.new(kind)
                constraint.target, constraint.subtarget = helper, name
                added.append((target.pose.bones[name], constraint))
        yield
    finally:
        for bone, constraint in added:
            bone.constraints.remove(constraint)
        action = helper.animation_data.action if helper.animation_data else None
        bpy.data.objects.remove(helper)
        bpy.data.armatures.remove(armature)
        if action is not None:
            bpy.data.actions.remove(action)


def _key_rotation(curves: Curves, bone: bpy.types.PoseBone, frames: np.ndarray, axes: np.ndarray) -> None:
    """Key in the way in which the bone stores its rotation."""
    quaternions = continuous(matrix_to_quaternion(axes)[:, None])[:, 0]
    path = f'pose.bones["{bone.name}"].'
    if bone.rotation_mode == "QUATERNION":
        curves.key(path + "rotation_quaternion", frames, quaternions, group=bone.name)
    elif bone.rotation_mode == "AXIS_ANGLE":
        half = np.arccos(np.clip(quaternions[:, :1], -1, 1))
        axis = quaternions[:, 1:] / np.maximum(np.sin(half), 1e-9)
        curves.key(path + "rotation_axis_angle", frames, np.concatenate([2 * half, axis], 1), group=bone.name)
    else:
        angles, last = [], None
        for quaternion in quaternions.tolist():
            last = Quaternion(quaternion).to_euler(bone.rotation_mode, *([last] if last else []))
            angles.append(tuple(last))
        curves.key(path + "rotation_euler", frames, np.array(angles), group=bone.name)
