# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body evaluate`: a perfect answer scores perfectly, known mistakes score as known, and bad data are told."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="Evaluation needs torch: run `python dev.py setup`.")

from recover_body.engine.__main__ import main
from recover_body.engine.backends.base import Bodies, BodyTrack
from recover_body.engine.backends.neural import CropNetworkBackend, Prediction
from recover_body.engine.crop import Crop
from recover_body.engine.errors import NobodyFound
from recover_body.engine.evaluation import asking, datasets, on_smpl
from recover_body.engine.evaluation.asking import CropNetwork, WholeProgram, matched
from recover_body.engine.evaluation.datasets import open_dataset
from recover_body.engine.evaluation.on_smpl import OnSmpl
from recover_body.engine.evaluation.people import Keypoints
from recover_body.engine.evaluation.published import ROWS
from recover_body.engine.evaluation.run import measure
from recover_body.engine.evaluation.scores import MEASURES, cropped, protocol_of, scored
from recover_body.engine.importer import import_files
from recover_body.engine.training.data.bad_data import BadSample
from recover_body.engine.training.data.layout import PeopleLabels
from recover_body.engine.training.data.shards import read_index
from recover_body.models.body_model import load_body
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.models.smpl_joints import keypoints_44
from recover_body.tests import fill_weights
from recover_body.tests.engine import training_samples
from recover_body.tests.models.smplx_files import smplx_npz
from recover_body.tests.models.test_smpl_to_smplx import in_smpl_layout
from recover_body.tests.models.weight_files import smpl_pickle
from recover_body.tests.parity.standins import smpl_body

COUNT, SIDE_PX = 2, 96
PERCENT = ("miou_percent", "part_miou_percent", "pck05_percent", "pck10_percent")


@pytest.fixture(scope="module")
def synth(tmp_path_factory):
    return training_samples.write(tmp_path_factory.mktemp("synth"), COUNT, SIDE_PX)


@pytest.fixture(scope="module")
def labels(synth):
    samples = read_index(synth / "painted-000000.tar").samples
    return [PeopleLabels.from_npz(sample.read("people.npz"), sample.where) for sample in samples]


class Oracle:
    """Says what the labels say, after `change` to the translation (3,) and the focal length."""

    name = "oracle"

    def __init__(self, labels, shift=(0, 0, 0), focal=1.0):
        self.labels, self.shift, self.focal, self.cameras = iter(labels), np.array(shift), focal, []

    def recover(self, footage, camera, request, report):
        labels = next(self.labels)
        self.cameras.append(camera)
        if labels is None:
            raise NobodyFound("Nobody was found.")
        track = BodyTrack(
            present=np.ones(1, bool), boxes_px=labels.box_px, score=np.ones(1), pose=labels.pose, betas=labels.betas[0],
            expression=np.zeros((1, 10)), translation=labels.translation + self.shift, keypoint_names=(),
            keypoints_px=np.zeros((1, 0, 3)), joint_confidence=np.ones((1, 55)), joint_inferred=np.zeros((1, 55), bool),
            masks=(None,), reprojected_px=np.zeros((1, 0, 2)),
        )  # fmt: skip
        focal_px = labels.intrinsics[0, 0] * self.focal
        return Bodies((track,), replace(camera, fx_px=focal_px, fy_px=focal_px))


def measured(synth, oracle, crops=(0,), **options):
    keypoints = Keypoints()
    dataset = open_dataset("synth", synth, None, keypoints)
    ask = WholeProgram(oracle, "neutral", keypoints, is_camera_given=options.pop("is_camera_given", False))
    return measure(dataset, ask, crops, None, stop_at_bad=options.pop("stop_at_bad", False))


def test_the_labels_themselves_score_perfectly(synth, labels):
    found = measured(synth, Oracle(labels))
    assert len(found.scores) == COUNT and not found.missed[0] and not found.bad.sentences
    for name, value in found.means(0).items():
        assert value == pytest.approx(100 if name in PERCENT else 0, abs=2e-3), name


