# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body synth`: what the labels say is what the pictures show, and a seed makes the same pictures again."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="Training data need torch: run `python dev.py setup`.")

from recover_body.engine.__main__ import main
from recover_body.engine.raster import silhouette
from recover_body.engine.synth import scenes
from recover_body.engine.synth.pictures import sample
from recover_body.engine.synth.poses import BODY_JOINTS, Poses
from recover_body.engine.training.bodies import keypoint_map
from recover_body.engine.training.data.motions import read_sets
from recover_body.engine.training.data.tar_set import TarSet
from recover_body.models.body_model import load_body
from recover_body.models.pose_prior import MIRROR
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import FULL_FRAME_MM, project

SIDE_PX = 128


@pytest.fixture(scope="module")
def samples():
    """Some of every kind: ordinary, close, and one with two people."""
    made = [sample(5, number, SIDE_PX, Poses(), share) for number, share in enumerate((0, 0, 0, 1, 1, 1))]
    numbers = iter(range(100, 140))
    made.append(next(one for one in (sample(5, n, SIDE_PX, Poses(), 0) for n in numbers) if len(one.labels) == 2))
    return made


def posed(labels, n):
    """The labelled body as training and evaluation pose it."""
    body = load_body(str(labels.body[n]))
    return body, body.forward(labels.pose[n][None], labels.betas[n][None], translation=labels.translation[n][None])


def test_the_labelled_body_lies_in_its_mask(samples):
    for one in samples:
        height, width = one.mask.shape
        for n in range(len(one.labels)):
            body, out = posed(one.labels, n)
            drawn = silhouette(out.vertices[0], body.faces, one.labels.intrinsics, width, height)
            around = cv2.dilate((one.mask == n + 1).astype(np.uint8), np.ones((3, 3))) > 0
            others = (one.mask > 0) & (one.mask != n + 1)
            assert (around | others)[drawn].mean() > 0.98  # clothes cover the body
            assert drawn.sum() > 0.5 * (one.mask == n + 1).sum()


def test_the_picture_shows_somebody_where_the_mask_is(samples):
    """The outline is an edge of the picture: colours differ across it more than beside it."""
    for one in samples:
        person = (one.mask > 0).astype(np.uint8)
        inner, outer = cv2.erode(person, np.ones((5, 5))) > 0, cv2.dilate(person, np.ones((5, 5))) == 0
        image = one.image_rgb.astype(float)
        assert np.linalg.norm(image[inner].mean(0) - image[outer].mean(0)) > 5


def test_keypoints_and_pelvis_are_those_of_the_labelled_body(samples):
    for one in samples:
        labels, (height, width) = one.labels, one.mask.shape
        for n in range(len(labels)):
            body, out = posed(labels, n)
            keypoints = keypoint_map(body)(out.vertices, out.joints)[0]
            np.testing.assert_allclose(labels.keypoints_3d[n, :, :3], keypoints, atol=2e-5)
            pixels = project(keypoints, labels.intrinsics)
            seen = labels.keypoints_2d[n, :, 2] > 0
            np.testing.assert_allclose(labels.keypoints_2d[n, seen, :2], pixels[seen], atol=0.02)
            assert (seen == ((pixels >= 0) & (pixels <= (width, height))).all(1)).mean() > 0.97
            np.testing.assert_allclose(labels.pelvis_cam[n], out.joints[0, 0], atol=1e-5)


def test_boxes_are_tight_about_what_is_seen(samples):
    for one in samples:
        for n, (x1, y1, x2, y2) in enumerate(one.labels.box_px.astype(int)):
            mask = one.mask == n + 1
            assert mask[y1:y2, x1:x2].sum() == mask.sum()
            assert all(edge.any() for edge in (mask[y1, :], mask[y2 - 1, :], mask[:, x1], mask[:, x2 - 1]))


def test_cameras_and_distances_are_within_what_is_promised(samples):
    for one in samples:
        focal_px = one.labels.intrinsics[0, 0]
        lens_mm = focal_px / max(one.mask.shape) * FULL_FRAME_MM
        assert 18 <= lens_mm <= 85 and lens_mm == pytest.approx(one.lens_mm, rel=1e-6)
        assert (one.labels.pelvis_cam[:, 2] >= 0.5).all() and (one.labels.pelvis_cam[:, 2] <= 8).all()
        for n in range(len(one.labels)):
            assert posed(one.labels, n)[1].vertices[0, :, 2].min() > scenes.NEAREST_M - 0.005  # under the clothes
    for close in samples[3:6]:
        assert close.labels.pelvis_cam[0, 2] <= 1.2 and close.lens_mm <= 35


