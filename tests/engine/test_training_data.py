# SPDX-License-Identifier: GPL-3.0-or-later
"""Training data: what was written is read, and what is bad says where and why."""

from __future__ import annotations

import io
import pickle
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from recover_body.engine.training.data.bad_data import BadSample, Where
from recover_body.engine.training.data.layout import PeopleLabels
from recover_body.engine.training.data.shards import ShardWriter, read_index
from recover_body.engine.training.data.tar_set import TarSet
from recover_body.models.body_model import load_body
from recover_body.tests.engine import training_samples
from recover_body.wire.frames import project


@pytest.fixture(scope="module")
def made():
    """(image, labels, mask) of two pictures."""
    return [training_samples.sample(np.random.default_rng(n), 96) for n in range(2)]


def write(folder, made):
    with ShardWriter(folder, "painted") as shards:
        for number, one in enumerate(made):
            shards.add(f"{number:03}", *one)
    return folder / "painted-000000.tar"


def test_what_is_written_is_read(tmp_path, made):
    dataset = TarSet(write(tmp_path, made))
    assert len(dataset) == 2 and not dataset.problems
    for index, (image, labels, _) in enumerate(made):
        (person,) = dataset.people(index)
        np.testing.assert_array_equal(person.sample.image_rgb, image)
        np.testing.assert_array_equal(person.camera.pose, labels.pose[0])
        np.testing.assert_allclose(person.sample.keypoints_2d[:, :2] + 0.5, labels.keypoints_2d[0, :, :2], atol=1e-4)


def test_labels_place_the_body_where_the_picture_shows_it(made):
    for _, labels, mask in made:
        out = load_body("neutral").forward(labels.pose, labels.betas, translation=labels.translation)
        np.testing.assert_allclose(out.joints[0, 0], labels.pelvis_cam[0], atol=1e-5)
        columns, rows = project(out.joints[0, [0, 3, 6]], labels.intrinsics).astype(int).T
        assert mask[rows, columns].all()


def broken(labels: PeopleLabels, what: str) -> bytes:
    values = {name: getattr(labels, name) for name in PeopleLabels.__dataclass_fields__}
    match what:
        case "missing":
            del values["keypoints_3d"]
        case "nan":
            values["pose"] = np.where(np.arange(3) == 1, np.nan, values["pose"])
        case "shape":
            values["keypoints_2d"] = values["keypoints_2d"][:, :43]
        case "rubbish":
            return b"PK\x03\x04 no archive"
    stream = io.BytesIO()
    np.savez(stream, **values)
    return stream.getvalue()


@pytest.mark.parametrize(
    "what, words",
    [
        ("missing", "keypoints_3d is missing"),
        ("nan", "pose has numbers that are not finite"),
        ("shape", r"keypoints_2d has the shape \(1, 43, 3\), where \(1, 44, 3\) is needed"),
        ("rubbish", "cannot be read"),
    ],
)
def test_bad_labels_name_file_and_sample(tmp_path, made, what, words):
    class Broken:
        def to_npz(self):
            return broken(made[1][1], what)

    with ShardWriter(tmp_path, "bad") as shards:
        shards.add("good", *made[0])
        shards.add("evil", made[1][0], Broken())
    dataset = TarSet(tmp_path)
    assert dataset.people(0)
    with pytest.raises(BadSample, match=f"bad-000000.tar, sample evil: .*{words}") as caught:
        dataset.people(1)
    assert caught.value.exit_code == 2 and "--bad-data skip" in caught.value.remedy


def test_a_sample_without_labels_or_with_a_spoilt_picture_says_so(tmp_path, made):
    for name, files, words in (
        ("lonely", {"a.png": b""}, "the label file is missing"),
        ("spoilt", {"a.png": b"no picture", "a.people.npz": made[0][1].to_npz()}, "picture cannot be decoded"),
    ):
        path = tmp_path / f"{name}.tar"
        with tarfile.open(path, "w") as tar:
            for member, raw in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(raw)
                tar.addfile(info, io.BytesIO(raw))
        with pytest.raises(BadSample, match=f"{name}.tar, sample a: .*{words}"):
            TarSet(path).people(0)