def test_known_mistakes_score_as_known(synth, labels):
    means = measured(synth, Oracle(labels, shift=(0.03, 0.04, 0.5), focal=0.9)).means(0)
    for name in ("mve_mm", "mpjpe_mm", "pa_mpjpe_mm"):  # pelvis on pelvis
        assert means[name] == pytest.approx(0, abs=2e-3)
    assert means["tz_m"] == pytest.approx(0.5, abs=1e-5)
    assert means["txy_m"] == pytest.approx(0.05, abs=1e-5)
    assert means["focal_percent"] == pytest.approx(10)
    depths = np.array([one.pelvis_cam[0, 2] for one in labels])
    assert means["inverse_tz"] == pytest.approx(np.mean(1 / depths - 1 / (depths + 0.5)), rel=1e-4)
    assert means["miou_percent"] < 95


def test_the_share_of_keypoints_is_counted_within_a_share_of_the_box(synth):
    picture = open_dataset("synth", synth, None, Keypoints()).entries[0].read()
    labelled = replace(picture.people[0], box_px=np.array([10.0, 10, 50, 90]))  # 80 px: 4 and 8 px count
    flat = labelled.keypoints_px.copy()
    flat[:, 2] = 1
    flat[40:, 2] = 0  # not seen: 40 of 44 are left
    off = flat.copy()
    off[:10, 0] += 4.1
    off[:4, 1] += 8.1
    off[40:, :2] = 0
    people = replace(labelled, keypoints_px=flat), replace(labelled, keypoints_px=off)
    values = scored("shared", picture, *people, picture.intrinsics)
    assert values["pck05_percent"] == pytest.approx(100 * 30 / 40)
    assert values["pck10_percent"] == pytest.approx(100 * 36 / 40)


def test_who_is_not_found_is_counted_and_leaves_the_means_alone(synth, labels):
    found = measured(synth, Oracle([labels[0], None]))
    assert len(found.scores) == 1 and found.missed[0] == ["000001, person 0"]
    assert found.means(0)["mpjpe_mm"] == pytest.approx(0, abs=2e-3)


def test_the_labelled_camera_is_told_only_where_asked(synth, labels):
    told, untold = Oracle(labels), Oracle(labels)
    measured(synth, told, is_camera_given=True)
    measured(synth, untold)
    assert [c.fx_px for c in told.cameras] == pytest.approx([one.intrinsics[0, 0] for one in labels])
    assert {c.source for c in untold.cameras} == {"assumed"}


def test_a_crop_leaves_the_middle_of_the_box(synth):
    picture = open_dataset("synth", synth, None, Keypoints()).entries[0].read()
    x1, y1, x2, y2 = picture.people[0].box_px
    shown = cropped(replace(picture, image_rgb=np.full_like(picture.image_rgb, 255)), 0, 0.5)
    rows, columns = np.nonzero(shown.image_rgb[..., 0])
    assert np.ptp(rows) + 1 == pytest.approx((y2 - y1) / 2, abs=1) and np.ptp(columns) + 1 == pytest.approx(
        (x2 - x1) / 2, abs=1
    )
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx((y1 + y2) / 2, abs=1)
    np.testing.assert_array_equal(shown.people[0].box_px, picture.people[0].box_px)


def test_nobody_is_matched_twice(synth):
    person = open_dataset("synth", synth, None, Keypoints()).entries[0].read().people[0]
    at = lambda x: replace(person, box_px=np.array([x, 0.0, x + 10, 10]))  # noqa: E731
    labelled, found = (at(0), at(4), at(90)), [at(3), at(50)]
    assert matched(labelled, found) == (None, found[0], None)