def test_poses_come_from_the_motions_where_there_are_some(tmp_path):
    pose = np.zeros((6, 55, 3), np.float32)
    pose[:, 18] = (0.0, -1.3, 0.0)  # left elbow
    np.savez(tmp_path / "m.npz", poses=pose, clip_start=[0, 6], clip_name=["bend"])
    source, rng = Poses(tuple(read_sets(tmp_path))), np.random.default_rng(0)
    recorded = pose[0, 1:22]
    for _ in range(4):
        _, drawn = source.draw(rng)
        off = [np.abs(drawn - one).max() for one in (recorded, recorded[MIRROR] * (1, -1, -1))]
        assert drawn.shape == (BODY_JOINTS, 3) and min(off) < 0.3


def test_the_prior_bends_knees_and_elbows_their_way():
    rng, source = np.random.default_rng(1), Poses()
    drawn = np.array([source.draw(rng)[1] for _ in range(50)])
    assert (drawn[:, [3, 4], 0] >= 0).all() and (drawn[:, 17, 1] <= 0).all() and (drawn[:, 18, 1] >= 0).all()
    assert drawn.std(0).max() > 0.2


@pytest.mark.parametrize("layout", ["ours", "amass"])
def test_who_lies_in_the_recording_lies_in_the_picture_whatever_the_heading(tmp_path, layout):
    on_the_back, turned = rotvec_to_matrix(np.array([-np.pi / 2, 0, 0])), rotvec_to_matrix(np.array([0, 2.0, 0]))
    root = turned @ on_the_back
    if layout == "amass":  # z points up there
        root = rotvec_to_matrix(np.array([np.pi / 2, 0, 0])) @ root
    poses = np.zeros((20, 52, 3), np.float32)
    poses[:, 0] = matrix_to_rotvec(root)
    fields = {"poses": poses.reshape(20, -1)}
    if layout == "ours":
        fields = {"poses": poses, "clip_start": [0, 20], "clip_name": ["sleep"]}
    np.savez(tmp_path / "m.npz", **fields)
    drawn, _ = Poses(tuple(read_sets(tmp_path))).draw(np.random.default_rng(0))
    np.testing.assert_allclose(rotvec_to_matrix(drawn)[:, 1:], [[0, 0], [0, 1], [1, 0]], atol=1e-5)  # belly up


def test_without_recordings_a_tenth_is_not_upright():
    rng, source = np.random.default_rng(2), Poses()
    up = np.array([rotvec_to_matrix(source.draw(rng)[0])[1, 1] for _ in range(300)])
    assert 0.05 < (up < 0.6).mean() < 0.16 and (up < -0.5).any()


def test_several_processes_draw_the_same_pictures(tmp_path):
    for workers in ("1", "2"):
        given = ["--out", str(tmp_path / workers), "--count", "3", "--size", "64", "--workers", workers]
        assert main(["synth", *given]) == 0
    one, two = (tmp_path / workers / "synth-000000.tar" for workers in ("1", "2"))
    assert one.read_bytes() == two.read_bytes()


def test_the_command_makes_the_same_again_and_training_reads_it(tmp_path, capsys):
    for name in ("one", "other"):
        given = ["--out", str(tmp_path / name), "--count", "3", "--size", "96", "--seed", "4", "--per-shard", "2"]
        assert main(["synth", *given, "--json"]) == 0
    made = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert made["pictures"] == 3 and made["people"] >= 3
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["recipe.json", "sheet.png", "synth-000000.tar", "synth-000001.tar"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    dataset = TarSet(tmp_path / "one")
    assert len(dataset) == 3 and not dataset.problems
    assert sum(len(dataset.people(n)) for n in range(3)) >= 3
    evaluated = ["--dataset", "synth", "--data", str(tmp_path / "one"), "--backend", "fake", "--limit", "2"]
    assert main(["evaluate", *evaluated]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--count", "0"], "--count must be at least 1"),
        (["--count", "1", "--close-ups", "3"], "--close-ups is a share"),
        (["--count", "1", "--motions", "nowhere"], "There is no nowhere"),
    ],
)
def test_wrong_usage_is_told(arguments, words, tmp_path, capsys):
    assert main(["synth", "--out", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_nothing_is_mixed_into_an_older_set(tmp_path, capsys):
    (tmp_path / "synth-000007.tar").write_bytes(b"")
    assert main(["synth", "--out", str(tmp_path), "--count", "1", "--size", "64"]) == 2
    assert "already" in capsys.readouterr().err
