# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras that Blender knows, as the engine is told of them: drawn, read back, the same pinhole in the same place."""

import numpy as np
import pytest

from recover_body.wire.frames import project, transform
from recover_body.wire.messages import FrameRange

from ..addon.test_client import write_picture
from .sample import camera, level_camera, sample
from .test_jobs import addon  # noqa: F401 - a fixture


@pytest.fixture
def footage(bpy):
    """A source of any size; `size` is asked of Blender."""
    from recover_body.addon.sources import Source
    from recover_body.addon.timeline import FrameMap

    def make(width, height, frames=1, timeline=None):
        bpy.data.images.new("footage", width, height)
        timeline = timeline or FrameMap.starting(1, 1)
        return Source("footage", b"", "footage", is_clip=True, frames=FrameRange(1, frames), timeline=timeline)

    return make


@pytest.mark.parametrize(
    "track",
    [
        camera(640, 480, 700.0),
        camera(480, 640, 900.0, (31.0, -17.0)),
        camera(640, 480, 500.0, (-40.0, 22.0), aspect=1.2),
        camera(640, 480, 700.0, (10.0, 5.0), frames=6),
    ],
    ids=["landscape", "off-centre portrait", "oblong pixels", "moving and zooming"],
)
def test_a_drawn_camera_is_read_back(bpy, footage, track):
    from recover_body.addon.given_camera import given_camera
    from recover_body.addon.scene import draw_recovery
    from recover_body.addon.timeline import FrameMap

    frames = len(track.fx_px)
    timeline = FrameMap.starting(1, 41, 2.0)
    made = sample(1, frames=frames, track=track)
    scene = bpy.context.scene
    draw_recovery(made.recovery, None, scene, timeline)
    scene.frame_set(7)
    source = footage(track.width, track.height, frames, timeline)
    given = given_camera("SCENE", source, scene)
    assert scene.frame_current == 7
    assert len(given.frame_numbers) == frames
    for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
        assert np.allclose(getattr(given.track, name), getattr(track, name), rtol=1e-4), name
    assert np.allclose(given.track.T_world_camera, track.T_world_camera, atol=1e-5)
    locked = given_camera("SCENE", source, scene, lock_lens=True)
    assert np.ptp(locked.track.fx_px) == 0


def test_a_parented_camera_with_a_sensor_of_its_own(bpy, footage):
    from recover_body.addon.given_camera import given_camera

    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_fit, data.sensor_width, data.sensor_height = 50.0, "VERTICAL", 36.0, 24.0
    scene.camera = bpy.data.objects.new("camera", data)
    rail = bpy.data.objects.new("rail", None)
    rail.location, rail.scale, scene.camera.parent = (1.0, 2.0, 3.0), (2.0, 2.0, 2.0), rail
    for each in (rail, scene.camera):
        scene.collection.objects.link(each)
    scene.camera.location = (0.5, 0.0, 0.0)
    bpy.context.view_layer.update()
    given = given_camera("SCENE", footage(1500, 1000), scene)
    assert given.track.fx_px[0] == pytest.approx(50 / 24 * 1000)
    assert np.allclose(given.track.T_world_camera[0, :3, 3], (2.0, 2.0, 3.0))
    rail.keyframe_insert("location", frame=1)
    assert len(given_camera("SCENE", footage(1500, 1000, 5), scene).frame_numbers) == 5


