# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs that others made: a skeleton as it arrives with Mixamo's names, and Rigify's generated human."""

import math

import bpy
import numpy as np
from mathutils import Matrix, Vector

LIMBS = {  # joint -> the next, along which limbs are compared
    "hip": "knee", "knee": "ankle", "shoulder": "elbow", "elbow": "wrist",
    "index1": "index2", "index2": "index3", "middle1": "middle2", "pinky1": "pinky2", "ring2": "ring3",
    "thumb1": "thumb2", "thumb2": "thumb3",
}  # fmt: skip


def mixamo_skeleton(seed: int = 0, prefix: str = "mixamorig:") -> bpy.types.Object:
    """A skeleton in A-pose, taller than ours, with random rolls, in an object scaled and turned as FBX imports are."""
    places = {
        "Hips": ("", (0, 0, 1.06)), "Spine": ("Hips", (0, 0.01, 1.16)), "Spine1": ("Spine", (0, 0.02, 1.30)),
        "Spine2": ("Spine1", (0, 0.03, 1.44)), "Neck": ("Spine2", (0, 0.03, 1.60)), "Head": ("Neck", (0, 0.0, 1.70)),
    }  # fmt: skip
    for side, x in (("Left", 1), ("Right", -1)):
        arm, down = np.array([0.20, 0.04, 1.54]), np.array([0.71, 0.0, -0.70])
        forward = np.array([0.70, -0.1, -0.70])
        places |= {
            f"{side}Shoulder": ("Spine2", (0.06 * x, 0.02, 1.55)),
            f"{side}Arm": (f"{side}Shoulder", arm * [x, 1, 1]),
            f"{side}ForeArm": (f"{side}Arm", (arm + 0.31 * down) * [x, 1, 1]),
            f"{side}Hand": (f"{side}ForeArm", (arm + 0.31 * down + 0.28 * forward) * [x, 1, 1]),
            f"{side}UpLeg": ("Hips", (0.11 * x, 0, 1.0)),
            f"{side}Leg": (f"{side}UpLeg", (0.13 * x, -0.01, 0.55)),
            f"{side}Foot": (f"{side}Leg", (0.13 * x, 0.03, 0.10)),
            f"{side}ToeBase": (f"{side}Foot", (0.14 * x, -0.12, 0.03)),
        }
        hand = arm + 0.31 * down + 0.28 * forward
        for finger, y in (("Thumb", -0.03), ("Index", -0.03), ("Middle", -0.01), ("Ring", 0.01), ("Pinky", 0.03)):
            step = np.array([0.5, -0.6, -0.5]) if finger == "Thumb" else np.array([0.68, 0.2 * y, -0.72])
            start = hand + (0.03 if finger == "Thumb" else 0.10) * step + [0, y, 0]
            above = f"{side}Hand"
            for i in (1, 2, 3):
                places[f"{side}Hand{finger}{i}"] = (above, (start + 0.03 * (i - 1) * step) * [x, 1, 1])
                above = f"{side}Hand{finger}{i}"
    rng = np.random.default_rng(seed)
    owner = bpy.data.objects.new("Mixamo", bpy.data.armatures.new("Mixamo"))
    bpy.context.scene.collection.objects.link(owner)
    owner.matrix_world = Matrix.Translation((0.3, 0, 0)) @ Matrix.Rotation(math.pi / 2, 4, "X") @ Matrix.Scale(0.01, 4)
    to_local = (Matrix.Rotation(math.pi / 2, 4, "X") @ Matrix.Scale(0.01, 4)).inverted()
    bpy.context.view_layer.objects.active = owner
    bpy.ops.object.mode_set(mode="EDIT")
    bones = owner.data.edit_bones
    for name, (parent, place) in places.items():
        bone = bones.new(prefix + name)
        bone.head = to_local @ Vector(place)
        children = [p for n, (above, p) in places.items() if above == name]
        grown = np.array(place) - np.array(places[parent][1]) if parent else np.array([0, 0, 0.1])
        bone.tail = to_local @ Vector(children[0] if children else np.array(place) + 0.7 * grown)
        bone.roll = rng.uniform(-3, 3)
        bone.parent = bones[prefix + parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    return owner


def rigify_human() -> bpy.types.Object:
    """Rigify's human, generated from its meta-rig without the face, which takes most of the time."""
    bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_human_metarig_add()
    metarig = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    bones = metarig.data.edit_bones
    for bone in [b for b in bones if b.parent_recursive and bones["spine.006"] in b.parent_recursive]:
        bones.remove(bone)
    for name in ("breast.L", "breast.R"):
        bones.remove(bones[name])
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.pose.rigify_generate()
    return next(o for o in bpy.data.objects if o.type == "ARMATURE" and o.data.get("rig_id"))
