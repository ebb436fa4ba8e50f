# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a recovery that stands in the scene: each button does what its function does, and is undone."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recover_body.models.body_model import load_body
from recover_body.wire.take import read_take, write_take

from .movies import HEIGHT, WIDTH, _strips, numbered_pictures
from .sample import camera, sample
from .test_addon import Enabled, picture  # noqa: F401  (a fixture)
from .test_scene import draw, inventory

FRAMES = 5


@pytest.fixture(scope="module")
def _enabled(bpy):
    """Registered once for all tests of this file, so that they share one engine."""
    with pytest.MonkeyPatch.context() as patch:
        if "RECOVER_BODY_ENGINE_PYTHON" not in os.environ:
            patch.setenv("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
        with Enabled() as package:
            yield package


@pytest.fixture
def addon(bpy, _enabled, empty_file):
    bpy.context.scene.recover_body.backend = "fake"
    return _enabled


@pytest.fixture
def take_file(tmp_path):
    """A take of two people over a few frames, as an earlier run left it."""
    made = sample(4, people=2, frames=FRAMES, source=str(tmp_path / "gone.mp4"))
    return made, str(write_take(tmp_path / "gone.take.npz", made.recovery.take))


@pytest.fixture
def imported(bpy, addon, take_file):
    made, path = take_file
    assert bpy.ops.recover_body.import_motion(filepath=path) == {"FINISHED"}
    return made


def collection_of(bpy):
    from recover_body.addon.identity import SOURCE

    return next(c for c in bpy.data.collections if SOURCE in c)


def rig_of(bpy, number=0):
    return next(o for o in bpy.data.objects if o.get("recover_body_role") == f"rig {number}")


def joints(bpy, rig, plan, frame):
    bpy.context.scene.frame_set(frame)
    return np.array([rig.matrix_world @ rig.pose.bones[name].head for name in plan.bone_names])


def seen_px(bpy, points):
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    scene = bpy.context.scene
    size = np.array([scene.render.resolution_x, scene.render.resolution_y])
    return np.array([world_to_camera_view(scene, scene.camera, Vector(p))[:2] for p in points]) * size


# ---------------------------------------------------------------------------------------------- takes


def test_a_recovery_keeps_its_take(bpy, addon, picture, tmp_path):  # noqa: F811
    """In the user's folder first; beside the .blend once that has a place, and still found after a move."""
    from recover_body.addon.take_store import take_of, take_path

    bpy.ops.recover_body.recover(filepath=picture)
    first = take_path(collection_of(bpy))
    assert first.is_file() and read_take(first).people[0].name == take_of(collection_of(bpy)).people[0].name
    (tmp_path / "a").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a" / "shot.blend"))
    assert take_path(collection_of(bpy)) == tmp_path / "a" / "takes" / first.name
    (tmp_path / "a").rename(tmp_path / "b")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "b" / "shot.blend"))
    assert take_path(collection_of(bpy)) == tmp_path / "b" / "takes" / first.name
    (tmp_path / "c").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "c" / "other.blend"))
    assert (tmp_path / "c" / "takes" / first.name).is_file()
    take_path(collection_of(bpy)).unlink()
    with pytest.raises(RuntimeError, match="There is no file"):
        bpy.ops.recover_body.rerun()


def test_a_file_drawn_elsewhere_says_what_was_done(bpy, _enabled, empty_file, tmp_path):
    """A farm draws without the add-on; where the file is opened with it, an update changes only what is asked for."""
    from recover_body.wire.motion import MotionOptions

    made = sample(3, frames=3)
    take = replace(made.recovery.take, motion=MotionOptions(smoothing_s=0.25, foot_lock=False))
    _enabled.unregister()
    draw(replace(made, recovery=replace(made.recovery, take=take)))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "farm.blend"))
    _enabled.register()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "farm.blend"))
    settings = collection_of(bpy).recover_body
    assert settings.motion() == take.motion and settings.focal == "KEEP"
    assert settings.focal_px == pytest.approx(take.camera.fx_px[0])