def test_reading_a_moving_camera_disturbs_nothing(bpy, footage):
    """What is posed but not keyed stays, nobody's handlers run, the scene stays where it is; targets count."""
    from recover_body.addon.given_camera import given_camera

    scene, frames = bpy.context.scene, []
    scene.frame_set(3)
    rail, target = (bpy.data.objects.new(name, None) for name in ("rail", "target"))
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.camera.parent = rail
    aim = scene.camera.constraints.new("TRACK_TO")
    aim.target, aim.track_axis, aim.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    for each in (rail, target, scene.camera):
        scene.collection.objects.link(each)
    rail.location = (0.0, -5.0, 1.0)
    rail.keyframe_insert("location", frame=1)
    rail.location = (9.0, -5.0, 1.0)
    rail.keyframe_insert("location", frame=10)
    target.location = (0.0, 0.0, 1.0)
    target.keyframe_insert("location", frame=1)
    bpy.context.view_layer.update()
    rail.location, target.location = (0.0, 0.0, 7.0), (5.0, 5.0, 5.0)
    before = [(o.name, tuple(o.location)) for o in bpy.data.objects]
    bpy.app.handlers.frame_change_pre.append(lambda scene, *_: frames.append(scene.frame_current))
    try:
        given = given_camera("SCENE", footage(64, 64, 10), scene)
    finally:
        bpy.app.handlers.frame_change_pre.pop()
    places = given.track.T_world_camera[:, :3, 3]
    assert np.allclose(places[[0, 9]], [[0, -5, 1], [9, -5, 1]], atol=1e-5)
    assert np.allclose(given.track.T_world_camera[9, :3, 2], np.array([-9, 5, 0]) / np.hypot(9, 5), atol=1e-5)
    assert (scene.frame_current, frames) == (3, [])
    assert [(o.name, tuple(o.location)) for o in bpy.data.objects] == before
    assert list(bpy.data.scenes) == [scene] and not [o for o in bpy.data.objects if len(o.users_scene) != 1]


@pytest.mark.parametrize(
    ("model", "coefficients", "expected_px"),
    [
        ("POLYNOMIAL", {"k1": -0.11}, 0.11 * 1.25**3 * 320),  # r = 400 px of 320 px focal length
        ("DIVISION", {"division_k1": 0.1}, (1 - 1 / (1 + 0.1 * 1.25**2)) * 400),
        ("NUKE", {"nuke_k1": 0.1}, (1 - 1 / (1 + 0.1 * 1.25**2)) * 400),  # half the width is the unit, also 320 px
        ("BROWN", {"brown_k2": 0.1}, 0.1 * 1.25**5 * 320),
        ("POLYNOMIAL", {"k1": 1e-4}, None),
    ],
)
def test_a_solved_lens_that_bends_lines_is_told(bpy, tmp_path, model, coefficients, expected_px):
    from recover_body.addon.lens_distortion import warning_about
    from recover_body.addon.operators import notes_about
    from recover_body.addon.source_clip import source_from_clip

    picture = bpy.data.images.new("picture", 640, 480)
    picture.file_format, picture.filepath_raw = "PNG", str(tmp_path / "picture_1.png")
    picture.save()
    clip = bpy.data.movieclips.load(picture.filepath_raw)
    lens = clip.tracking.camera
    lens.distortion_model, lens.focal_length_pixels = model, 320.0
    lens.principal_point_pixels = (320.0, 240.0)
    for name, value in coefficients.items():
        setattr(lens, name, value)
    assert warning_about(clip) == (pytest.approx(expected_px, rel=1e-4) if expected_px else None)
    told = " ".join(notes_about(source_from_clip(clip), "CLIP"))
    assert (f"{round(expected_px)} pixels" in told) if expected_px else told == ""
    assert notes_about(source_from_clip(clip), "AUTO") == []


def test_what_cannot_be_given_is_told(bpy, footage):
    from recover_body.addon.errors import SourceError
    from recover_body.addon.given_camera import given_camera

    scene, source = bpy.context.scene, footage(64, 64)
    with pytest.raises(SourceError, match="no perspective camera"):
        given_camera("SCENE", source, scene)
    with pytest.raises(SourceError, match="belongs to a movie clip"):
        given_camera("CLIP", source, scene)


