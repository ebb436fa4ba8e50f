# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the published layouts, on files made here in those layouts; losses and priors that are not in fixtures."""

from __future__ import annotations

import gzip
import json
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recover_body.engine.errors import BadRequest
from recover_body.engine.training import adversary, squares, tals
from recover_body.engine.training.bodies import (
    PoseBody,
    TrainingBody,
    UnusableBody,
    keypoint_map,
    open_body,
    read_extra_regressor,
    smpl_map,
)
from recover_body.engine.training.data import motions, sources
from recover_body.engine.training.data.annotations import EMDB, THREEDPW, BedlamSet, BenchmarkSet
from recover_body.engine.training.data.bad_data import BadSample, Tally
from recover_body.engine.training.data.draws import PictureDraws
from recover_body.engine.training.data.human_data import SMPLX_PELVIS_M, HumanDataSet
from recover_body.engine.training.data.plausible import Plausible, PlausibleSet
from recover_body.engine.training.data.tar_set import TarSet
from recover_body.models.body_model import load_body
from recover_body.models.pose_prior import MIRROR
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.models.smpl_joints import keypoints_44
from recover_body.tests import fill_weights
from recover_body.tests.engine import training_samples
from recover_body.tests.parity.standins import smpl_body
from recover_body.wire.frames import project

FIXTURES = Path(__file__).parents[1] / "fixtures"


# ---- motions ----


def test_each_motion_layout_gives_the_same_joints(tmp_path):
    frames = np.random.default_rng(0).normal(0, 0.3, (100, 52, 3)).astype(np.float32)
    (tmp_path / "CMU").mkdir()
    np.savez(
        tmp_path / "CMU" / "01_poses.npz", poses=frames.reshape(100, -1), mocap_frame_rate=120.0, betas=np.zeros(16)
    )
    np.savez(tmp_path / "CMU" / "shape.npz", betas=np.zeros(16), gender="male")
    np.savez(tmp_path / "MOYO.npz", body_pose=frames[:, 1:24].reshape(100, -1))
    np.savez(tmp_path / "train_KIT.npz", pose_body=frames[:, 1:22].reshape(100, -1), betas=np.zeros((100, 10)))
    np.savez(tmp_path / "ours.npz", poses=frames[:, :22], clip_start=[0, 40, 100], clip_name=["walk_1", "run_1"])
    sets = {one.name: one for one in motions.read_sets(tmp_path)}
    assert {name: len(one) for name, one in sets.items()} == {"CMU": 6, "MOYO": 16, "KIT": 100, "ours": 100}
    np.testing.assert_array_equal(sets["CMU"].poses, frames[20:80:10, 1:22])
    np.testing.assert_array_equal(sets["MOYO"].poses, frames[10:90:5, 1:22])
    np.testing.assert_array_equal(sets["KIT"].poses, sets["ours"].poses)
    weights = motions.weights_of(list(sets.values()), motions.RELEASED_WEIGHTS)
    assert weights.sum() == pytest.approx(1) and weights[list(sets).index("MOYO")] == weights.max()


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"poses": np.full((60, 156), np.nan)}, "not finite"),
        ({"poses": np.zeros((60, 30))}, "27 numbers, where 63"),
        ({"gender": np.array("male")}, "poses is missing"),
        ({"poses": np.zeros((9, 22, 3)), "clip_start": np.array([0, 5])}, "does not divide its 9 frames"),
    ],
)
def test_bad_motions_are_named_or_counted(tmp_path, arrays, words):
    np.savez(tmp_path / "bad.npz", **arrays)
    np.savez(tmp_path / "good.npz", pose_body=np.zeros((5, 63)))
    with pytest.raises(BadSample, match=rf"bad\.npz: .*{words}"):
        motions.read_sets(tmp_path)
    tally = Tally()
    assert [one.name for one in motions.read_sets(tmp_path, "skip", tally)] == ["good"] and len(tally) == 1