def test_an_imported_take_is_drawn_as_it_is(bpy, imported):
    for number in range(2):
        plan = imported.recovery.rigs[number]
        seen = read_through_camera(imported, number)
        found = seen_px(bpy, joints(bpy, rig_of(bpy, number), plan, 1))
        assert np.abs(found - seen).max() < 0.5


def test_a_take_whose_picture_is_still_there_is_drawn_on_it(bpy, addon, picture, tmp_path):  # noqa: F811
    """Also where the scene has a camera of its own, which a later update leaves the scene's."""
    from recover_body.addon.rerunning import footage_of
    from recover_body.addon.take_store import take_path

    bpy.ops.recover_body.recover(filepath=picture)
    kept = tmp_path / "kept.take.npz"
    kept.write_bytes(take_path(collection_of(bpy)).read_bytes())
    bpy.ops.wm.read_factory_settings()
    mine = bpy.context.scene.camera
    assert bpy.ops.recover_body.import_motion(filepath=str(kept)) == {"FINISHED"}
    drawn = bpy.context.scene.camera
    assert drawn != mine and footage_of(collection_of(bpy)).filepath == picture
    bpy.context.scene.camera = mine
    assert bpy.ops.recover_body.rerun() == {"FINISHED"}
    assert bpy.context.scene.camera == mine and footage_of(collection_of(bpy)).filepath == picture


def read_through_camera(made, number, frame=0):
    """(55, 2) pixels from the bottom left, as Blender counts."""
    from recover_body.wire.frames import project

    take = made.recovery.take
    T = np.linalg.inv(take.camera.pose(frame))
    points = made.joints_world[number, frame] @ T[:3, :3].T + T[:3, 3]
    return np.array([0, take.camera.height]) + project(points, take.camera.intrinsics(frame)) * [1, -1]


def test_again_with_another_lens(bpy, imported):
    """People lie on the same pixels, through the lens that was asked for; what an artist did stays."""
    from recover_body.addon.take_store import take_of

    collection, rig, plan = collection_of(bpy), rig_of(bpy), imported.recovery.rigs[0]
    before = seen_px(bpy, joints(bpy, rig, plan, 1))
    lens = bpy.context.scene.camera.data.lens
    rig.name = "Anna rig"
    body = rig.children[0]
    gold = bpy.data.materials.new("gold")
    body.material_slots[0].material = gold
    body.modifiers.new("Smoother", "SUBSURF").levels = 1
    rig.pose.bones["head"].constraints.new("DAMPED_TRACK").influence = 0.25
    rig["mood"] = "happy"
    rig["pose_correctives"] = 0.5
    bpy.ops.recover_body.color_bones(style="CONFIDENCE")
    bpy.data.objects.remove(rig_of(bpy, 1))
    settings = collection.recover_body
    settings.focal, settings.focal_px = "PX", 1400.0
    assert bpy.ops.recover_body.rerun() == {"FINISHED"}

    rig = bpy.data.objects["Anna rig"]
    assert bpy.context.scene.camera.data.lens == pytest.approx(2 * lens, rel=1e-4)
    assert np.median(np.abs(seen_px(bpy, joints(bpy, rig, plan, 1)) - before)) < 8, "still on the picture"
    take = take_of(collection_of(bpy))
    assert [p.name for p in take.people] == ["Anna"] and len(take.seen) == 2
    body = rig.children[0]
    assert body.material_slots[0].material == gold and body.modifiers["Smoother"].levels == 1
    assert rig.pose.bones["head"].constraints[0].influence == pytest.approx(0.25)
    assert rig["mood"] == "happy" and rig["pose_correctives"] == 0.5
    assert rig["recover_body_bone_colors"] == "CONFIDENCE"
    assert collection_of(bpy).recover_body.focal == "KEEP"

    collection_of(bpy).recover_body.everybody = True
    bpy.ops.recover_body.rerun()
    assert rig_of(bpy, 1) is not None