def test_a_solved_clip(bpy, tmp_path):
    """Tracks of known points through a known, moving camera: Blender solves it, and what we read fits the points."""
    from recover_body.addon.errors import SourceError
    from recover_body.addon.given_camera import given_camera
    from recover_body.addon.source_clip import source_from_clip

    from .movies import HEIGHT, WIDTH, numbered_pictures

    if bpy.app.version >= (5, 0):
        pytest.skip("The module of Blender 5 ends when an editor is changed; Blender 4.5 runs this.")
    count = 12
    pictures = numbered_pictures(bpy, tmp_path, 1, count)
    clip = bpy.data.movieclips.load(str(pictures[0]))
    clip.frame_start = 21
    source = source_from_clip(clip)
    with pytest.raises(SourceError, match="not solved"):
        given_camera("CLIP", source, bpy.context.scene)

    lens = camera(WIDTH, HEIGHT, 150.0).intrinsics(0)
    poses = np.tile(level_camera(1.4, 0.0), (count, 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = np.linspace(-1.0, 1.0, count), np.linspace(0.0, 0.7, count) ** 2
    points = np.random.default_rng(4).uniform((-2, 5, 0.8), (2, 12, 2.0), (40, 3))
    seen = np.array([project(transform(np.linalg.inv(pose), points), lens) for pose in poses])
    for index in range(len(points)):
        track = clip.tracking.tracks.new(name=f"p{index}", frame=1)
        for frame in range(count):
            x, y = seen[frame, index] / (WIDTH, HEIGHT)
            track.markers.insert_frame(frame + 1, co=(x, 1 - y))
    clip.tracking.camera.focal_length_pixels = 150.0
    settings = clip.tracking.settings
    settings.use_keyframe_selection = True
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "CLIP_EDITOR"
    area.spaces.active.clip = clip
    with bpy.context.temp_override(window=window, area=area, region=area.regions[-1]):
        bpy.ops.clip.solve_camera()
    assert clip.tracking.reconstruction.is_valid
    assert clip.tracking.reconstruction.average_error < 1e-3

    given = given_camera("CLIP", source, bpy.context.scene)
    assert list(given.frame_numbers) == list(range(1, count + 1))
    bundles = np.array([t.bundle for t in clip.tracking.tracks if t.has_bundle])
    shown = np.array([i for i, t in enumerate(clip.tracking.tracks) if t.has_bundle])
    for row in (0, 5, count - 1):
        pose = given.track.T_world_camera[row]
        found = project(transform(np.linalg.inv(pose), bundles), given.track.intrinsics(row))
        assert np.abs(found - seen[row, shown]).max() < 0.05, "solved points lie on their markers"


def test_people_come_to_stand_before_the_scenes_own_camera(bpy, addon, tmp_path):  # noqa: F811
    """The camera stays the scene's, and through it the person is where the (fake) backend saw one: in the middle."""
    scene, settings = bpy.context.scene, bpy.context.scene.recover_body
    mine = bpy.data.objects.new("mine", bpy.data.cameras.new("mine"))
    scene.collection.objects.link(mine)
    mine.location, mine.rotation_euler, mine.data.lens = (3.0, -5.0, 1.2), (np.radians(90), 0.0, np.radians(30)), 40.0
    scene.camera, settings.focal = mine, "SCENE"
    bpy.context.view_layer.update()
    settings.filepath = str(write_picture(tmp_path / "photo.png"))
    assert bpy.ops.recover_body.recover() == {"FINISHED"}
    assert scene.camera == mine and tuple(mine.location) == (3.0, -5.0, pytest.approx(1.2))
    drawn = next(o for o in scene.objects if o.get("recover_body_role") == "camera")
    assert np.allclose(drawn.matrix_world, mine.matrix_world, atol=1e-5)
    assert drawn.data.lens / drawn.data.sensor_width == pytest.approx(40.0 / 36.0, rel=1e-5)
    rig = next(o for o in scene.objects if o.type == "ARMATURE")
    pelvis = np.array(mine.matrix_world.inverted() @ (rig.matrix_world @ rig.pose.bones["pelvis"].head))
    assert pelvis[2] < -1 and np.abs(pelvis[:2] / pelvis[2]).max() < 0.1