def test_a_spoilt_clip_is_left_out_alone(tmp_path):
    poses = np.arange(12.0)[:, None, None] * np.ones((1, 22, 3))
    poses[5, 3, 1] = np.nan
    np.savez(tmp_path / "clips.npz", poses=poses, clip_start=[0, 4, 8, 12], clip_name=["walk", "jump", "bow"])
    with pytest.raises(BadSample, match=r"clips\.npz, sample jump: poses has numbers that are not finite"):
        motions.read_sets(tmp_path)
    tally = Tally()
    (one,) = motions.read_sets(tmp_path, "skip", tally)
    assert len(tally) == 1 and one.clip_names == ("walk", "bow") and one.starts.tolist() == [0, 4, 8]
    assert one.poses[:, 0, 0].tolist() == one.roots[:, 0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_held_out_clips_are_of_the_same_actions_and_nobody_is_lost():
    names = (*(f"walk_{n}" for n in range(16)), *(f"run_{n}" for n in range(5)), *"abcdefgh")
    poses = np.arange(len(names) * 2)[:, None, None] * np.ones((1, 21, 3), np.float32)
    one = motions.PoseSet("clips", poses, np.arange(len(names) + 1) * 2, names, by_clip=True)
    (training,), (validation,) = motions.held_out([one])
    assert sorted(training.clip_names + validation.clip_names) == sorted(names)
    kinds = [name.split("_")[0] for name in validation.clip_names]
    assert kinds.count("walk") == 2 and kinds.count("run") == 1 and len(kinds) == 4
    everything = np.concatenate([training.poses, validation.poses])[:, 0, 0]
    np.testing.assert_array_equal(np.sort(everything), poses[:, 0, 0])


def test_a_batch_depends_on_its_number_alone_and_clips_count_alike():
    poses = np.r_[np.zeros((1, 21, 3)), np.ones((99, 21, 3))].astype(np.float32)
    one = motions.PoseSet("x", poses, np.array([0, 1, 100]), ("short", "long"), by_clip=True)
    draws = motions.PoseDraws((one,), np.ones(1), seed=4)
    np.testing.assert_array_equal(draws.batch(7, 64), draws.batch(7, 64))
    assert not np.array_equal(draws.batch(7, 64), draws.batch(8, 64))
    assert 0.4 < draws.batch(0, 1000).mean() < 0.6
    frames = motions.PoseDraws((replace(one, by_clip=False),), np.ones(1), seed=4)
    assert frames.batch(0, 1000).mean() > 0.95


def test_mirrored_poses_are_mirrored_bodies():
    body = PoseBody(load_body("neutral"), mesh_stride=500)
    pose = np.random.default_rng(1).normal(0, 0.5, (3, 21, 3)).astype(np.float32)
    joints, other = (
        body.joints(torch.from_numpy(rotvec_to_matrix(one))).numpy() for one in (pose, motions.mirrored(pose))
    )
    swap = [0, *(1 + joint for joint in squares.MIRRORED_BODY[:21])]
    # The shipped body is symmetric to within millimetres.
    np.testing.assert_allclose(other[:, swap] * (-1, 1, 1), joints, atol=5e-3)


def test_the_pose_body_is_the_body_model():
    model = load_body("neutral")
    body = PoseBody(model, mesh_stride=97)
    pose = np.random.default_rng(2).normal(0, 0.4, (2, 21, 3)).astype(np.float32)
    full = np.zeros((2, 55, 3), np.float32)
    full[:, 1:22] = pose
    out, rotations = model.forward(full, np.zeros((1, 10))), torch.from_numpy(rotvec_to_matrix(pose))
    np.testing.assert_allclose(body.joints(rotations), out.joints[:, :22], atol=1e-5)
    np.testing.assert_allclose(body.vertices(rotations), out.vertices[:, ::97], atol=1e-5)


# ---- bodies ----


def test_with_smpl_the_keypoints_are_the_published_ones(tmp_path):
    body, regressor = smpl_body(3), fill_weights.standin_extra_regressor(3).astype(np.float32)
    (tmp_path / "SMPL_to_J19.pkl").write_bytes(pickle.dumps(regressor))
    read = read_extra_regressor(tmp_path / "SMPL_to_J19.pkl")
    pose, betas = np.random.default_rng(0).normal(0, 0.3, (2, 24, 3)).astype(np.float32), np.zeros((2, 10), np.float32)
    out = body.forward(pose, betas)
    expected = keypoints_44(out.vertices, out.joints, regressor)
    ours = TrainingBody(body, smpl_map(body, read))(torch.from_numpy(rotvec_to_matrix(pose)), torch.from_numpy(betas))
    np.testing.assert_allclose(ours.keypoints, expected, atol=2e-5)
    with pytest.raises(UnusableBody, match="regressor of the 19"):
        keypoint_map(replace(body, gender="neutral"))


# ---- BEDLAM, 3DPW, EMDB ----


@pytest.fixture
def picture(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((120, 160, 3), 90, np.uint8))
    return tmp_path


def test_bedlam_is_projected_with_its_own_camera(picture):
    (picture / "closeup_agora").mkdir()
    random, body = np.random.default_rng(0), load_body("neutral")
    pose = random.normal(0, 0.2, (3, 165)).astype(np.float32)
    extrinsics = np.tile(np.eye(4), (3, 1, 1))
    extrinsics[:, :3, 3] = (0.1, 0.2, 0.3)
    intrinsics = np.tile([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]], (3, 1, 1))
    np.savez(
        picture / "scene.npz", imgname=["a.png", "closeup_agora/b.png", "missing.png"], center=np.full((3, 2), 60.0),
        scale=np.full(3, 0.4), pose_cam=pose, shape=random.normal(0, 1, (3, 11)),
        trans_cam=np.tile([0, 0, 4.0], (3, 1)), cam_ext=extrinsics, cam_int=intrinsics,
    )  # fmt: skip
    dataset = BedlamSet(picture / "scene.npz", picture, body, keypoint_map(body))
    assert len(dataset) == 2  # AGORA is another data set
    (person,) = dataset.people(0)
    sample = person.sample
    assert sample.side_px == pytest.approx(80) and person.measured == 1
    points_cam = sample.keypoints_3d[:, :3] + (0.1, 0.2, 4.3)
    np.testing.assert_allclose(sample.keypoints_2d[:, :2], project(points_cam, intrinsics[0]), rtol=1e-4)
    np.testing.assert_allclose(sample.body_pose.reshape(-1), pose[0, 3:72])
    with pytest.raises(BadSample, match=r"scene\.npz, sample missing\.png: .*cannot be read"):
        dataset.people(1)


