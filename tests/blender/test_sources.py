# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips, clips and sequences: the frames that are asked for, and where they lie, are what Blender itself shows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recover_body.addon.errors import SourceError
from recover_body.wire.messages import FrameRange

from .movies import WIDTH, _strips, number_shown, numbered_movie, numbered_pictures

COUNT = 40


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    return numbered_movie(bpy, tmp_path_factory.mktemp("movie") / "bars 25.mp4", COUNT, 25)


def add_movie(bpy, movie, start=10):
    scene = bpy.context.scene
    scene.render.fps = 25
    return scene, _strips(scene).new_movie("bars", str(movie), channel=1, frame_start=start)


def arrange(strip, **times):
    """Set times by the names they have from Blender 5.1 on; the names before that crash nothing, but end with 6.0."""
    older = {
        "content_start": "frame_start",
        "left_handle_offset": "frame_offset_start",
        "right_handle_offset": "frame_offset_end",
        "content_trim_start": "animation_offset_start",
        "content_trim_end": "animation_offset_end",
        "duration": "frame_final_duration",
    }
    for name, value in times.items():
        setattr(strip, name if hasattr(strip, name) else older[name], value)


def assert_as_shown(bpy, strip, scene, folder, frames=()):
    """The strip's source agrees with Blender at these frames of the timeline (default: the first, the last, and one in
    the middle), and its range is what is shown."""
    from recover_body.addon.compat import times_of_strip
    from recover_body.addon.source_strip import source_from_strip
    from recover_body.addon.sources import frame_shown

    source, times = source_from_strip(strip, scene), times_of_strip(strip)
    for frame in frames or (times.left, (times.left + times.right) // 2, times.right - 1):
        shown = number_shown(bpy, scene, frame, folder)
        assert frame_shown(source, scene) == shown, f"at frame {frame}"
    ends = [number_shown(bpy, scene, f, folder) for f in (times.left, times.right - 1)]
    assert (source.frames.first, source.frames.last) == tuple(sorted(ends))
    back = source.timeline.to_scene([source.frames.first, source.frames.last])
    assert min(back) >= times.left - 1 and max(back) <= times.right
    return source


def test_a_whole_movie_strip(bpy, movie, tmp_path):
    scene, strip = add_movie(bpy, movie)
    source = assert_as_shown(bpy, strip, scene, tmp_path, [10, 30, 49])
    assert source.path == str(movie) and source.timeline.is_one_to_one and not source.timeline.sets_time


def test_a_trimmed_and_moved_strip(bpy, movie, tmp_path):
    scene, strip = add_movie(bpy, movie)
    arrange(strip, content_start=100, left_handle_offset=6, right_handle_offset=4)
    arrange(strip, content_trim_start=3, content_trim_end=2)
    assert_as_shown(bpy, strip, scene, tmp_path)


def test_a_strip_that_runs_backwards(bpy, movie, tmp_path):
    scene, strip = add_movie(bpy, movie)
    strip.use_reverse_frames = True
    arrange(strip, content_trim_start=5, left_handle_offset=3)
    source = assert_as_shown(bpy, strip, scene, tmp_path)
    assert source.timeline.scene[0] > source.timeline.scene[-1]


def in_sequencer(bpy, scene):
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    region = next(r for r in area.regions if r.type == "WINDOW")
    return bpy.context.temp_override(window=window, area=area, region=region, scene=scene)


def needs_a_sequencer(bpy):
    if bpy.app.version >= (5, 0):
        pytest.skip("The module of Blender 5 ends when an editor is changed; Blender 4.5 runs this.")


@pytest.mark.parametrize("fps", [24, 50])
def test_a_strip_whose_rate_is_not_the_scenes(bpy, movie, tmp_path, fps):
    needs_a_sequencer(bpy)
    scene = bpy.context.scene
    scene.render.fps = fps
    scene.sequence_editor_create()
    with in_sequencer(bpy, scene):
        bpy.ops.sequencer.movie_strip_add(
            filepath=str(movie),
            frame_start=10,
            channel=1,
            sound=False,
            use_framerate=False,
            adjust_playback_rate=True,
            fit_method="ORIGINAL",
        )
    strip = _strips(scene)[0]
    source = assert_as_shown(bpy, strip, scene, tmp_path, [10, 20, 37])
    assert not source.timeline.is_one_to_one


@pytest.mark.parametrize(("percent", "backwards"), [(200.0, False), (50.0, False), (200.0, True)])
def test_a_strip_that_plays_faster_or_slower(bpy, movie, tmp_path, percent, backwards):
    from recover_body.addon.source_strip import source_from_strip

    scene, strip = add_movie(bpy, movie)
    arrange(strip, content_trim_start=4)
    if hasattr(strip, "left_handle"):
        strip.retiming_keys.add(timeline_frame=20)
        strip.retiming_keys[1].remove()
        end = strip.retiming_keys[-1]
        end.timeline_frame = round(strip.left_handle + strip.duration * 100 / percent)
    else:  # where adding a key crashes the module
        needs_a_sequencer(bpy)
        with in_sequencer(bpy, scene):
            scene.sequence_editor.active_strip, strip.select = strip, True
            bpy.ops.sequencer.retiming_show()
            bpy.ops.sequencer.retiming_segment_speed_set(speed=percent, keep_retiming=False)
    strip.use_reverse_frames = backwards
    assert_as_shown(bpy, strip, scene, tmp_path)

    strip.retiming_keys.add(timeline_frame=16)
    with pytest.raises(SourceError, match="several pieces") as told:
        source_from_strip(strip, scene)
    assert told.value.remedy


def test_a_strip_that_a_speed_effect_plays_is_refused(bpy, movie):
    from recover_body.addon.source_strip import source_from_strip

    scene, strip = add_movie(bpy, movie)
    known = {p.identifier for p in _strips(scene).bl_rna.functions["new_effect"].parameters}
    arguments = {"length": 40, "frame_end": 50, "input1": strip, "seq1": strip}
    arguments = {name: value for name, value in arguments.items() if name in known}
    effect = _strips(scene).new_effect(name="fast", type="SPEED", channel=2, frame_start=10, **arguments)
    with pytest.raises(SourceError, match="speed effect") as told:
        source_from_strip(strip, scene)
    assert told.value.remedy
    effect.mute = True
    assert source_from_strip(strip, scene).frames.last == COUNT


def test_a_strip_of_pictures(bpy, tmp_path):
    from recover_body.addon.source_strip import source_from_strip

    pictures = numbered_pictures(bpy, tmp_path, 17, 12)
    scene = bpy.context.scene
    strip = _strips(scene).new_image("bars", str(pictures[0]), channel=1, frame_start=5)
    for picture in pictures[1:]:
        strip.elements.append(picture.name)
    arrange(strip, duration=len(pictures))
    arrange(strip, left_handle_offset=2, content_trim_start=1)
    source = assert_as_shown(bpy, strip, scene, tmp_path)
    assert source.path == str(tmp_path / "shot_####.png")

    strip.elements[3].filename = "shot_0099.png"
    with pytest.raises(SourceError, match="not numbered"):
        source_from_strip(strip, scene)
    still = _strips(scene).new_image("one", str(pictures[0]), channel=2, frame_start=30)
    source = source_from_strip(still, scene)
    assert not source.is_clip and source.timeline.to_scene([1]) == 30


def test_other_strips_are_refused_with_a_remedy(bpy):
    from recover_body.addon.source_strip import source_from_strip

    scene = bpy.context.scene
    strips = _strips(scene)
    other = bpy.data.scenes.new("other")
    made = [strips.new_scene("a scene", other, channel=1, frame_start=1), strips.new_meta("a meta", 2, 1)]
    colour = (dict(length=10) if bpy.app.version >= (5, 0) else dict(frame_end=11)) | dict(frame_start=1)
    made.append(strips.new_effect(name="red", type="COLOR", channel=3, **colour))
    for strip, words in zip(made, ("scene", "several strips", "no footage"), strict=True):
        with pytest.raises(SourceError, match=words) as told:
            source_from_strip(strip, scene)
        assert told.value.remedy


def test_a_movie_clip_and_a_clip_of_pictures(bpy, movie, tmp_path):
    from recover_body.addon.source_clip import source_from_clip

    clip = bpy.data.movieclips.load(str(movie))
    clip.frame_start, clip.frame_offset = 101, 6
    source = source_from_clip(clip)
    assert source.timeline.to_source([101]) == 7 and source.frames == FrameRange(7, COUNT)
    pictures = numbered_pictures(bpy, tmp_path, 30, 5)
    sequence = bpy.data.movieclips.load(str(pictures[0]))
    assert sequence.source == "SEQUENCE"
    sequence.frame_start = 11
    source = source_from_clip(sequence)
    assert source.path.endswith("shot_####.png") and source.timeline.to_source([11]) == 30


def test_a_clip_shows_the_frame_we_say(bpy, movie, tmp_path):
    """Blender's compositor is asked what it shows."""
    from recover_body.addon.source_clip import source_from_clip
    from recover_body.addon.source_image import source_from_image

    scene = bpy.context.scene
    clip = bpy.data.movieclips.load(str(movie))
    clip.frame_start, clip.frame_offset = 4, 6
    image = bpy.data.images.load(str(movie))
    user = SimpleNamespace(frame_start=3, frame_duration=20, frame_offset=9)
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    if hasattr(scene, "compositing_node_group"):  # from 5.0
        tree = scene.compositing_node_group = bpy.data.node_groups.new("compositor", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        out = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        out = tree.nodes.new("CompositorNodeComposite")
    nodes = tree.nodes
    shown = {"CompositorNodeMovieClip": source_from_clip(clip), "CompositorNodeImage": source_from_image(image, user)}
    for kind, source in shown.items():
        node = nodes.new(kind)
        if kind.endswith("Clip"):
            node.clip = clip
        else:
            node.image = image
            for name in ("frame_start", "frame_duration", "frame_offset"):
                setattr(node, name, getattr(user, name))
        tree.links.new(node.outputs[0], out.inputs[0])
        for frame in (5, 12):
            assert number_shown(bpy, scene, frame, tmp_path) == source.timeline.to_source([frame])[0]


def test_images_that_move(bpy, movie, tmp_path):
    from recover_body.addon.source_image import source_from_image

    pictures = numbered_pictures(bpy, tmp_path, 30, 5)
    image = bpy.data.images.load(str(pictures[0]))
    image.source = "SEQUENCE"
    source = source_from_image(image)
    assert source.path.endswith("shot_####.png") and source.timeline.to_source([1]) == 30
    source = source_from_image(image, SimpleNamespace(frame_start=10, frame_duration=3, frame_offset=30))
    assert source.timeline.to_source([10]) == 31 and source.frames == FrameRange(31, 33)
    plain = source_from_image(bpy.data.images.load(str(movie)))
    assert plain.timeline.sets_time and plain.frames.last == COUNT
    tiled = bpy.data.images.new("tiles", 8, 8, tiled=True)
    viewed = SimpleNamespace(source="VIEWER", name="Render Result")
    for image in (tiled, viewed):
        with pytest.raises(SourceError) as told:
            source_from_image(image)
        assert told.value.remedy


def test_which_frames_are_asked_for(bpy):
    from recover_body.addon.sources import Source, narrowed
    from recover_body.addon.timeline import FrameMap

    scene = bpy.context.scene
    source = Source("x.mp4", is_clip=True, frames=FrameRange(11, 60), timeline=FrameMap.starting(11, 101))
    assert narrowed(source, "ALL", 2, scene).frames == FrameRange(11, 60, 2)
    scene.frame_set(105)
    assert narrowed(source, "CURRENT", 1, scene).frames == FrameRange(15, 15)
    scene.frame_start, scene.frame_end = 90, 110
    assert narrowed(source, "SCENE", 1, scene).frames == FrameRange(11, 20)
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 140, 400
    assert narrowed(source, "SCENE", 3, scene).frames == FrameRange(50, 60, 3)
    scene.frame_set(500)
    with pytest.raises(SourceError, match="not shown"):
        narrowed(source, "CURRENT", 1, scene)
    still = replace(source, is_clip=False, frames=FrameRange())
    assert narrowed(still, "CURRENT", 1, scene) == still


def test_keys_land_where_the_footage_shows(bpy, movie, tmp_path):
    """A take of a strip at another rate: poses, camera and background follow the map."""
    from recover_body.addon.scene import draw_recovery
    from recover_body.addon.timeline import FrameMap

    from .sample import camera, sample

    made = sample(3, frames=10, source=str(movie), track=camera(WIDTH, 64, frames=10))
    take = replace(made.recovery.take, frame_numbers=np.arange(11, 21))
    recovery = replace(made.recovery, take=take)
    timeline = FrameMap.starting(11, 100, 2.0)
    image = bpy.data.images.load(str(movie))
    scene = bpy.context.scene
    scene.render.fps, scene.frame_end = 30, 77
    drawing = draw_recovery(recovery, image, scene, timeline)
    assert (scene.render.fps, scene.frame_end) == (30, 77), "footage on the timeline leaves its time alone"
    rig, user = drawing.bodies[0].rig, drawing.camera.data.background_images[0].image_user
    for index in (0, 4, 9):
        scene.frame_set(100 + 2 * index)
        head = np.array(rig.matrix_world @ rig.pose.bones["head"].head)
        names = made.recovery.rigs[0].bone_names
        assert np.abs(head - made.joints_world[0, index, names.index("head")]).max() < 1e-3
        assert scene.frame_current - user.frame_start + 1 + user.frame_offset == 11 + index
    assert FrameMap.from_numbers(drawing.collection["recover_body_timeline"]) == timeline