def test_the_command_from_end_to_end(synth, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["--dataset", "synth", "--data", str(synth), "--backend", "fake", "--limit", "1", "--out", str(out)]
    assert main(["evaluate", *given, "--crops", "0,30", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "evaluation.json").read_text())
    assert [run["crop_percent"] for run in printed["runs"]] == [0, 30]
    means = printed["runs"][0]["means"]
    assert set(means) == set(MEASURES) and 50 < means["mpjpe_mm"] < 1000
    assert "| **fake, measured here** |" in (out / "evaluation.md").read_text()
    assert len((out / "evaluation.csv").read_text().splitlines()) == 3
    assert cv2.imread(str(out / "evaluation.png")) is not None


# ---- BLADE's protocol ----


@pytest.fixture()
def h36m_file(tmp_path):
    """Human3.6M's joints as vertices of a body in SMPL's layout; the numbers of the vertices."""
    body = in_smpl_layout(load_body("neutral"))
    chosen = np.random.default_rng(0).choice(len(body.v_template), 17, replace=False)
    regressor = np.zeros((17, len(body.v_template)), np.float32)
    regressor[np.arange(17), chosen] = 1
    np.save(tmp_path / "h36m.npy", regressor)
    return tmp_path / "h36m.npy", body, chosen


def test_bodies_on_smpl_are_scored_by_the_joints_of_human36m(synth, h36m_file, monkeypatch):
    path, smpl, chosen = h36m_file
    monkeypatch.setattr(on_smpl, "load_body", lambda name: smpl)
    picture = open_dataset("synth", synth, None, Keypoints()).entries[0].read()
    labelled = replace(picture.people[0], body=smpl)
    moved = labelled.vertices + np.array([0.1, 0, 0])  # pelvis on pelvis this is no mistake
    moved[chosen[13]] += (0, 0.28, 0)  # one of the 14 joints
    moved[chosen[9]] += (0, 9.0, 0)  # of the 17, but not of the 14
    carry = OnSmpl.opened(path, None)
    people = carry(labelled), carry(replace(labelled, vertices=moved))
    protocol = protocol_of("synth", *people)
    values = scored(protocol, picture, *people, picture.intrinsics)
    assert protocol == "h36m" and values["mpjpe_mm"] == pytest.approx(20, abs=1e-3)  # 280 mm of one joint of 14
    assert 0 < values["pa_mpjpe_mm"] < 40
    assert values["mve_mm"] == pytest.approx(1000 * (0.28 + 9) / len(moved), rel=1e-6)


def test_answers_on_other_bodies_are_fitted_by_smpl_first(synth, labels, h36m_file, monkeypatch):
    path, smpl, _ = h36m_file
    monkeypatch.setattr(on_smpl, "load_body", lambda name: smpl)
    dataset = open_dataset("synth", synth, None, Keypoints())
    ask = WholeProgram(Oracle(labels, shift=(0, 0, 0.5)), "neutral", Keypoints(), is_camera_given=False)
    found = measure(dataset, ask, (0,), 1, stop_at_bad=True, on_smpl=OnSmpl.opened(path, None))
    assert [score.protocol for score in found.scores] == ["h36m-like"]
    means = found.means(0)
    assert means["mpjpe_mm"] < 1 and means["mve_mm"] < 1  # both sides are fitted alike
    assert means["tz_m"] == pytest.approx(0.5, abs=2e-3) and means["part_miou_percent"] > 20


# ---- what is missing, and what is bad ----


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--dataset", "emdb", "--data", "nowhere/emdb.npz"], 3, "nowhere/emdb.npz, which should be emdb"),
        (["--dataset", "synth", "--data", "EMPTY"], 3, "There is no .tar in"),
        (["--dataset", "synth", "--data", "SYNTH", "--crops", "0,x"], 2, "--crops 0,x makes no sense"),
        (["--dataset", "synth", "--data", "SYNTH", "--limit", "0"], 2, "--limit"),
        (["--dataset", "synth", "--data", "SYNTH", "--ask", "boxes"], 2, "box by box"),
        (["--dataset", "synth", "--data", "SYNTH", "--regressor", "nowhere.pkl"], 3, "no file nowhere.pkl"),
        (["--dataset", "synth", "--data", "SYNTH", "--h36m", "nowhere.npy"], 3, "no file nowhere.npy"),
    ],
)
def test_what_is_missing_is_named(arguments, code, words, synth, tmp_path, capsys):
    places = {"EMPTY": str(tmp_path), "SYNTH": str(synth)}
    assert main(["evaluate", "--backend", "fake", *(places.get(one, one) for one in arguments)]) == code
    assert words in capsys.readouterr().err


