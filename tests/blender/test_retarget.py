# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovered character's motion on other people's rigs: limbs point alike, and feet travel in proportion."""

import numpy as np
import pytest

from .other_rigs import LIMBS, mixamo_skeleton, rigify_human
from .sample import camera, sample
from .test_scene import draw, inventory

FRAMES = 6


@pytest.fixture
def source(bpy):
    drawing = draw(sample(3, frames=FRAMES, spread_rad=0.35, track=camera(frames=FRAMES)))
    return drawing.bodies[0].rig


def heads(bpy, owner, names):
    """(N, names, 3) world positions of bone heads in all frames."""
    found = []
    for mesh in [o for o in bpy.data.objects if o.type == "MESH"]:
        mesh.hide_viewport = True  # skinning takes time and shows nothing here
    for frame in range(1, FRAMES + 1):
        bpy.context.scene.frame_set(frame)
        found.append([owner.matrix_world @ owner.pose.bones[name].head for name in names])
    return np.array(found, np.float64)


def limb_angles(bpy, source, target, bones):
    """Limb -> largest angle in degrees, over frames, between ours and the target's."""
    limbs = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in LIMBS.items()]
    limbs = [(a, b) for a, b in limbs if bones[a] and bones[b]]
    ends = [joint for limb in limbs for joint in limb]
    ours = np.diff(heads(bpy, source, ends), axis=1)[:, ::2]
    theirs = np.diff(heads(bpy, target, [bones[j] for j in ends]), axis=1)[:, ::2]
    cosine = (ours * theirs).sum(-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1))).max(0)
    return {limb[0]: angle for limb, angle in zip(limbs, angles, strict=True)}


def assert_feet_travel_in_proportion(bpy, source, target, feet, scale):
    """Where a foot of the source moves, that of the target moves `scale` times as far, and otherwise not."""
    ours = np.diff(heads(bpy, source, ["left_ankle", "right_ankle"]), axis=0)
    theirs = np.diff(heads(bpy, target, feet), axis=0)
    assert np.abs(ours).max() > 0.02, "a foot that never moves would prove nothing"
    assert np.abs(theirs - scale * ours).max() < 1e-3


def leg(owner, names):
    heads = [np.array(owner.matrix_world @ owner.data.bones[n].head_local) for n in names]
    return np.linalg.norm(np.diff(heads, axis=0), axis=1).sum()


def mixamo_bones(prefix):
    from recover_body.addon.retarget_maps import map_for

    bones = map_for(mixamo_skeleton(prefix=prefix).pose.bones.keys()).bones
    return {joint: bones.get(joint) for joint in bones}


@pytest.mark.parametrize("prefix", ["mixamorig:", ""])
def test_limbs_of_a_mixamo_skeleton_point_as_ours(bpy, source, prefix):
    from recover_body.addon.retarget import retarget_character

    bones = mixamo_bones(prefix)
    target = bpy.data.objects["Mixamo"]
    before = inventory(bpy)
    action = retarget_character(source, target, bpy.context.scene, lock_feet=False)
    angles = limb_angles(bpy, source, target, bones)
    assert len(angles) == 22 and max(angles.values()) < 0.1, angles
    after = inventory(bpy)
    assert after.pop("actions") == sorted([*before.pop("actions"), action.name]) and after == before, "no helper stays"
    assert not any(bone.constraints for bone in target.pose.bones)


def test_feet_of_a_mixamo_skeleton_do_not_slide(bpy, source):
    from recover_body.addon.retarget import retarget_character

    bones = mixamo_bones("mixamorig:")
    target = bpy.data.objects["Mixamo"]
    retarget_character(source, target, bpy.context.scene)
    scale = leg(target, [bones[f"left_{j}"] for j in ("hip", "knee", "ankle")]) / leg(
        source, ["left_hip", "left_knee", "left_ankle"]
    )
    assert_feet_travel_in_proportion(bpy, source, target, [bones["left_ankle"], bones["right_ankle"]], scale)
    arms = {k: v for k, v in limb_angles(bpy, source, target, bones).items() if "hip" not in k and "knee" not in k}
    assert max(arms.values()) < 0.1