def test_again_is_one_undo_step(bpy, imported):
    """And where the artist put somebody, there they stay."""
    root = rig_of(bpy).pose.bones["root"]
    drawn_at = np.array(root.location)
    root.location.x += 2.0
    bpy.ops.ed.undo_push(message="before")
    before = collection_of(bpy)["recover_body_take"]
    collection_of(bpy).recover_body.smoothing = "OFF"
    collection_of(bpy).recover_body.foot_lock = False
    bpy.ops.ed.undo_push(message="settings")
    bpy.ops.recover_body.rerun()
    assert collection_of(bpy)["recover_body_take"] != before
    moved = np.array(rig_of(bpy).pose.bones["root"].location) - drawn_at
    assert moved[0] == pytest.approx(2.0, abs=0.05)
    bpy.ops.ed.undo()
    assert collection_of(bpy)["recover_body_take"] == before, "the take that belongs to what is drawn"


def test_amass_comes_back_as_it_was_written(bpy, addon, tmp_path):
    """File -> character -> file: the same numbers; and the character does what the body model says."""
    from recover_body.addon.export import export_people
    from recover_body.wire import amass

    rng = np.random.default_rng(2)
    pose = rng.normal(0, 0.4, (1, 55, 3)) * np.linspace(0.5, 1, FRAMES)[:, None, None]
    place = rng.normal(0, 1, (FRAMES, 3))
    motion = amass.Motion(pose, place, rng.normal(0, 1, 10), np.zeros((FRAMES, 10)), 30.0, "female")
    path = amass.write_amass(tmp_path / "anna.npz", motion)
    assert bpy.ops.recover_body.import_motion(filepath=str(path)) == {"FINISHED"}
    assert bpy.context.scene.camera is None, "nobody looked at a picture"
    body = load_body("female")
    out = body.forward(pose, motion.betas[None], motion.expression, place)
    rig = rig_of(bpy)
    for frame in range(FRAMES):
        bpy.context.scene.frame_set(frame + 1)
        found = np.array([rig.pose.bones[name].head for name in body.joint_names])
        assert np.abs(found - out.joints[frame]).max() < 1e-4
    (again,) = export_people([rig], tmp_path / "again", "AMASS", bpy.context.scene)
    found, _ = amass.read_amass(again)
    assert np.abs(found.pose - pose).max() < 2e-5 and np.abs(found.translation - place).max() < 2e-5
    assert np.abs(found.betas - motion.betas).max() < 1e-5 and found.fps == pytest.approx(30) and found.body == "female"


def test_what_is_no_motion_is_told(bpy, addon, tmp_path):
    before = inventory(bpy)
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="not a readable take"):
        bpy.ops.recover_body.import_motion(filepath=str(tmp_path / "x.npz"))
    assert inventory(bpy) == before


# ---------------------------------------------------------------------------------------------- bones, shape, hands


def test_bones_follow_the_shape(bpy, addon):
    """After the sliders moved: joints and skin are the body model's for the new shape, in the pose that was keyed."""
    from recover_body.addon.bone_fitting import is_out_of_step

    made = sample(3)
    drawing = draw(made)
    rig, mesh = drawing.bodies[0].rig, drawing.bodies[0].mesh
    person = made.recovery.take.people[0]
    betas = person.betas + np.array([2.0, -1.5, 1.0, 0, 0, 0.5, 0, 0, 0, -1])
    for index, value in enumerate(betas, 1):
        mesh.data.shape_keys.key_blocks[f"beta_{index:02}"].value = value
    assert is_out_of_step(rig, mesh)
    bpy.context.view_layer.objects.active = rig
    assert bpy.ops.recover_body.fit_bones() == {"FINISHED"}
    assert not is_out_of_step(rig, mesh)
    bpy.context.view_layer.update()

    # The new body, its pelvis where Blender has it.
    out = load_body("neutral").forward(person.pose, betas[None], person.expression, person.translation)
    T = made.recovery.take.camera.pose(0)
    expected = out.joints[0] @ T[:3, :3].T + T[:3, 3]
    found = np.array([rig.pose.bones[name].head for name in made.recovery.rigs[0].bone_names])
    shift = found[0] - expected[0]
    assert np.abs(found - expected - shift).max() < 1e-4
    seen = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    skin = np.array([v.co for v in seen.vertices])
    wanted = out.vertices[0] @ T[:3, :3].T + T[:3, 3] + shift
    assert np.abs(skin - wanted).max() < 2e-3


