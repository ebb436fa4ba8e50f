# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes on disk: equal after a round trip, readable without this project, whole or absent, damage is named."""

import dataclasses
import json
import os
import random

import numpy as np
import pytest
from samples import Maker, any_take, assert_same

from recover_body.wire import take as takes
from recover_body.wire.take import TakeError, read_take, write_take


@pytest.mark.parametrize("seed", range(8))
def test_round_trip(seed, tmp_path):
    take = any_take(seed)
    path = write_take(tmp_path / "Ordner mit Leerzeichen" / "写真.take.npz", take)
    assert_same(read_take(path), take)
    assert os.listdir(path.parent) == [path.name]


def test_plain_numpy_reads_it_and_names_explain_themselves(tmp_path):
    take = dataclasses.replace(
        any_take(1), people=(Maker(0).persontrack(2),), frame_numbers=np.array([1, 2]), seen=(), drift_px=None
    )
    take = dataclasses.replace(take, camera=Maker(0).cameratrack())
    with np.load(write_take(tmp_path / "a.take.npz", take), allow_pickle=False) as data:
        assert np.array_equal(data["people.0.pose"], take.people[0].pose)
        assert np.array_equal(data["camera.T_world_camera"], take.camera.T_world_camera)
        assert json.loads(str(data["header"]))["format"] == takes.TAKE_FORMAT


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_take(tmp_path / "a.take.npz", any_take(0))
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(takes.np, "savez_compressed", full_disk)
    with pytest.raises(OSError):
        write_take(path, any_take(1))
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
def test_others_may_read_it_as_any_file(tmp_path):
    (tmp_path / "plain").touch()
    path = write_take(tmp_path / "a.take.npz", any_take(0))
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18])
def test_no_take(data, tmp_path):
    path = tmp_path / "a.take.npz"
    path.write_bytes(data)
    with pytest.raises(TakeError, match="not a readable take"):
        read_take(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(TakeError, match="no file"):
        read_take(tmp_path / "nothing.npz")
    with pytest.raises(TakeError):
        read_take(tmp_path)
    np.savez(tmp_path / "amass.npz", poses=np.zeros((3, 165)), trans=np.zeros((3, 3)))
    with pytest.raises(TakeError):
        read_take(tmp_path / "amass.npz")
    np.savez(tmp_path / "pickled.npz", header=np.array({"format": 1}, dtype=object))
    with pytest.raises(TakeError):
        read_take(tmp_path / "pickled.npz")


def test_a_newer_format_is_named_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr(takes, "TAKE_FORMAT", 99)
    path = write_take(tmp_path / "a.take.npz", any_take(0))
    monkeypatch.undo()
    with pytest.raises(TakeError, match="format 99"):
        read_take(path)


def test_truncated_or_damaged_files(tmp_path):
    data = write_take(tmp_path / "a.take.npz", any_take(3)).read_bytes()
    damaged_path, chosen = tmp_path / "b.take.npz", random.Random(0)
    for length in range(0, len(data), max(1, len(data) // 60)):
        damaged_path.write_bytes(data[:length])
        with pytest.raises(TakeError):
            read_take(damaged_path)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        damaged_path.write_bytes(damaged)
        try:
            read_take(damaged_path)  # a bit that nothing looks at, such as a time stamp
        except TakeError as error:
            assert "b.take.npz" in str(error)


@pytest.mark.parametrize("change", [
    {"pose": np.zeros((2, 24, 3))}, {"betas": np.zeros(16)}, {"present": np.ones(3, bool)},
    {"keypoints_px": np.zeros((2, 5, 2))}, {"overlay_iou": np.zeros((2, 1))},
    {"joint_error_mm": np.zeros((2, 55))},
])  # fmt: skip
def test_shapes_are_checked_at_the_border(change):
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(Maker(0).persontrack(2), **change)


def test_people_and_camera_must_have_the_takes_frames():
    maker = Maker(0)
    take = dataclasses.replace(any_take(0), people=(), frame_numbers=np.arange(5), camera=maker.cameratrack(), seen=())
    with pytest.raises(ValueError, match="frames"):
        dataclasses.replace(take, people=(maker.persontrack(4),))
    with pytest.raises(ValueError, match="frames"):
        dataclasses.replace(take, camera=maker.cameratrack(4))
    with pytest.raises(ValueError):
        maker.cameratrack(0)