def test_a_truncated_tar_is_noticed_wherever_it_ends(tmp_path, made):
    whole = write(tmp_path, made)
    raw = whole.read_bytes()
    places = {member.offset + member.size for s in read_index(whole).samples for member in s.members.values()}
    ends = [-(-place // 512) * 512 for place in sorted(places)]
    for at in (*ends, ends[0] - 700, ends[3] + 100, 100):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(raw[:at])
        index = read_index(cut)
        assert len(index.problems) == 1 and "cut.tar" in str(index.problems[0]), at
        assert len(index.samples) <= 2
        for sample in index.samples:
            for suffix in sample.members:
                assert len(sample.read(suffix)) == sample.members[suffix].size
    assert not read_index(whole).problems


def released_person(**changes) -> dict:
    random = np.random.default_rng(0)
    person = {
        "keypoints_2d": np.c_[random.uniform(0, 96, (44, 2)), np.full(44, 0.9)],
        "keypoints_3d": np.c_[random.normal(0, 1, (44, 3)), np.ones(44)],
        "center": np.array([48.0, 50.0]),
        "scale": np.array([0.4, 0.3]),
        "body_pose": random.normal(0, 0.2, 72),
        "betas": random.normal(0, 0.5, 10),
        "has_body_pose": 1.0,
        "has_betas": 1.0,
        "extra_info": {"fitting_loss": {"reprojection_loss": 12.0}},
    }
    return {name: value for name, value in (person | changes).items() if value is not None}


def released_set(tmp_path, made, people, name="COCO-TRAIN"):
    path = tmp_path / f"{name}-000000.tar"
    files = {"x.data.pyd": pickle.dumps(people), "x.jpg": cv2.imencode(".jpg", made[0][0])[1].tobytes()}
    with tarfile.open(path, "w") as tar:
        for member, raw in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return TarSet(path)


def test_released_tars_are_read_and_filtered(tmp_path, made):
    unseen = np.c_[np.zeros((44, 2)), np.r_[np.full(4, 0.9), np.full(40, 0.2)]]
    people = [
        released_person(),
        released_person(betas=np.full(10, 3.5)),  # a failed fit: neither pose nor shape count
        released_person(keypoints_2d=unseen),  # too little is seen
        released_person(extra_info={"fitting_loss": {"reprojection_loss": 4e4}}),
        released_person(body_pose=None, betas=None, has_body_pose=None, has_betas=None, extra_info=None),
    ]
    good, failed, unlabelled = released_set(tmp_path, made, people).people(0)
    assert good.sample.side_px == pytest.approx(80) and good.has_pose == 1 and good.measured == 0
    np.testing.assert_allclose(good.sample.body_pose.reshape(-1), people[0]["body_pose"][3:], atol=1e-6)
    assert (failed.has_pose, failed.has_betas, np.abs(failed.betas).max()) == (0, 1, 0)
    assert unlabelled.has_pose == 0
    assert released_set(tmp_path, made, people, "H36M-TRAIN-WMASK").people(0)[0].measured == 1


def test_a_pickle_that_would_run_something_is_bad_data(tmp_path, made):
    class Evil:
        def __reduce__(self):
            import os

            return os.system, ("true",)

    with pytest.raises(BadSample, match=r"sample x: its data\.pyd cannot be used"):
        released_set(tmp_path, made, [Evil()]).people(0)


def test_flags_default_to_labelled(made):
    values = {name: getattr(made[0][1], name) for name in PeopleLabels.__dataclass_fields__}
    del values["measured"], values["has_betas"]
    labels = PeopleLabels.of(values, Where("x"))
    assert labels.measured.tolist() == labels.has_betas.tolist() == [1.0]


def test_an_interrupted_writer_leaves_nothing(tmp_path, made):
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, "painted") as shards:
        shards.add("000", *made[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_shards_are_filled_in_turn(tmp_path, made):
    with ShardWriter(tmp_path, "painted", samples_per_shard=2) as shards:
        for number in range(5):
            shards.add(str(number), *made[0])
    assert [len(read_index(path).samples) for path in sorted(tmp_path.iterdir())] == [2, 2, 1]
    assert len(TarSet(tmp_path)) == 5


def test_a_box_without_area_is_bad_data(tmp_path, made):
    image, labels, mask = made[0]
    write(tmp_path, [(image, replace(labels, box_px=np.zeros((1, 4))), mask)])
    with pytest.raises(BadSample, match="the box of person 0 has no area"):
        TarSet(tmp_path).people(0)