def test_bad_samples_are_counted_or_stop(synth, labels, tmp_path):
    whole = (synth / "painted-000000.tar").read_bytes()
    (tmp_path / "cut-000000.tar").write_bytes(whole[: len(whole) * 2 // 3])
    found = measured(tmp_path, Oracle(labels))
    assert len(found.scores) == 1 and len(found.bad) >= 1
    assert all("cut-000000.tar" in sentence for sentence in found.bad.sentences)
    with pytest.raises(BadSample, match=r"cut-000000\.tar"):
        measured(tmp_path, Oracle(labels), stop_at_bad=True)


# ---- the licensed data sets, with stand-ins of their files ----


@pytest.fixture(scope="module")
def smpl_data(tmp_path_factory):
    """A data folder with SMPL's three bodies (random stand-ins)."""
    data, files = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("smpl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOVER_BODY_DATA", str(data))
        import_files([smpl_pickle(files / f"SMPL_{name}.pkl") for name in ("NEUTRAL", "MALE", "FEMALE")])
    return data


def annotation(folder, keypoints=True):
    """Three people in two pictures, 3DPW's or EMDB's fields; returns the poses."""
    rng = np.random.default_rng(3)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    pose, betas = rng.normal(0, 0.3, (3, 72)).astype(np.float32), rng.normal(0, 1, (3, 10)).astype(np.float32)
    fields = {"body_keypoints_3d": rng.normal(0, 0.5, (3, 25, 4)), "extra_keypoints_3d": rng.normal(0, 0.5, (3, 19, 4))}
    fields |= {"body_keypoints_2d": np.ones((3, 25, 3)), "extra_keypoints_2d": np.ones((3, 19, 3))}
    np.savez(
        folder / "labels.npz", imgname=["a.png", "a.png", "b.png"], center=[[40, 45], [80, 45], [60, 45]],
        scale=np.full(3, 60.0 if keypoints else 0.3), body_pose=pose, betas=betas, gender=["m", "f", "male"],
        **(fields if keypoints else {}),
    )  # fmt: skip
    return pose, betas


class Network(CropNetworkBackend):
    """Answers with given poses, picture by picture."""

    name, entries = "network", ()

    def __init__(self, pose, betas, counts):
        self.pose, self.betas, self.counts, self.seen = pose, betas, list(counts), []

    def answer(self, inputs):
        self.seen.append(inputs)
        rows = slice(sum(map(len, self.seen[:-1])), sum(map(len, self.seen)))
        matrices = rotvec_to_matrix(self.pose[rows].reshape(-1, 24, 3))
        return Prediction(matrices, self.betas[rows], np.tile([0.9, 0, 0], (len(inputs), 1)))


def test_emdb_box_by_box_is_the_published_protocol(smpl_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(smpl_data))
    pose, betas = annotation(tmp_path, keypoints=False)
    network = Network(pose, betas, (2, 1))
    dataset = open_dataset("emdb", tmp_path / "labels.npz", None, Keypoints())
    found = measure(dataset, CropNetwork(network, Keypoints()), (0,), None, stop_at_bad=True)
    assert [score.protocol for score in found.scores] == ["emdb"] * 3  # the stand-ins of all genders are one body
    assert [len(inputs) for inputs in network.seen] == [2, 1]
    for name in ("mve_mm", "mpjpe_mm", "pa_mpjpe_mm"):
        assert found.means(0)[name] == pytest.approx(0, abs=1e-2)
    assert np.isnan(found.means(0)["tz_m"])  # these files know no camera
    crop = dataset.entries[0].read().crops[0]
    assert isinstance(crop, Crop) and crop.center_px.tolist() == [40, 45]
    assert crop.side_px == pytest.approx(0.3 * 200 * 4 / 3)  # grown to portrait, as the published loader does


def test_3dpw_box_by_box_is_the_published_protocol(tmp_path, monkeypatch):
    body = smpl_body(3)
    for module in (asking, datasets):  # with SMPL's 6890 vertices, which no stand-in file has
        monkeypatch.setattr(module, "load_body", lambda name: body)
    regressor = fill_weights.standin_extra_regressor(3).astype(np.float32)
    np.save(tmp_path / "extra.npy", regressor)
    pose, betas = annotation(tmp_path)
    out = body.forward(pose.reshape(3, 24, 3), betas)
    truth = keypoints_44(out.vertices, out.joints, regressor)
    with np.load(tmp_path / "labels.npz") as data:
        fields = {name: data[name] for name in data.files}
    fields["body_keypoints_3d"][..., :3], fields["extra_keypoints_3d"][..., :3] = truth[:, :25], truth[:, 25:]
    np.savez(tmp_path / "labels.npz", **fields)
    keypoints = Keypoints(tmp_path / "extra.npy")
    dataset = open_dataset("3dpw", tmp_path / "labels.npz", None, keypoints)
    found = measure(dataset, CropNetwork(Network(pose, betas, (2, 1)), keypoints), (0,), None, stop_at_bad=True)
    assert [score.protocol for score in found.scores] == ["3dpw"] * 3
    for name in ("mve_mm", "mpjpe_mm", "pa_mpjpe_mm"):
        assert found.means(0)[name] == pytest.approx(0, abs=1e-2)


def test_3dpw_by_the_whole_program_says_that_its_joints_are_approximate(smpl_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(smpl_data))
    annotation(tmp_path)
    given = ["--dataset", "3dpw", "--data", str(tmp_path / "labels.npz"), "--backend", "fake"]
    assert main(["evaluate", *given]) == 0
    printed = capsys.readouterr().out
    assert "no published ones" in printed
    assert "| TokenHMR, release | 84.8 | 72.0 | 45.5 |" in printed


def test_without_smpl_its_data_sets_say_what_to_import(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "nothing"))
    annotation(tmp_path)
    given = ["--dataset", "3dpw", "--data", str(tmp_path / "labels.npz"), "--backend", "fake"]
    assert main(["evaluate", *given]) == 3
    assert "models import" in capsys.readouterr().err


def test_human_data_of_smpl(smpl_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(smpl_data))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((90, 120, 3), 80, np.uint8))
    rng = np.random.default_rng(0)
    smpl = {
        "global_orient": rng.normal(0, 0.3, (1, 3)), "body_pose": rng.normal(0, 0.3, (1, 69)),
        "betas": rng.normal(0, 1, (1, 10)), "transl": np.array([[0.1, 0.2, 3.0]]),
    }  # fmt: skip
    camera = np.array([[[100.0, 0, 60], [0, 100, 45], [0, 0, 1]]])
    path = tmp_path / "pdhuman.npz"
    np.savez(path, image_path=np.array(["a.png"]), bbox_xywh=np.array([[20.0, 10, 40, 60, 1]]), K=camera, smpl=smpl)
    picture = open_dataset("pdhuman", path, None, Keypoints()).entries[0].read()
    (person,) = picture.people
    out = person.body.forward(
        np.concatenate([smpl["global_orient"], smpl["body_pose"]], 1).reshape(1, 24, 3), smpl["betas"]
    )
    np.testing.assert_allclose(person.vertices, out.vertices[0] + smpl["transl"][0], atol=1e-5)
    np.testing.assert_array_equal(picture.intrinsics, camera[0])
    assert person.box_px.tolist() == [20, 10, 60, 70]


