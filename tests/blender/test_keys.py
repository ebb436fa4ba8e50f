# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer keys, and where the character is all the same: measured in Blender, through the camera, in every frame."""

import numpy as np
import pytest

from recover_body.addon.key_math import interpolate

from .sample import camera, sample
from .test_scene import draw

FRAMES = 40


@pytest.fixture
def drawing(bpy):
    """Somebody who swings the limbs, before a camera that travels."""
    made = sample(3, frames=FRAMES, track=camera(frames=FRAMES))
    pose = made.recovery.take.people[0].pose
    times = np.linspace(0, 2 * np.pi, FRAMES)
    for joint, speed in ((1, 1), (2, 1.5), (4, 2), (16, 1), (17, 2.5), (18, 3), (0, 0.5)):
        pose[:, joint] += 0.4 * np.sin(speed * times)[:, None]
    return draw(made)


def ends_px(bpy, drawing):
    """(N, ends, 2) heads and tails of all bones in the picture, as Blender evaluates them."""
    from bpy_extras.object_utils import world_to_camera_view

    scene, rig = bpy.context.scene, drawing.bodies[0].rig
    size = scene.render.resolution_x, scene.render.resolution_y
    found = []
    drawing.bodies[0].mesh.hide_viewport = True
    for frame in range(1, FRAMES + 1):
        scene.frame_set(frame)
        ends = [rig.matrix_world @ end for b in rig.pose.bones if b.name != "root" for end in (b.head, b.tail)]
        found.append([world_to_camera_view(scene, drawing.camera, end)[:2] for end in ends])
    return np.array(found) * size


def key_count(bpy, rig):
    from recover_body.addon import compat

    return sum(len(c.keyframe_points) for c in compat.curves_of(rig))


@pytest.mark.parametrize("budget_px", [0.5, 3.0])
def test_the_budget_is_kept(bpy, drawing, budget_px):
    from recover_body.addon.key_reduction import reduce_character

    before = ends_px(bpy, drawing)
    rig = drawing.bodies[0].rig
    count = key_count(bpy, rig)
    result = reduce_character(rig, drawing.camera, bpy.context.scene, budget_px)
    error = np.linalg.norm(ends_px(bpy, drawing) - before, axis=-1).max()
    assert error <= budget_px * 1.01 + 0.01
    assert error == pytest.approx(result.error_px, abs=0.02), "what is told is what is seen"
    assert result.keys_before == count and result.keys_after == key_count(bpy, rig)
    assert result.keys_after < count / (3 if budget_px < 1 else 5)


def test_a_larger_budget_needs_fewer_keys(bpy, drawing):
    from recover_body.addon.key_reduction import reduce_character

    rig, counts = drawing.bodies[0].rig, []
    for budget_px in (0.3, 1.0, 4.0):
        counts.append(reduce_character(rig, drawing.camera, bpy.context.scene, budget_px).keys_after)
    assert counts[0] > counts[1] > counts[2]


def test_blender_draws_the_curves_that_were_measured(bpy, drawing):
    """Between its keys a curve is the cubic that the mathematics says."""
    from recover_body.addon import compat
    from recover_body.addon.scene_animation import Curves

    rng = np.random.default_rng(0)
    times, values, slopes = np.arange(1.0, 21), rng.normal(0, 1, (20, 3)), rng.normal(0, 1, (20, 3))
    keyed = np.zeros(20, bool)
    keyed[[0, 3, 4, 11, 19]] = True
    hat = bpy.data.objects.new("hat", None)
    action = bpy.data.actions.new("hat")
    Curves(*compat.action_curves(action, hat)).key_smooth("location", times[keyed], values[keyed], slopes[keyed])
    expected = interpolate(times, values[:, None], slopes[:, None], keyed[:, None])[:, 0]
    found = np.array([[c.evaluate(t) for c in compat.curves_of(hat)] for t in times])
    assert np.abs(found - expected).max() < 1e-4


def test_a_still_has_no_keys_to_spare(bpy):
    from recover_body.addon.errors import DrawError
    from recover_body.addon.key_reduction import reduce_character

    drawing = draw(sample(1))
    with pytest.raises(DrawError, match="no motion"):
        reduce_character(drawing.bodies[0].rig, drawing.camera, bpy.context.scene, 1.0)


def test_layers_on_top_of_the_take(bpy, drawing):
    """Pushed down, the character moves as before, and an artist's action adds to it."""
    from recover_body.addon.errors import DrawError
    from recover_body.addon.nla import push_down

    rig = drawing.bodies[0].rig
    before = ends_px(bpy, drawing)
    assert push_down([rig, drawing.bodies[0].mesh.data.shape_keys]) == 1
    assert rig.animation_data.action is None and len(rig.animation_data.nla_tracks) == 1
    assert np.abs(ends_px(bpy, drawing) - before).max() < 0.01
    with pytest.raises(DrawError, match="no action"):
        push_down([rig])
