# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery in the file as a whole: one collection, replaced by a second run, or nothing at all."""

from dataclasses import replace

import numpy as np
import pytest

from .sample import camera, sample

KINDS = (
    "objects",
    "meshes",
    "armatures",
    "cameras",
    "actions",
    "collections",
    "scenes",
    "materials",
    "images",
    "shape_keys",
)


def draw(made, **options):
    from recover_body.addon.scene import draw_recovery

    return draw_recovery(made.recovery, **options)


def inventory(bpy):
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in KINDS}


def test_one_collection_with_everything(bpy):
    drawing = draw(sample(1, people=3, source="holiday/beach photo.jpg"))
    assert drawing.collection.name == "Recover Body: beach photo"
    assert [c.name for c in bpy.context.scene.collection.children] == ["Recover Body: beach photo"]
    assert len(drawing.collection.objects) == 1 + 3 * 2
    assert len(bpy.data.objects) == 7 and len(bpy.data.scenes) == 1


def test_a_second_run_takes_the_place_of_the_first(bpy):
    first = draw(sample(1, people=2))
    before = inventory(bpy)
    second = sample(2, people=2)
    drawing = draw(second)
    assert inventory(bpy) == before, "nothing piles up, and every name stays"
    assert drawing.collection.name == before["collections"][0]
    assert bpy.context.scene.camera == drawing.camera
    rig = drawing.bodies[1].rig
    found = np.array([rig.pose.bones[name].head for name in second.recovery.rigs[1].bone_names])
    assert np.abs(found - second.joints_world[1, 0]).max() < 1e-3
    del first


def test_what_an_artist_attached_stays_attached(bpy):
    draw(sample(1, people=2))
    rig = bpy.data.objects["Person 1 rig"]
    rig.name = "Anna"
    hat = bpy.data.objects.new("hat", None)
    hat.parent, hat.parent_type, hat.parent_bone = rig, "BONE", "head"
    follower = bpy.data.objects.new("follower", None)
    constraint = follower.constraints.new("COPY_LOCATION")
    constraint.target, constraint.subtarget = rig, "left_wrist"
    rig.users_collection[0].objects.link(hat)
    shelf = bpy.data.collections.new("shelf")
    bpy.context.scene.collection.children.link(shelf)
    shelf.objects.link(rig)
    bpy.data.materials["Recover Body skin"].diffuse_color = (0, 1, 0, 1)

    drawing = draw(sample(2, people=1))
    anna = drawing.bodies[0].rig
    assert anna.name == "Anna"
    assert hat.parent == anna and hat.parent_bone == "head" and hat.name in drawing.collection.objects
    assert constraint.target == anna and constraint.subtarget == "left_wrist"
    assert anna.name in shelf.objects
    assert tuple(bpy.data.materials["Recover Body skin"].diffuse_color) == (0, 1, 0, 1)
    assert "Person 2 rig" not in bpy.data.objects, "who is not in the new take goes"


def test_another_picture_gets_its_own_collection(bpy):
    draw(sample(1, source="a.png"))
    draw(sample(2, source="b.png"))
    assert [c.name for c in bpy.context.scene.collection.children] == ["Recover Body: a", "Recover Body: b"]


def of_frames(made, first):
    """The same with other frames of its source."""
    take = made.recovery.take
    numbers = np.arange(first, first + len(take.frame_numbers))
    return replace(made, recovery=replace(made.recovery, take=replace(take, frame_numbers=numbers)))


def test_each_place_and_each_range_of_frames_has_its_own(bpy):
    """Strips of one file, and parts of one file that do not meet, stand side by side."""
    clip = sample(1, frames=4)
    one = draw(clip, place="strip").collection
    other = draw(clip, place="strip.001").collection
    later = draw(of_frames(clip, 11), place="strip").collection
    assert len({one, other, later}) == 3
    assert draw(of_frames(clip, 3), place="strip").collection == one, "frames 3-6 meet 1-4"
    assert draw(of_frames(clip, 8), place="strip").collection == later
    assert draw(clip, place="strip.001").collection == other
    draw(clip)
    assert len(bpy.context.scene.collection.children) == 4, "the file itself is another place"
    assert draw(of_frames(clip, 6), place="strip").collection == one, "now 3-6"
    assert draw(of_frames(clip, 8), place="strip").collection == later, "of two that meet it, the one that is the same"