def test_benchmarks_differ_in_their_unit_of_scale(picture):
    common = dict(
        imgname=["a.png"], center=[[80.0, 60]], body_pose=np.ones((1, 72)), betas=np.ones((1, 10)), gender=["m"]
    )
    np.savez(
        picture / "3dpw.npz", **common, scale=[[90.0, 110]], body_keypoints_2d=np.ones((1, 25, 3)),
        body_keypoints_3d=np.ones((1, 25, 4)), extra_keypoints_3d=np.ones((1, 19, 4)),
    )  # fmt: skip
    np.savez(picture / "emdb.npz", **common, scale=[0.55], keypoints_2d=np.ones((1, 24, 3)))
    one, other = (
        BenchmarkSet(picture / "3dpw.npz", picture, THREEDPW),
        BenchmarkSet(picture / "emdb.npz", picture, EMDB),
    )
    (person,), (emdb_person,) = one.people(0), other.people(0)
    assert person.sample.side_px == emdb_person.sample.side_px == pytest.approx(110)
    confidence = person.sample.keypoints_3d[:, 3]
    assert not confidence[1:15].any() and confidence[[0, *range(15, 44)]].all()
    assert one.genders == ("male",) and person.has_pose == 1
    kinds = [
        type(one),
        *(type(opened) for opened in sources.open_mix([str(picture / "emdb.npz")], sources.Reading(), Tally()).sets),
    ]
    assert kinds == [BenchmarkSet, BenchmarkSet]


# ---- BLADE's labels ----


def human_data(kind: str) -> dict:
    random = np.random.default_rng(0)
    joints = {"smpl": 23, "smplx": 21}[kind]
    return {
        "image_path": np.array(["a.png"]),
        "bbox_xywh": np.array([[10.0, 20, 50, 70, 1]]),
        "K": np.array([[[150.0, 0, 80], [0, 150, 60], [0, 0, 1]]]),
        kind: {
            "body_pose": random.normal(0, 0.2, (1, joints, 3)),
            "global_orient": random.normal(0, 0.2, (1, 3)),
            "betas": random.normal(0, 1, (1, 10)),
            "transl": np.array([[0.1, 0.2, 3.0]]),
        },
    }


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_human_data_becomes_smplx_with_the_pelvis_where_it_was(picture, kind):
    data = human_data(kind)
    np.savez(picture / "labels.npz", **data)
    (opened,) = sources.open_mix([str(picture / "labels.npz")], sources.Reading(), Tally()).sets
    (person,) = opened.people(0)
    camera = person.camera
    np.testing.assert_allclose(camera.box_px, [10, 20, 60, 90])
    np.testing.assert_allclose(camera.pose[1:22], data[kind]["body_pose"][0, :21], atol=1e-6)
    np.testing.assert_allclose(camera.translation + SMPLX_PELVIS_M, camera.pelvis_cam, atol=1e-6)
    assert person.has_betas == (kind == "smplx")  # betas belong to one body
    assert 2.9 < camera.pelvis_cam[2] < 3.1


