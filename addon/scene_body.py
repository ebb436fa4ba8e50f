# SPDX-License-Identifier: GPL-3.0-or-later
"""One person: a rigged, skinned, posed body."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..wire.frames import B_BLENDER_BODY
from ..wire.take import Corrective, PersonTrack, RigPlan, Take
from .bone_colors import color_bones
from .pose_math import bone_pose
from .scene_animation import TakeAction
from .scene_facts import CORRECTIVES, DRAWN_AT, describe
from .scene_mesh import make_mesh_object, shaped_vertices
from .scene_rig import ROOT, make_rig_object, rest_rotations
from .timeline import SAME_FRAMES, FrameMap


@dataclass(frozen=True)
class DrawnBody:
    """The objects of one person."""

    person_id: int
    rig: bpy.types.Object
    """The armature object, at the world's origin; its `root` bone carries the person's place."""
    mesh: bpy.types.Object
    """The skinned mesh, child of the rig."""


def draw_body(
    rig: RigPlan,
    person: PersonTrack,
    take: Take,
    collection: bpy.types.Collection,
    timeline: FrameMap = SAME_FRAMES,
) -> DrawnBody:
    """Draw one person into `collection`. Raises DrawError when the plan is damaged."""
    # At rest the body stands on the armature's ground, so that the rig is handy in other scenes too.
    lift_m = -float(shaped_vertices(rig)[:, 1].min())
    mesh = make_mesh_object(rig, lift_m)
    owner = make_rig_object(rig, lift_m)
    for made in (owner, mesh):
        collection.objects.link(made)
    mesh.parent = owner
    modifier = mesh.modifiers.new("Armature", "ARMATURE")
    modifier.object = owner
    modifier.use_deform_preserve_volume = False  # the body model is linear blend skinning

    describe(owner, rig, person)
    _pose(owner, mesh, rig, person, take, timeline)
    for corrective in rig.correctives:
        _drive(mesh, owner, corrective)
    color_bones(owner, "INFERRED")
    return DrawnBody(person.id, owner, mesh)


def _pose(
    owner: bpy.types.Object,
    mesh: bpy.types.Object,
    rig: RigPlan,
    person: PersonTrack,
    take: Take,
    timeline: FrameMap,
) -> None:
    rest = rest_rotations(owner, rig)
    heads = owner.data.bones[rig.bone_names[0]].head_local
    pose = bone_pose(person, take.camera, rest, rig.bone_heads[0], np.array(heads, np.float64))
    if not len(pose.quaternions):
        return
    frames = timeline.to_scene(take.frame_numbers[person.present])
    action = TakeAction(f"{rig.name} take")
    curves = action.animate(owner)
    owner[DRAWN_AT] = pose.root_location.tolist()
    owner.pose.bones[ROOT].location = pose.root_location  # not keyed: moving the root moves the whole character
    for index, name in enumerate(rig.bone_names):
        bone = owner.pose.bones[name]
        bone.rotation_mode = "QUATERNION"
        bone.rotation_quaternion = pose.quaternions[0, index]
        curves.key(f'pose.bones["{name}"].rotation_quaternion', frames, pose.quaternions[:, index], group=name)
    pelvis = rig.bone_names[0]
    owner.pose.bones[pelvis].location = pose.pelvis_locations[0]
    curves.key(f'pose.bones["{pelvis}"].location', frames, pose.pelvis_locations, group=pelvis)
    if len(frames) > 1:
        _key_expression(action, mesh, rig, person, frames)


def _key_expression(
    action: TakeAction, mesh: bpy.types.Object, rig: RigPlan, person: PersonTrack, frames: np.ndarray
) -> None:
    """Key the expression of a clip; a still has its values on the sliders, free to play with."""
    values = person.expression[person.present]
    if not values.any():
        return
    curves = action.animate(mesh.data.shape_keys)
    for name, column in zip(rig.shape_names[len(person.betas) :], values.T, strict=False):
        curves.key(f'key_blocks["{name}"].value', frames, column)


def _drive(mesh: bpy.types.Object, owner: bpy.types.Object, corrective: Corrective) -> None:
    """Fade a pose corrective in with the joint's twist about its axis: 2 atan2(axis . v, w) of quaternion (w, v)."""
    rest = np.array(owner.data.bones[corrective.joint].matrix_local.to_3x3(), np.float64)
    x, y, z = rest.T @ B_BLENDER_BODY @ np.asarray(corrective.axis, np.float64)
    curve = mesh.data.shape_keys.driver_add(f'key_blocks["{corrective.name}"].value')
    driver = curve.driver
    for letter in "wxyz":
        variable = driver.variables.new()
        variable.name, variable.type = letter, "TRANSFORMS"
        target = variable.targets[0]
        target.id, target.bone_target = owner, corrective.joint
        target.transform_type, target.transform_space = f"ROT_{letter.upper()}", "LOCAL_SPACE"
        target.rotation_mode = "QUATERNION"
    strength = driver.variables.new()
    strength.name, strength.type = "shown", "SINGLE_PROP"
    strength.targets[0].id, strength.targets[0].data_path = owner, f'["{CORRECTIVES}"]'
    # Simple enough for Blender to work out without Python, so it also runs where scripts are not trusted.
    swing = f"({x:.5g}*x + {y:.5g}*y + {z:.5g}*z)"
    turned = f"2*atan2({swing} if w >= 0 else -{swing}, fabs(w))"
    driver.expression = f"shown*clamp({turned}/{corrective.angle_rad:.6g})"