def test_a_result_of_an_earlier_version_is_taken_over(bpy):
    old = draw(sample(1)).collection
    del old["recover_body_place"], old["recover_body_range"]
    assert draw(sample(2), place=None).collection == old and "recover_body_place" not in old
    del old["recover_body_range"]
    assert draw(sample(2), place="strip").collection == old
    assert draw(sample(2), place="strip.001").collection != old


def damaged(made, what):
    plan = made.recovery.rigs[-1]
    broken = {
        "a weight on bone 99": dict(weight_bones=np.where(plan.weight_bones == 3, 99, plan.weight_bones)),
        "a triangle outside": dict(faces=plan.faces + 1),
        "a coordinate that is no number": dict(bone_heads=np.full_like(plan.bone_heads, np.nan)),
        "two bones of one name": dict(bone_names=("pelvis",) * len(plan.bone_names)),
    }
    recovery = replace(made.recovery, rigs=(*made.recovery.rigs[:-1], replace(plan, **broken[what])))
    return replace(made, recovery=recovery)


@pytest.mark.parametrize(
    "what",
    ["a weight on bone 99", "a triangle outside", "a coordinate that is no number", "two bones of one name"],
)
def test_a_drawing_that_fails_leaves_nothing(bpy, what):
    from recover_body.addon.errors import DrawError

    draw(sample(1, people=2))
    before = inventory(bpy)
    with pytest.raises(DrawError) as caught:
        draw(damaged(sample(2, people=2), what))
    assert inventory(bpy) == before
    assert caught.value.sentence and caught.value.remedy
    bpy.ops.wm.read_factory_settings(use_empty=True)
    before = inventory(bpy)
    with pytest.raises(DrawError):
        draw(damaged(sample(2, people=2), what))
    assert inventory(bpy) == before


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT"])
def test_drawing_while_the_artist_edits_something_else(bpy, mode):
    mesh = bpy.data.meshes.new("work")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    work = bpy.data.objects.new("work", mesh)
    bpy.context.scene.collection.objects.link(work)
    bpy.context.view_layer.objects.active = work
    bpy.ops.object.mode_set(mode=mode)
    draw(sample(1))
    assert work.mode == mode and bpy.context.view_layer.objects.active == work


@pytest.mark.parametrize("mode", ["EDIT", "POSE"])
def test_a_second_run_while_the_artist_edits_the_character(bpy, mode):
    from recover_body.addon import compat

    drawing = draw(sample(1))
    bpy.context.view_layer.objects.active = drawing.bodies[0].rig
    bpy.ops.object.mode_set(mode=mode)
    if mode == "POSE":
        bones = drawing.bodies[0].rig.pose.bones
        for bone in bones:
            compat.select_pose_bone(bone, bone.name in ("left_knee", "head"))
        drawing.bodies[0].rig.data.bones.active = bones["left_knee"].bone
    before = inventory(bpy)
    drawing = draw(sample(2))
    assert inventory(bpy) == before
    rig = drawing.bodies[0].rig
    assert rig.mode == ("POSE" if mode == "POSE" else "OBJECT")
    if mode == "POSE":  # who poses goes on posing
        assert rig.data.bones.active.name == "left_knee"
        assert {b.name for b in rig.pose.bones if compat.is_pose_bone_selected(b)} == {"left_knee", "head"}


def test_into_a_scene_that_is_not_shown(bpy):
    other = bpy.data.scenes.new("other")
    drawing = draw(sample(1), scene=other)
    assert drawing.collection.name in other.collection.children
    assert not bpy.context.scene.collection.children and bpy.context.scene.camera is None
    assert other.camera == drawing.camera


def test_a_take_is_one_action_where_blender_has_slots(bpy):
    from recover_body.addon import compat

    made = sample(1, frames=3, track=camera(frames=3), expression=0.5)
    drawing = draw(made)
    rig, mesh = drawing.bodies[0].rig, drawing.bodies[0].mesh
    actions = {rig.animation_data.action, mesh.data.shape_keys.animation_data.action}
    cameras = {drawing.camera.animation_data.action, drawing.camera.data.animation_data.action}
    expected = 1 if compat.HAS_SLOTS else 2
    assert len(actions) == expected and len(cameras) == expected
    bpy.context.scene.frame_set(2)
    key = mesh.data.shape_keys.key_blocks["expression_01"]
    assert key.value == pytest.approx(made.recovery.take.people[0].expression[1, 0], abs=1e-4)
    draw(sample(2, frames=3, track=camera(frames=3), expression=0.5))
    assert len(bpy.data.actions) == 2 * expected
