# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion files of the field: what is written comes back to the last bit, and others' spellings are understood."""

import numpy as np
import pytest

from recover_body.wire import amass
from recover_body.wire.take import TakeError, write_take

from .samples import any_take


def motion(seed=0, frames=4, **changed):
    rng = np.random.default_rng(seed)
    fields = dict(
        pose=rng.normal(0, 0.5, (frames, 55, 3)),
        translation=rng.normal(0, 1, (frames, 3)),
        betas=rng.normal(0, 1, 10),
        expression=rng.normal(0, 1, (frames, 10)),
        fps=29.97,
        body="female",
    )
    return amass.Motion(**{**fields, **changed})


def assert_equal(one, other):
    for name in ("pose", "translation", "betas", "expression", "fps", "body"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_what_is_written_comes_back_to_the_last_bit(tmp_path):
    path = amass.write_amass(tmp_path / "sub" / "anna.npz", motion())
    assert amass.is_amass(path)
    found, notes = amass.read_amass(path)
    assert_equal(found, motion())
    assert notes == () and [p.name for p in path.parent.iterdir()] == ["anna.npz"]


def test_the_keys_other_tools_look_for(tmp_path):
    with np.load(amass.write_amass(tmp_path / "a.npz", motion()), allow_pickle=False) as data:
        assert {"poses", "betas", "trans", "mocap_frame_rate", "gender", "surface_model_type"} <= set(data.files)
        assert data["poses"].shape == (4, 165) and str(data["surface_model_type"]) == "smplx"
        parts = [data[f"pose_{part}"] for part in ("body", "jaw", "eye", "hand")]
        assert np.array_equal(np.concatenate([data["root_orient"], *parts], 1), data["poses"])


@pytest.mark.parametrize("rate", ["mocap_frame_rate", "mocap_framerate", "fps"])
@pytest.mark.parametrize("place", ["trans", "transl"])
def test_spellings(tmp_path, rate, place):
    made = motion()
    np.savez(
        tmp_path / "a.npz",
        **{rate: np.array(made.fps), place: made.translation},
        global_orient=made.pose[:, 0],
        body_pose=made.pose[:, 1:22].reshape(4, -1),
        left_hand_pose=made.pose[:, 25:40],
        right_hand_pose=made.pose[:, 40:].reshape(4, -1),
        jaw_pose=made.pose[:, 22],
        leye_pose=made.pose[:, 23],
        reye_pose=made.pose[:, 24],
        gender=np.array(b"male"),
    )
    found, notes = amass.read_amass(tmp_path / "a.npz")
    assert np.array_equal(found.pose, made.pose) and np.array_equal(found.translation, made.translation)
    assert found.fps == made.fps and found.body == "male" and notes == ()


@pytest.mark.parametrize("joints, body, fingers", [(24, 22, 0), (52, 22, 30), (55, 25, 30)])
def test_smpl_and_smplh(tmp_path, joints, body, fingers):
    poses = np.random.default_rng(1).normal(0, 1, (3, joints * 3))
    np.savez(tmp_path / "a.npz", poses=poses, trans=np.zeros((3, 3)), mocap_framerate=120.0, betas=np.ones(16))
    found, notes = amass.read_amass(tmp_path / "a.npz")
    turns = poses.reshape(3, joints, 3)
    assert np.array_equal(found.pose[:, :body], turns[:, :body])
    assert np.array_equal(found.pose[:, 55 - fingers :], turns[:, body : body + fingers])
    assert not found.pose[:, body : 55 - fingers].any()
    assert notes == (amass.FOREIGN_SHAPE,) and not found.betas.any(), "another body's shape means nothing here"


def test_what_is_missing_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros((2, 156)))
    found, notes = amass.read_amass(tmp_path / "a.npz")
    assert len(notes) == 2 and found.fps == 30.0 and not found.translation.any()


@pytest.mark.parametrize(
    "members, words",
    [
        (dict(poses=np.zeros((2, 51))), "17 joints"),
        (dict(trans=np.zeros((2, 3))), "neither poses"),
        (dict(poses=np.full((2, 72), np.nan)), "not numbers"),
        (dict(poses=np.zeros((2, 72)), fps=0.0), "frame rate"),
        (dict(poses=np.zeros((2, 72)), trans=np.zeros((3, 3))), "not a readable"),
        (dict(poses=np.array([{}, {}], object)), "not a readable"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, members, words):
    np.savez(tmp_path / "a.npz", **members)
    with pytest.raises(TakeError, match=words):
        amass.read_amass(tmp_path / "a.npz")


def test_what_is_no_motion(tmp_path):
    with pytest.raises(TakeError, match="There is no file"):
        amass.read_amass(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 but not really")
    with pytest.raises(TakeError, match="not a readable"):
        amass.read_amass(tmp_path / "a.npz")
    assert not amass.is_amass(tmp_path / "a.npz")
    assert not amass.is_amass(write_take(tmp_path / "t.npz", any_take()))
