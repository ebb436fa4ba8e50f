# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's landmark networks show what they have seen, and say what they always said."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from recover_body.engine import detect, landmark_networks, mediapipe_graphs
from recover_body.engine.landmark_networks import FEATURE_SHAPE, FEATURE_STEP, MEDIUM, with_features

mediapipe = pytest.importorskip("mediapipe")


@pytest.fixture
def network() -> bytes:
    return (Path(mediapipe.__file__).parent / "modules" / "pose_landmark" / "pose_landmark_full.tflite").read_bytes()


@pytest.fixture
def photograph(shared):
    """(H, W, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.imread(str(shared("fixtures/images/yoga_boxed.jpg"))), cv2.COLOR_BGR2RGB)


def test_nothing_but_the_list_of_outputs_changes(network):
    from mediapipe.tasks.metadata import schema_py_generated as schema

    changed = with_features(network, MEDIUM)
    before, after = (
        schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0)).subgraphs[0] for data in (network, changed)
    )
    assert list(after.outputs) == [*before.outputs, landmark_networks.FEATURES[MEDIUM]]
    assert list(after.inputs) == list(before.inputs) and len(after.operators) == len(before.operators)
    assert tuple(after.tensors[after.outputs[-1]].shape) == (1, *FEATURE_SHAPE)
    different = [n for n, (a, b) in enumerate(zip(network, changed, strict=False)) if a != b]
    assert max(different) - min(different) < 4  # where the list stands


def test_the_landmarks_are_those_of_the_untouched_network(network, photograph):
    """The same graph without what takes the features out, around the network as it is."""
    from mediapipe.python import packet_creator

    (region, *_) = detect.find_regions(photograph)
    seen = mediapipe_graphs.find_landmarks(photograph, region)
    whole = mediapipe_graphs._FOLLOW_PERSON
    begin = whole.index('node {\n  calculator: "SplitTensorVectorCalculator"')
    end = whole.index("node {", whole.index("TensorsToFloatsCalculator"))
    plain = (whole[:begin] + whole[end:]).replace("answer_and_features", "answer")
    plain = plain.replace('output_stream: "features"\n', "")
    outputs = ("landmarks", "metric", "mask", "next_region")
    packets = {"segment": packet_creator.create_bool(True), "network": packet_creator.create_string(network)}
    answer = mediapipe_graphs._Graph(plain, outputs, packets).run(
        image=mediapipe_graphs._image_packet(photograph),
        region=mediapipe_graphs._region_packet(region, photograph.shape[1], photograph.shape[0]),
    )
    get = mediapipe_graphs._getter()
    points = np.array([[p.x, p.y] for p in get.get_proto(answer["landmarks"]).landmark])
    metric = np.array([[p.x, p.y, p.z] for p in get.get_proto(answer["metric"]).landmark])
    np.testing.assert_array_equal(points * photograph.shape[1::-1], seen.points_px)
    np.testing.assert_array_equal(metric, seen.metric_points)


def test_features_fit_their_bytes_and_tell_people_apart(photograph):
    (region, *_) = detect.find_regions(photograph)
    seen = mediapipe_graphs.find_landmarks(photograph, region)
    assert seen.features.shape == FEATURE_SHAPE and seen.network == MEDIUM
    assert seen.features.min() >= 0 and seen.features.max() <= 255 * FEATURE_STEP[MEDIUM] + 1e-3
    (person,) = detect.find_people(photograph, only_largest=True, closer=False)
    (mirrored,) = detect.find_people(np.ascontiguousarray(photograph[:, ::-1]), only_largest=True, closer=False)
    assert person.appearance.any()
    apart = np.linalg.norm(person.appearance - mirrored.appearance)
    assert apart > 0.1 * np.linalg.norm(person.appearance)