def test_chunks_written_by_torch_are_read(picture):
    data = human_data("smplx")
    tensors = {name: [torch.from_numpy(np.array(each)) for each in value] for name, value in data["smplx"].items()}
    torch.save(
        {"img_fn": ["a.png"], "K": torch.from_numpy(data["K"]), "bbox_xywh": data["bbox_xywh"], "smplx": tensors},
        picture / "chunk.npz",
    )
    (person,) = HumanDataSet(picture / "chunk.npz", picture).people(0)
    np.testing.assert_allclose(person.camera.betas, data["smplx"]["betas"][0], atol=1e-6)


def test_human_data_that_would_run_something_is_bad_data(picture):
    class Evil:
        def __reduce__(self):
            import os

            return os.system, ("true",)

    np.savez(picture / "evil.npz", **(human_data("smplx") | {"smplx": np.array(Evil(), object)}))
    with pytest.raises(BadSample, match=r"evil\.npz: "):
        HumanDataSet(picture / "evil.npz", picture)


@pytest.mark.parametrize(
    ("layout", "spoilt"),
    [("bedlam", "trans_cam"), ("3dpw", "extra_keypoints_2d"), ("emdb", "betas"), ("human", "K"), ("human", "transl")],
)
def test_a_row_that_is_not_finite_spoils_its_sample_and_not_the_file(picture, layout, spoilt):
    two = lambda *shape: np.ones((2, *shape))  # noqa: E731
    cv2.imwrite(str(picture / "b.png"), np.zeros((120, 160, 3), np.uint8))
    names = {"imgname": ["a.png", "b.png"], "center": 60 * two(2), "scale": two()}
    smpl = {"body_pose": 0.1 * two(72), "betas": two(10), "gender": ["m", "f"]}
    identity = {"cam_ext": np.tile(np.eye(4), (2, 1, 1)), "cam_int": np.tile(np.eye(3), (2, 1, 1))}
    layouts = {
        "bedlam": names | identity | {"pose_cam": 0.1 * two(165), "shape": two(11), "trans_cam": 3 * two(3)},
        "3dpw": names | smpl | {"body_keypoints_2d": two(25, 3), "extra_keypoints_2d": two(19, 3)},
        "emdb": names | smpl,
        "human": {name: np.repeat(value, 2, 0) for name, value in human_data("smpl").items() if name != "smpl"},
    }
    arrays = layouts[layout]
    if layout == "human":
        fields = {name: np.repeat(value, 2, 0) for name, value in human_data("smpl")["smpl"].items()}
        arrays |= {"image_path": np.array(["a.png", "b.png"]), "smpl": fields}
        arrays = arrays | ({} if spoilt in arrays else fields)
    arrays[spoilt][1].reshape(-1)[0] = np.nan
    np.savez(picture / "labels.npz", **arrays)
    opened = sources.open_mix([str(picture / "labels.npz")], sources.Reading(), Tally()).sets[0]
    assert opened.people(0)
    with pytest.raises(BadSample, match=rf"labels\.npz, sample b\.png: {spoilt} has numbers that are not finite"):
        opened.people(1)


def test_mixes_follow_weights_names_and_refuse_nonsense(tmp_path):
    for name in ("h36m-train-wmask", "ava-train"):
        training_samples.write(tmp_path / name, 1, 48)
    named = sources.open_mix([str(tmp_path)], sources.Reading(), Tally())
    assert dict(zip([one.name for one in named.sets], named.weights, strict=True)) == pytest.approx(
        {"ava-train": 0.13 / 0.23, "h36m-train-wmask": 0.1 / 0.23}
    )
    chosen = sources.open_mix([f"{tmp_path}/ava-train=3", f"{tmp_path}/h36m-train-wmask=1"], sources.Reading(), Tally())
    np.testing.assert_allclose(chosen.weights, [0.75, 0.25])
    with pytest.raises(BadRequest, match="above 0"):
        sources.open_mix([f"{tmp_path}/ava-train=0"], sources.Reading(), Tally())
    (tmp_path / "ava-train" / "empty").mkdir()
    with pytest.raises(BadRequest, match=r"no \.tar files"):
        sources.open_mix([str(tmp_path / "ava-train" / "empty")], sources.Reading(), Tally())


# ---- what networks are shown ----


