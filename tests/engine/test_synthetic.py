# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of synthetic pictures are true: benchmarks are worth no more than they are."""

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine.verdict import intersection_over_union
from recover_body.models.body_model import load_body
from recover_body.tests.synthetic import lifter_simulated, pictures
from recover_body.tests.synthetic.poses import load_clips
from recover_body.tests.synthetic.scenes import BUCKETS_M, labels, make_scene, share_inside
from recover_body.wire.frames import project


@pytest.fixture(scope="module")
def scenes():
    if not pictures.MOTIONS.exists():
        pytest.skip("Synthetic people need the motion data data/mocap in a folder `shared` next to the repository.")
    clips = load_clips(pictures.MOTIONS)
    return [make_scene(7, number, 128, clips) for number in range(3)]


def test_a_scene_depends_on_its_seed_and_number_alone(scenes):
    again = make_scene(7, 2, 128, load_clips(pictures.MOTIONS))
    for one, other in zip(scenes[2].actors, again.actors, strict=True):
        np.testing.assert_array_equal(one.clothed_world, other.clothed_world)
    np.testing.assert_array_equal(scenes[2].camera.T_world_camera, again.camera.T_world_camera)


def test_buckets_take_turns_and_the_person_is_in_the_picture(scenes):
    for scene, (low_m, high_m) in zip(scenes, BUCKETS_M.values(), strict=True):
        joints_cam = scene.camera.see(scene.actors[0].joints_world)
        assert low_m <= joints_cam[0, 2] < high_m
        assert share_inside(joints_cam[:22], scene.camera) > 0.4


def test_pose_and_translation_give_the_labelled_joints_and_vertices(scenes):
    for scene in scenes:
        truth = labels(scene)
        for person, rest in enumerate(truth["rest_vertices"]):
            body = replace(scene.actors[person].body, v_template=rest)
            one = slice(person, person + 1)
            out = body.forward(
                truth["pose"][one], np.zeros((1, 0)), truth["expression"][one], truth["translation"][one]
            )
            np.testing.assert_allclose(out.joints[0], truth["joints_cam"][person], atol=1e-5)
            np.testing.assert_allclose(out.vertices[0], truth["vertices_cam"][person], atol=1e-5)


def test_masks_hold_the_body_and_are_nobody_elses(scenes):
    for scene in scenes:
        truth = labels(scene)
        assert not (truth["masks"].sum(0) > 1).any()
        spine_px = project(truth["joints_cam"][0, [0, 3, 6]], truth["intrinsics"])
        inside = ((spine_px >= 0) & (spine_px < (scene.camera.width, scene.camera.height))).all(1)
        columns, rows = spine_px[inside].astype(int).T
        assert truth["body_masks"][0, rows, columns].all()


def test_bodies_leave_the_shape_space(scenes):
    """Otherwise the benchmark would ask for nothing but what the fit can say."""
    for scene in scenes:
        rest = scene.actors[0].body.v_template.astype(np.float64)
        neutral = load_body("neutral")
        directions = neutral.shapedirs.reshape(-1, neutral.beta_count)
        difference = (rest - neutral.v_template).ravel()
        coefficients = np.linalg.lstsq(directions, difference, rcond=None)[0]
        left_m = np.linalg.norm((difference - directions @ coefficients).reshape(-1, 3), axis=1)
        assert left_m.mean() > 0.004


def test_blender_draws_what_the_labels_say(tmp_path, scenes):
    """The alpha of a picture of the people alone is their mask."""
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("bpy", reason="Blender's module is not installed: run `python dev.py setup`.")
    pictures.render(tmp_path, 1, 7, 128, 300, "--cutout")
    drawn = cv2.imread(str(tmp_path / "0000.png"), cv2.IMREAD_UNCHANGED)[..., 3] > 127
    truth = pictures.Picture(tmp_path / "0000.png").truth
    assert intersection_over_union(drawn, truth["masks"].any(0)) > 0.97


@pytest.mark.usefixtures("scenes")  # which skips without the motion data
def test_simulated_landmarks_lie_about_the_joints_they_name():
    rows = lifter_simulated.simulated(np.random.default_rng(0), 40)
    joints_px = rows["focal_px"][:, None, None] * rows["joints_cam"][..., :2] / rows["joints_cam"][..., 2:]
    joints_px = joints_px + rows["picture_size"][:, None] / 2
    size_px = np.linalg.norm(rows["box_px"][:, 2:] - rows["box_px"][:, :2], axis=1)
    for landmark, joint in ((25, 4), (26, 5), (15, 20), (16, 21)):  # knees and wrists
        seen = rows["visibility"][:, landmark] > 0.8
        off = np.linalg.norm(rows["points_px"][:, landmark] - joints_px[:, joint], axis=1) / size_px
        assert seen.sum() > 20 and np.median(off[seen]) < 0.03