def test_standing_at_rest_stays_standing(bpy):
    """A T-pose of ours gives the other rig's body upright, its soles flat, its arms out, whatever its own rest is."""
    from recover_body.addon.retarget import retarget_character

    rig = draw(sample(3)).bodies[0].rig
    rig.animation_data_clear()
    for bone in rig.pose.bones:
        bone.matrix_basis.identity()
    target = mixamo_skeleton()
    retarget_character(rig, target, bpy.context.scene)
    for name in ("Hips", "Spine1", "Head", "LeftFoot", "RightToeBase"):
        bone = target.pose.bones[f"mixamorig:{name}"]
        rest, now = (np.array(target.matrix_world @ m) for m in (bone.bone.matrix_local, bone.matrix))
        assert np.abs(now[:3, :3] - rest[:3, :3]).max() < 1e-5, name
        assert abs(now[2, 3] - rest[2, 3]) < 0.01, "at its own height above the ground"
    arm = target.pose.bones["mixamorig:LeftForeArm"]
    along = np.array(target.matrix_world.to_3x3() @ (arm.tail - arm.head))
    assert along[0] / np.linalg.norm(along) > 0.97


def test_rigify_human(bpy, source):
    from recover_body.addon.compat import curves_of
    from recover_body.addon.retarget import retarget_character
    from recover_body.addon.retarget_maps import map_for

    target = rigify_human()
    retarget_character(source, target, bpy.context.scene, lock_feet=False)
    bones = map_for(target.pose.bones.keys()).bones
    # What deforms the skin, not the controls, is compared.
    skin = {j: f"ORG-{b.replace('_fk', '')}" for j, b in bones.items() if j.split("_")[-1] not in ("collar",)}
    angles = limb_angles(bpy, source, target, skin)
    assert len(angles) == 22 and max(angles.values()) < 1.0, angles
    assert all(target.pose.bones[f"{limb}_parent.{s}"]["IK_FK"] == 1.0 for limb in ("upper_arm", "thigh") for s in "LR")

    retarget_character(source, target, bpy.context.scene)
    legs = [
        leg(target, ["ORG-thigh.L", "ORG-shin.L", "ORG-foot.L"]),
        leg(source, ["left_hip", "left_knee", "left_ankle"]),
    ]
    assert_feet_travel_in_proportion(bpy, source, target, ["DEF-foot.L", "DEF-foot.R"], legs[0] / legs[1])

    limbs = ("thigh", "shin", "foot", "toe", "upper_arm", "forearm", "hand")
    skin = [f"ORG-{bone}.{side}" for bone in limbs for side in "LR"]
    by_fk = heads(bpy, target, skin)
    for curve in curves_of(target):  # the switches' keys, flipped
        if curve.data_path.endswith('["IK_FK"]'):
            curve.keyframe_points[0].co.y = 0.0
            curve.update()
    by_ik = heads(bpy, target, skin)
    assert all(target.pose.bones[f"{limb}_parent.{s}"]["IK_FK"] == 0.0 for limb in ("upper_arm", "thigh") for s in "LR")
    ends = [i for i, bone in enumerate(skin) if any(end in bone for end in ("foot", "toe", "hand"))]
    assert np.abs(by_ik - by_fk)[:, ends].max() < 1e-3
    for joint, bone in enumerate(skin):  # limbs bend in the same plane
        if "shin" in bone or "forearm" in bone:
            upper, along, off = by_fk[:, joint - 2], by_fk[:, joint + 2] - by_fk[:, joint - 2], by_ik - by_fk
            normal = np.cross(along, by_fk[:, joint] - upper)
            bend_m = np.linalg.norm(normal, axis=-1) / np.linalg.norm(along, axis=-1)
            out_of_plane_m = np.abs((off[:, joint] * normal).sum(-1)) / np.linalg.norm(normal, axis=-1)
            assert out_of_plane_m[bend_m > 0.01].max(initial=0) < 1e-3, bone


def test_what_cannot_be_moved_is_told(bpy, source):
    from recover_body.addon.errors import RetargetError
    from recover_body.addon.retarget import retarget_character

    before = inventory(bpy)
    with pytest.raises(RetargetError, match="another armature"):
        retarget_character(source, source, bpy.context.scene)
    plain = bpy.data.objects.new("plain", bpy.data.armatures.new("plain"))
    bpy.context.scene.collection.objects.link(plain)
    with pytest.raises(RetargetError, match="neither"):
        retarget_character(source, plain, bpy.context.scene)
    with pytest.raises(RetargetError, match="not a recovered"):
        retarget_character(plain, mixamo_skeleton(), bpy.context.scene)
    bpy.data.objects.remove(plain)
    assert inventory(bpy)["actions"] == before["actions"]