def test_the_square_around_a_person_shows_what_it_should():
    image = np.zeros((100, 140, 3), np.uint8)
    image[40:60, 80:100] = 255  # corner-origin box (80, 40) to (100, 60)
    whole = squares.square(image, np.array([90, 50.0]), 20.0, 40)
    assert whole[1:-1, 1:-1].min() == 255  # the outermost pixels reach over the edge
    wide = squares.square(image, np.array([90, 50.0]), 40.0, 40)
    rows, columns = np.flatnonzero(wide[..., 0].any(1)), np.flatnonzero(wide[..., 0].any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (10, 29, 10, 29)
    assert squares.square(image, np.array([0, 0.0]), 40.0, 40)[:19, :19].max() == 0


@pytest.mark.parametrize("mirror", [False, True])
def test_turned_and_mirrored_labels_project_where_the_cut_shows_them(mirror):
    """A varied pose, seen by the varied camera, lands on the varied keypoints."""
    _, labels, _ = training_samples.sample(np.random.default_rng(5), 96)
    body, turn_deg = load_body("neutral"), 40.0
    varied = squares.varied_pose(labels.pose[0], turn_deg, mirror=mirror)
    before = body.forward(labels.pose, labels.betas).joints[0, :22]
    after = body.forward(varied[None], labels.betas).joints[0, :22]
    if mirror:
        swap = [0, *(1 + joint for joint in squares.MIRRORED_BODY[:21])]
        before = before[swap] * (-1, 1, 1)
    turn = rotvec_to_matrix(np.array([0, 0, -np.deg2rad(turn_deg)]))
    np.testing.assert_allclose(after - after[0], (before - before[0]) @ turn.T, atol=5e-3)


def test_the_cut_turns_as_the_labels_do():
    """A bright spot to the right of the middle, in a cut that is turned by 90 degrees."""
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 80] = 255
    cut = squares.square(image, np.array([50.5, 50.5]), 101.0, 101, turn_deg=90.0)
    spot = np.argwhere(cut[..., 0] > 100)[0]
    turn = rotvec_to_matrix(np.array([0, 0, -np.pi / 2]))
    np.testing.assert_allclose(spot[::-1] - 50, (turn @ np.array([30, 0, 0]))[:2], atol=1)


def test_skipped_draws_are_told_and_others_take_their_place(tmp_path):
    dataset = sources.open_mix([str(training_samples.write(tmp_path, 2, 48))], sources.Reading(), Tally())

    class Half:
        name = "half"

        def __len__(self):
            return 2

        def people(self, index):
            if index:
                raise BadSample("half: sample 1 is bad.")
            return dataset.sets[0].people(0)

    draws = PictureDraws([Half()], np.ones(1), 0, lambda person, random: {"x": np.zeros(1)}, skip_bad=True)
    told = [sentence for number in range(20) for sentence in draws[number].skipped]
    assert told and set(told) == {"half: sample 1 is bad."}
    with pytest.raises(BadSample, match="sample 1"):
        [replace(draws, skip_bad=False)[number] for number in range(20)]


# ---- losses and priors ----


def test_the_discriminator_has_the_released_tensors():
    keys = json.loads(gzip.decompress((FIXTURES / "hmr2" / "keys_full.json.gz").read_bytes()))
    released = {
        key["name"].removeprefix("discriminator."): tuple(key["shape"])
        for key in keys
        if key["name"].startswith("discriminator.")
    }
    ours = {name: tuple(tensor.shape) for name, tensor in adversary.FactoredDiscriminator().state_dict().items()}
    assert ours == released


def test_judge_and_judged_do_not_teach_each_other():
    torch.manual_seed(0)
    judge, pose, betas = adversary.FactoredDiscriminator(), torch.randn(2, 23, 3, 3), torch.randn(2, 10)
    pose.requires_grad_()
    adversary.deceiving_loss(judge, pose, betas).backward()
    assert pose.grad.abs().sum() > 0 and all(parameter.grad is None for parameter in judge.parameters())
    pose.grad = None
    adversary.judging_loss(judge, (torch.randn(2, 23, 3, 3), betas), (pose, betas)).backward()
    assert pose.grad is None and judge.D_conv1.weight.grad.abs().sum() > 0


def _bodies(count: int = 2) -> dict[str, torch.Tensor]:
    eye = torch.eye(3).expand(count, 24, 3, 3)
    return {
        "keypoints_2d": torch.zeros(count, 44, 2),
        "keypoints_3d": torch.zeros(count, 44, 3),
        "global_orient": eye[:, :1],
        "body_pose": eye[:, 1:],
        "betas": torch.zeros(count, 10),
    }


