# SPDX-License-Identifier: GPL-3.0-or-later
"""RTMDet and RTMPose as the user imports them: tiny generated networks with the same inputs and outputs."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine import detect, rtm
from recover_body.engine.detect import Detection
from recover_body.engine.fit.points import LANDMARK_NAMES
from recover_body.engine.importer import import_files
from recover_body.engine.mediapipe_graphs import Details
from recover_body.models import weights
from recover_body.models.errors import DamagedFile, UnknownFile

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")),
    reason="run `python dev.py setup onnx`",
)
WIDTH, HEIGHT = 192, 256
FOUND = np.array([[[100, 50, 300, 600, 0.9], [320, 80, 400, 300, 0.8], [0, 0, 9, 9, 0.1]]], np.float32)
COLUMN, ROW = 96, 64
"""Where the generated RTMPose sees every point, in pixels of its input."""


def network(path, size, **outputs):
    """A network that says `outputs` whatever it sees."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, told = [], []
    for name, values in outputs.items():
        constant = numpy_helper.from_array(values, f"{name}_values")
        nodes.append(helper.make_node("Constant", [], [name], value=constant))
        kind = TensorProto.INT64 if values.dtype == np.int64 else TensorProto.FLOAT
        told.append(helper.make_tensor_value_info(name, kind, values.shape))
    entering = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *size])
    graph = helper.make_graph(nodes, "tiny", [entering], told)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.fixture
def imported(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    across, down = np.zeros((1, 133, 2 * WIDTH), np.float32), np.zeros((1, 133, 2 * HEIGHT), np.float32)
    across[0, :, 2 * COLUMN], down[0, :, 2 * ROW] = 0.8, 0.9
    across[0, 9] = 0  # the left wrist is not seen
    files = [
        network(tmp_path / "det.onnx", (640, 640), dets=FOUND, labels=np.zeros((1, 3), np.int64)),
        network(tmp_path / "pose.onnx", (HEIGHT, WIDTH), simcc_x=across, simcc_y=down),
    ]
    assert {found.entry.id for found in import_files(files)} == {"rtmdet", "rtmpose-wholebody"}


def person(box_px) -> Detection:
    nothing = np.zeros((33, 2)), np.full(33, 0.2), np.zeros((33, 3))
    return Detection(np.array(box_px, float), 1.0, *nothing, np.ones((8, 8), bool), Details(None, None, None))


def test_boxes_are_in_pixels_of_the_picture(imported):
    found = rtm.boxes(np.zeros((1280, 960, 3), np.uint8))  # twice the network's 640
    np.testing.assert_allclose(found[:, :4], 2 * FOUND[0, :2, :4])
    np.testing.assert_allclose(found[:, 4], [0.9, 0.8], atol=1e-6)


def test_points_come_back_to_the_picture(imported):
    box_px = np.array([100.0, 200.0, 196.0, 328.0])  # the shape of the input
    (found,) = rtm.points(np.zeros((500, 400, 3), np.uint8), box_px[None])
    size = rtm.BOX_MARGIN * (box_px[2:] - box_px[:2])
    middle = (box_px[:2] + box_px[2:]) / 2
    expected = middle + (np.array([COLUMN / WIDTH, ROW / HEIGHT]) - 0.5) * size
    np.testing.assert_allclose(found[0, :2], expected, atol=1e-6)
    assert found[0, 2] == pytest.approx(0.8) and found[9, 2] == 0


def test_sure_points_replace_mediapipes(imported):
    (better,) = rtm.with_points(np.zeros((500, 400, 3), np.uint8), [person([100, 200, 196, 328])])
    knee, wrist = LANDMARK_NAMES.index("left_knee"), LANDMARK_NAMES.index("left_wrist")
    assert better.visibility[knee] == pytest.approx(0.8) and better.points_px[knee].any()
    assert better.visibility[wrist] == pytest.approx(0.2) and not better.points_px[wrist].any()
    assert set(rtm._SAME_POINT) <= set(LANDMARK_NAMES)


def test_who_was_missed_is_added(imported, monkeypatch):
    known = person([200, 100, 600, 1200])  # the first box
    monkeypatch.setattr(detect, "find_people", lambda *_, **__: [known])
    monkeypatch.setattr(rtm, "find_landmarks", lambda image, region: region)
    monkeypatch.setattr(rtm, "find_details", lambda *_: Details(None, None, None))

    def as_detection(region, image):
        half = np.array([region.side_px, region.side_px]) / 4
        return replace(known, box_px=np.concatenate([region.centre_px - half, region.centre_px + half]))

    monkeypatch.setattr(detect, "as_detection", as_detection)
    people = rtm.find_people(np.zeros((1280, 960, 3), np.uint8))
    assert len(people) == 2
    np.testing.assert_allclose((people[1].box_px[:2] + people[1].box_px[2:]) / 2, [720, 380])


def test_without_them_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    somebody = person([0, 0, 9, 9])
    monkeypatch.setattr(detect, "find_people", lambda *_, **__: [somebody])
    assert rtm.find_people(np.zeros((64, 64, 3), np.uint8)) == [somebody]


def test_other_networks_and_rubbish_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    with pytest.raises(UnknownFile, match="none of the files"):
        import_files([network(tmp_path / "other.onnx", (8, 8), something=np.zeros((1, 2), np.float32))])
    (tmp_path / "bad.onnx").write_bytes(b"no network at all")
    with pytest.raises(DamagedFile, match=r"bad\.onnx"):
        import_files([tmp_path / "bad.onnx"])
    assert weights.installed(weights.find("rtmdet")) is None