def test_the_correctives_can_be_switched_off(bpy, addon):
    made = sample(3, spread_rad=0.8)
    drawing = draw(made)
    rig, keys = drawing.bodies[0].rig, drawing.bodies[0].mesh.data.shape_keys.key_blocks
    names = [c.name for c in made.recovery.rigs[0].correctives]
    shown = [keys[name].value for name in names]
    assert max(shown) > 0.1
    for share in (0.5, 0.0):
        rig["pose_correctives"] = share
        rig.update_tag()
        bpy.context.view_layer.update()
        assert [keys[name].value for name in names] == pytest.approx([share * v for v in shown], abs=1e-5)


def test_snap_to_ground(bpy, addon):
    from recover_body.addon.ground_contact import lowest_point_m

    drawing = draw(sample(3))
    rig, mesh = drawing.bodies[0].rig, drawing.bodies[0].mesh
    rig.location.z, rig.rotation_euler.x, rig.scale = 0.7, 0.3, (1.2, 1.2, 1.2)
    bpy.context.view_layer.update()
    assert abs(lowest_point_m(mesh, bpy.context.evaluated_depsgraph_get())) > 0.05
    bpy.context.view_layer.objects.active = mesh  # the body will do as well
    assert bpy.ops.recover_body.snap_to_ground() == {"FINISHED"}
    bpy.context.view_layer.update()
    assert abs(lowest_point_m(mesh, bpy.context.evaluated_depsgraph_get())) < 1e-4


@pytest.mark.parametrize("pose", ["RELAXED", "FIST", "FLAT", "POINTING"])
def test_hand_poses_are_mirrored_and_closed_as_they_should(bpy, addon, pose):
    drawing = draw(sample(3))
    rig = drawing.bodies[0].rig
    rig.animation_data_clear()
    for bone in rig.pose.bones:
        bone.matrix_basis.identity()
    bpy.context.view_layer.objects.active = rig
    bpy.ops.recover_body.pose_hand(pose=pose, keys="NONE")
    bpy.context.view_layer.update()
    tips = {s: np.array([rig.pose.bones[f"{s}_{f}3"].tail for f in FINGERS]) for s in ("left", "right")}
    assert np.abs(tips["left"] * [-1, 1, 1] - tips["right"]).max() < 2e-3
    wrist = np.array(rig.pose.bones["left_wrist"].head)
    reach = np.linalg.norm(tips["left"] - wrist, axis=1)
    straight = {"FIST": [], "POINTING": ["index"], "FLAT": FINGERS[1:], "RELAXED": []}[pose]
    for finger, distance in zip(FINGERS[1:], reach[1:], strict=True):
        if finger in straight:
            assert distance > 0.13
        elif pose != "RELAXED":
            assert distance < 0.11


FINGERS = ("thumb", "index", "middle", "ring", "pinky")


@pytest.mark.parametrize("keys, frames", [("SHOT", {1, 3, 5}), ("FRAME", {3}), ("NONE", set())])
def test_hand_poses_and_their_keys(bpy, addon, keys, frames):
    """Held throughout, at one frame, or until the next one."""
    drawing = draw(sample(3, frames=FRAMES))
    rig, scene = drawing.bodies[0].rig, bpy.context.scene
    bpy.context.view_layer.objects.active = rig
    bone = rig.pose.bones["left_index2"]
    scene.frame_set(3)
    bpy.ops.recover_body.pose_hand(pose="FIST", side="LEFT", keys=keys)
    fist = np.array(bone.rotation_quaternion)
    other = np.array(rig.pose.bones["right_index2"].rotation_quaternion)
    for frame in (1, 3, 5):
        scene.frame_set(frame)
        assert (np.abs(np.array(bone.rotation_quaternion) - fist).max() < 1e-5) == (frame in frames)
    scene.frame_set(3)
    assert np.abs(np.array(rig.pose.bones["right_index2"].rotation_quaternion) - other).max() < 1e-6