def test_tals_of_the_paper_scales_only_what_was_fitted():
    bodies, ones = _bodies(), torch.ones(2)
    labels = tals.Labels(
        **bodies, confidence_2d=torch.ones(2, 44), confidence_3d=torch.ones(2, 44), has_pose=ones, has_betas=ones,
        measured=torch.tensor([0.0, 1.0]),
    )  # fmt: skip
    near = tals.Predicted(**bodies | {"keypoints_2d": torch.full((2, 44, 2), 0.004)})
    each = 44 * 2 * 0.004
    assert tals.paper_losses(near, labels).keypoints_2d.item() == pytest.approx(0.01 * each + each, rel=1e-4)
    # Three hundredths of the crop: beyond the paper's thresholds, well within the released program's squared ones.
    far = tals.Predicted(**bodies | {"keypoints_2d": torch.full((2, 44, 2), 0.03)})
    assert tals.paper_losses(far, labels).keypoints_2d.item() == pytest.approx(2 * 44 * 2 * 0.03, rel=1e-4)
    assert tals.adaptive_losses(far, labels).keypoints_2d.item() == pytest.approx(0.05 * 2 * 44 * 2 * 0.03, rel=1e-4)
    off = bodies["keypoints_3d"].clone()
    off[:, 0, 0] = 0.1
    only_measured = tals.paper_losses(tals.Predicted(**bodies | {"keypoints_3d": off}), labels)
    assert only_measured.keypoints_3d.item() == pytest.approx(0.1)


def test_free_and_training_body_agree():
    body, random = load_body("neutral"), np.random.default_rng(0)
    pose, betas = random.normal(0, 0.3, (2, 55, 3)).astype(np.float32), random.normal(0, 1, (2, 10)).astype(np.float32)
    pose[:, 22:] = 0
    out = body.forward(pose, betas)
    smpl = np.concatenate([pose[:, :22], random.normal(0, 1, (2, 2, 3))], 1).astype(np.float32)
    ours = open_body()(torch.from_numpy(rotvec_to_matrix(smpl)), torch.from_numpy(betas)).keypoints
    np.testing.assert_allclose(ours, keypoint_map(body)(out.vertices, out.joints), atol=1e-5)


class Just:
    """A data set of given people."""

    name = "just"

    def __init__(self, people):
        self._people = people

    def __len__(self):
        return 1

    def people(self, index):
        return self._people


def test_poses_unlike_any_recorded_one_are_no_labels(tmp_path):
    given = TarSet(training_samples.write(tmp_path, 1, 64))
    (person,) = [replace(one, measured=0.0) for one in given.people(0)]
    near = np.random.default_rng(0).normal(0, 0.15, (400, 21, 3))
    recorded = (person.sample.body_pose[:21] + near).astype(np.float32)
    plausible = Plausible.of([motions.PoseSet("recorded", recorded, np.array([0, 400]), ("clip",))], bins=30)
    (kept,) = PlausibleSet(given, plausible).people(0)
    assert kept.has_pose == 1 and kept.betas.any()
    twisted = person.sample.body_pose.copy()
    twisted[17] = (0, 2.8, 0)  # the left elbow the wrong way
    odd = replace(person, sample=replace(person.sample, body_pose=twisted))
    (dropped,) = PlausibleSet(Just([odd]), plausible).people(0)
    assert dropped.has_pose == 0 and not dropped.betas.any() and dropped.has_betas == 1
    assert PlausibleSet(Just([replace(odd, measured=1.0)]), plausible).people(0)[0].has_pose == 1
    middle = person.sample.body_pose[:21]
    assert plausible.allows(middle) and plausible.allows(middle[MIRROR] * (1, -1, -1))  # left and right alike
    turned = middle.copy()
    turned[2] *= 1 - 2 * np.pi / np.linalg.norm(turned[2])  # the same rotation, told the other way round
    assert plausible.allows(turned)


def test_a_mix_may_be_sifted(tmp_path):
    path = training_samples.write(tmp_path / "pictures", 2, 64)
    reading = sources.Reading(plausible=Plausible.of(motions.read_sets(path), bins=30))
    mix = sources.open_mix([str(path)], reading, Tally())
    assert mix.sets[0].name == "pictures" and mix.sets[0].people(1)[0].has_pose == 1