def test_published_rows_name_measures_and_sources():
    assert {name for row in ROWS for name in row.figures} <= set(MEASURES)
    assert all(row.source for row in ROWS)
    assert {row.dataset for row in ROWS} == {"3dpw", "emdb", "spec-mtp", "humman", "pdhuman"}


def test_human_data_of_smplx_is_measured_on_smplx(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    import_files([smplx_npz(tmp_path / "SMPLX_NEUTRAL.npz", "neutral")[0]])
    cv2.imwrite(str(tmp_path / "a.png"), np.full((120, 120, 3), 80, np.uint8))
    smplx = {
        "global_orient": np.array([[np.pi, 0, 0]]), "body_pose": np.zeros((1, 63)), "betas": np.ones((1, 10)),
        "transl": np.array([[0.0, 0.2, 3.0]]),
    }  # fmt: skip
    path = tmp_path / "spec_mtp.npz"
    camera = np.array([[[150.0, 0, 60], [0, 150, 60], [0, 0, 1]]])
    np.savez(path, image_path=np.array(["a.png"]), bbox_xywh=np.array([[10.0, 10, 100, 100]]), K=camera, smplx=smplx)
    given = ["--dataset", "spec-mtp", "--data", str(path), "--backend", "fake", "--camera", "given", "--json"]
    assert main(["evaluate", *given, "--body", "smplx-neutral"]) == 0
    run = json.loads(capsys.readouterr().out)["runs"][0]
    means = run["means"]
    assert 10 < means["mve_mm"] < 500 and means["focal_percent"] == pytest.approx(0, abs=1e-6)
    assert 0 < means["tz_m"] < 2 and 5 < means["miou_percent"] < 95
    assert 0 < means["pck05_percent"] <= means["pck10_percent"] <= 100  # SMPL-X's landmarks lie where ours do
    assert [row["method"] for row in run["published"]] == ["BLADE, paper", "BLADE, release"]
    # On a free body the surfaces differ, the joints do not.
    assert main(["evaluate", *given]) == 0
    means = json.loads(capsys.readouterr().out)["runs"][0]["means"]
    assert means["mve_mm"] is None and 10 < means["mpjpe_mm"] < 500