def test_bone_colours(bpy, addon):
    from recover_body.addon.bone_colors import trust_color

    made = sample(3)
    trust = np.linspace(0, 1, 55)[None]
    person = replace(made.recovery.take.people[0], joint_confidence=trust)
    take = replace(made.recovery.take, people=(person,))
    rig = draw(replace(made, recovery=replace(made.recovery, take=take))).bodies[0].rig
    bones = rig.pose.bones
    assert bones["left_index1"].color.palette == "CUSTOM" and bones["left_knee"].color.palette == "DEFAULT"
    bpy.ops.recover_body.color_bones(style="CONFIDENCE")
    names = made.recovery.rigs[0].bone_names
    for name in ("pelvis", "left_knee", "head"):
        expected = trust_color(trust[0, names.index(name)])
        assert tuple(bones[name].color.custom.normal) == pytest.approx(expected, abs=3e-3)
    assert trust_color(0.0)[0] > trust_color(0.0)[1] and trust_color(1.0)[1] > trust_color(1.0)[0]
    bpy.ops.recover_body.color_bones(style="NONE")
    assert all(bone.color.palette == "DEFAULT" for bone in bones)


# ---------------------------------------------------------------------------------------------- time


def test_bad_frames_are_marked(bpy, addon):
    """One mark where each bad stretch is worst; a second run replaces them, an artist's own stay."""
    made = sample(3, frames=30)
    overlap = np.full(30, 0.85)
    overlap[[10, 11, 13]] = 0.5, 0.3, 0.55
    off = np.full(30, 1.0)
    off[25] = 12.0
    person = replace(made.recovery.take.people[0], overlay_iou=overlap, reprojection_percent=off)
    recovery = replace(made.recovery, take=replace(made.recovery.take, people=(person,)))
    markers = bpy.context.scene.timeline_markers
    markers.new("mine", frame=12)
    for _ in range(2):
        draw(replace(made, recovery=recovery))
        found = sorted((m.frame, m.name) for m in markers)
        assert found == [(12, "Person 1: overlap 30 %"), (12, "mine"), (26, "Person 1: joints off by 12 %")]
    bpy.ops.recover_body.mark_frames()
    assert [m.name for m in markers] == ["mine"]


def test_operators_do_what_functions_do(bpy, addon, tmp_path):
    from recover_body.addon.export import export_people
    from recover_body.addon.key_reduction import reduce_character
    from recover_body.addon.retarget import retarget_character

    from .other_rigs import mixamo_skeleton

    def keys(owner):
        from recover_body.addon import compat

        return {(c.data_path, c.array_index): [tuple(p.co) for p in c.keyframe_points] for c in compat.curves_of(owner)}

    def scene_with_both():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        drawing = draw(sample(3, frames=8, track=camera(frames=8)))
        target = mixamo_skeleton()
        bpy.context.view_layer.objects.active = drawing.bodies[0].rig
        return drawing, target

    drawing, target = scene_with_both()
    bpy.ops.recover_body.reduce_keys(budget_px=1.0)
    bpy.ops.recover_body.retarget(target="Mixamo")
    bpy.ops.recover_body.export(filepath=str(tmp_path / "one.amass.npz"), kind="AMASS")
    by_operator = keys(drawing.bodies[0].rig), keys(target)
    drawing, target = scene_with_both()
    rig = drawing.bodies[0].rig
    reduce_character(rig, drawing.camera, bpy.context.scene, 1.0)
    retarget_character(rig, target, bpy.context.scene)
    export_people([rig], tmp_path / "two.amass.npz", "AMASS", bpy.context.scene)
    assert (keys(rig), keys(target)) == by_operator
    assert (tmp_path / "one.amass.npz").read_bytes() == (tmp_path / "two.amass.npz").read_bytes()


def test_every_button_says_what_it_does_and_can_be_undone(bpy, addon):
    from recover_body.addon import export_operators, motion_operators, result_operators

    undone_elsewhere = {"rerun", "import_motion", "export"}  # when the answer arrives; nothing to undo
    for kind in (*result_operators.CLASSES, *motion_operators.CLASSES, *export_operators.CLASSES):
        if not issubclass(kind, bpy.types.Operator):
            continue
        words = getattr(bpy.ops.recover_body, kind.bl_idname.partition(".")[2]).get_rna_type()
        assert len(words.description) > 20 and not words.description.endswith(".")
        assert ("UNDO" in kind.bl_options) != (kind.bl_idname.partition(".")[2] in undone_elsewhere)
        for setting in words.properties:
            assert setting.identifier == "rna_type" or setting.is_hidden or setting.name


def test_without_a_recovery_the_buttons_are_grey(bpy, addon):
    for name in ("rerun", "reduce_keys", "push_down", "fit_bones", "snap_to_ground", "pose_hand", "export", "retarget"):
        assert not getattr(bpy.ops.recover_body, name).poll()


def test_two_strips_of_one_file_have_a_result_each(bpy, addon, tmp_path):
    """And running one of them again, by either button, wherever it lies now, takes the place of its own."""
    pytest.importorskip("threadpoolctl", reason="Clips need the engine's packages; the same runs on Blender 4.5.")
    from recover_body.addon import recovering
    from recover_body.addon.source_strip import source_from_strip

    scene = bpy.context.scene
    pictures = numbered_pictures(bpy, tmp_path, 1, 3)
    strips = []
    for channel, start in ((1, 10), (2, 40)):
        strip = _strips(scene).new_image("bars", str(pictures[0]), channel=channel, frame_start=start)
        for path in pictures[1:]:
            strip.elements.append(path.name)
        strip.frame_final_duration = len(pictures)
        strips.append(strip)

    def recover(strip):
        job = recovering.start(source_from_strip(strip, scene), scene, backend="fake")
        jobs.wait(job)
        assert job.failure is None

    def starts():
        """First key of the first rig of each recovery, in order."""
        found = [c for c in scene.collection.children if "recover_body_source" in c]
        actions = [objects_by_role(c)["rig 0"].animation_data.action for c in found]
        return [round(action.frame_range[0]) for action in actions]

    from recover_body.addon import jobs
    from recover_body.addon.scene_replace import objects_by_role

    recover(strips[0])
    recover(strips[1])
    assert starts() == [10, 40]
    strips[0].frame_start = 100
    recover(strips[0])
    assert starts() == [100, 40]
    second = scene.collection.children[1]
    bpy.context.view_layer.objects.active = objects_by_role(second)["rig 0"]
    second["recover_body_notes"] = "replaced below"
    assert bpy.ops.recover_body.rerun() == {"FINISHED"}
    assert starts() == [100, 40] and scene.collection.children[1]["recover_body_notes"] != "replaced below"


def test_a_folder_of_pictures_lies_behind_the_camera(bpy, addon, tmp_path):
    """Whatever number it begins with: Blender itself would look for number 1 to measure it."""
    from recover_body.addon.background import footage_behind
    from recover_body.addon.sources import source_from_file
    from recover_body.wire.messages import FrameRange

    pictures = numbered_pictures(bpy, tmp_path, 30, 5)
    source = replace(source_from_file(str(tmp_path)), frames=FrameRange(31, 33))
    assert footage_behind(source, 2 * WIDTH, HEIGHT) is None and not bpy.data.images
    image = footage_behind(source, WIDTH, HEIGHT)
    assert image.source == "SEQUENCE" and Path(image.filepath) == pictures[1]
    assert footage_behind(source, WIDTH, HEIGHT) == image
