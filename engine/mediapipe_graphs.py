# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe 0.10.21's own graphs, wired for stills with several people.

The ready-made pose solution follows one person. Its parts are calculators inside the same wheel, so three small graphs
serve us better: one finds all people in a picture, one gives landmarks and a mask for a region of interest, and one
looks closer at hands and face.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import MissingPackage
from .landmark_networks import FEATURE_SHAPE, LARGE, MEDIUM, with_features

_FIND_PEOPLE = """
input_stream: "image"
output_stream: "detections"
node { calculator: "PoseDetectionCpu" input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections" }
"""

_FOLLOW_PERSON = """
input_stream: "image"
input_stream: "region"
input_side_packet: "segment"
input_side_packet: "network"
output_stream: "landmarks"
output_stream: "metric"
output_stream: "mask"
output_stream: "next_region"
output_stream: "features"
node { calculator: "ImagePropertiesCalculator" input_stream: "IMAGE:image" output_stream: "SIZE:size" }
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image"
  input_stream: "NORM_RECT:region"
  output_stream: "TENSORS:crop"
  output_stream: "LETTERBOX_PADDING:padding"
  output_stream: "MATRIX:matrix"
  options {
    [mediapipe.ImageToTensorCalculatorOptions.ext] {
      output_tensor_width: 256
      output_tensor_height: 256
      keep_aspect_ratio: true
      output_tensor_float_range { min: 0.0 max: 1.0 }
    }
  }
}
node {
  calculator: "TfLiteModelCalculator"
  input_side_packet: "MODEL_BLOB:network"
  output_side_packet: "MODEL:model"
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:crop"
  input_side_packet: "MODEL:model"
  output_stream: "TENSORS:answer_and_features"
  options { [mediapipe.InferenceCalculatorOptions.ext] { delegate { xnnpack {} } } }
}
node {
  calculator: "SplitTensorVectorCalculator"
  input_stream: "answer_and_features"
  output_stream: "answer"
  output_stream: "features_tensor"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] { ranges { begin: 0 end: 5 } ranges { begin: 5 end: 6 } } }
}
node {
  calculator: "TensorsToFloatsCalculator"
  input_stream: "TENSORS:features_tensor"
  output_stream: "FLOATS:features"
}
node {
  calculator: "TensorsToPoseLandmarksAndSegmentation"
  input_side_packet: "ENABLE_SEGMENTATION:segment"
  input_stream: "TENSORS:answer"
  output_stream: "LANDMARKS:crop_landmarks"
  output_stream: "AUXILIARY_LANDMARKS:crop_auxiliary"
  output_stream: "WORLD_LANDMARKS:crop_metric"
  output_stream: "SEGMENTATION_MASK:crop_mask"
}
node {
  calculator: "PoseLandmarksAndSegmentationInverseProjection"
  input_stream: "IMAGE_SIZE:size"
  input_stream: "NORM_RECT:region"
  input_stream: "LETTERBOX_PADDING:padding"
  input_stream: "MATRIX:matrix"
  input_stream: "LANDMARKS:crop_landmarks"
  input_stream: "AUXILIARY_LANDMARKS:crop_auxiliary"
  input_stream: "WORLD_LANDMARKS:crop_metric"
  input_stream: "SEGMENTATION_MASK:crop_mask"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:auxiliary"
  output_stream: "WORLD_LANDMARKS:metric"
  output_stream: "SEGMENTATION_MASK:mask"
}
node {
  calculator: "PoseLandmarksToRoi"
  input_stream: "LANDMARKS:auxiliary"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "ROI:next_region"
}
"""

_LOOK_CLOSER = """
input_stream: "image"
input_stream: "pose"
input_stream: "face_of_pose"
input_side_packet: "refine"
output_stream: "left_hand"
output_stream: "right_hand"
output_stream: "face"
node {
  calculator: "HandLandmarksLeftAndRightCpu"
  input_stream: "IMAGE:image"
  input_stream: "POSE_LANDMARKS:pose"
  output_stream: "LEFT_HAND_LANDMARKS:left_hand"
  output_stream: "RIGHT_HAND_LANDMARKS:right_hand"
}
node {
  calculator: "FaceLandmarksFromPoseCpu"
  input_side_packet: "REFINE_LANDMARKS:refine"
  input_stream: "IMAGE:image"
  input_stream: "FACE_LANDMARKS_FROM_POSE:face_of_pose"
  output_stream: "FACE_LANDMARKS:face"
}
"""

REGION_MARGIN = 1.25
"""The landmark network saw people with this much room around them."""


@dataclass(frozen=True)
class Region:
    """A turned square around a person. Pixels, radians; an upright person has angle 0."""

    centre_px: np.ndarray
    """(2,) middle of the hips."""
    side_px: float
    angle_rad: float
    score: float
    """Detector's confidence, 0 to 1."""


@dataclass(frozen=True)
class Details:
    """Hands and face of one person: (N, 3) pixels, the third towards the back; None where none was seen."""

    left_hand: np.ndarray | None
    """(21, 3) wrist, then thumb, index, middle, ring, pinky from root to tip."""
    right_hand: np.ndarray | None
    face: np.ndarray | None
    """(478, 3) MediaPipe's face mesh with irises."""


@dataclass(frozen=True)
class Landmarks:
    """MediaPipe's answer for one region."""

    points_px: np.ndarray
    """(33, 2)."""
    visibility: np.ndarray
    """(33,) 0 to 1."""
    metric_points: np.ndarray
    """(33, 3) metres about the hips, camera axes."""
    mask: np.ndarray
    """(H, W) float32, 0 to 1, how likely each pixel is the person's."""
    next_region: Region
    """The region these landmarks would be looked for in next."""
    region: Region
    """Where they were looked for."""
    features: np.ndarray | None
    """(8, 8, 288) float32 what the network had made of the region before it told landmarks from it."""
    network: str
    """Whose features: a name of `landmark_networks`."""


def find_regions(image: np.ndarray) -> list[Region]:
    """People in an (H, W, 3) uint8 RGB picture; those below about an eighth of its size are missed."""
    height, width = image.shape[:2]
    with _borrowed(_finder) as finder:
        packet = finder.run(image=_image_packet(image))["detections"]
    if packet is None:
        return []
    regions = []
    for detection in _getter().get_proto_list(packet):
        points = detection.location_data.relative_keypoints
        hips, rim = (np.array([p.x * width, p.y * height]) for p in points[:2])
        towards = rim - hips  # from the hips to a point above the head, on the circle around the whole body
        side_px = 2 * float(np.linalg.norm(towards)) * REGION_MARGIN
        regions.append(Region(hips, side_px, float(np.arctan2(towards[0], -towards[1])), float(detection.score[0])))
    return regions


def find_landmarks(image: np.ndarray, region: Region, model: Path | None = None) -> Landmarks | None:
    """Landmarks of the person in a region of an (H, W, 3) uint8 RGB picture; None where the network sees nobody.

    `model` is the file of a pose landmark network, by default the one in MediaPipe's wheel.
    """
    height, width = image.shape[:2]
    with _borrowed(_follower, model) as follower:
        answer = follower.run(image=_image_packet(image), region=_region_packet(region, width, height))
    if any(answer[name] is None for name in ("landmarks", "metric", "mask")):
        return None
    get = _getter()
    points = np.array([[p.x, p.y, p.visibility] for p in get.get_proto(answer["landmarks"]).landmark])
    metric = np.array([[p.x, p.y, p.z] for p in get.get_proto(answer["metric"]).landmark])
    mask = get.get_image(answer["mask"]).numpy_view().reshape(height, width).copy()
    following = get.get_proto(answer["next_region"])
    next_region = Region(
        np.array([following.x_center * width, following.y_center * height]),
        following.width * width,
        following.rotation,
        region.score,
    )
    features = np.array(get.get_float_list(answer["features"]), np.float32).reshape(FEATURE_SHAPE)
    points_px, visibility = points[:, :2] * (width, height), points[:, 2]
    network = MEDIUM if model is None else LARGE
    return Landmarks(points_px, visibility, metric, mask, next_region, region, features, network)


def find_details(image: np.ndarray, points_px: np.ndarray, visibility: np.ndarray) -> Details:
    """Hands and face of the person whose pose landmarks (33, 2) are given, in an (H, W, 3) uint8 RGB picture."""
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList
    from mediapipe.python.packet_creator import create_proto

    height, width = image.shape[:2]
    size = np.array([width, height, width])  # MediaPipe scales the third coordinate like the first
    pose = [
        NormalizedLandmark(x=x / width, y=y / height, visibility=seen, presence=seen)
        for (x, y), seen in zip(points_px, visibility, strict=True)
    ]
    answer = _closer().run(
        image=_image_packet(image),
        pose=create_proto(NormalizedLandmarkList(landmark=pose)),
        face_of_pose=create_proto(NormalizedLandmarkList(landmark=pose[:11])),
    )

    def points(name: str) -> np.ndarray | None:
        if answer[name] is None:
            return None
        return np.array([[p.x, p.y, p.z] for p in _getter().get_proto(answer[name]).landmark]) * size

    return Details(points("left_hand"), points("right_hand"), points("face"))


def forget_details() -> None:
    """Have hands and faces found afresh: the graph begins to look where it saw them last, whosever they were."""
    find_details(np.zeros((8, 8, 3), np.uint8), np.zeros((33, 2)), np.zeros(33))  # an empty picture, and nobody in it


class _Graph:
    """One running graph; every call is one tick of its clock."""

    def __init__(self, config: str, outputs: tuple[str, ...], side_packets: dict) -> None:
        from mediapipe.python._framework_bindings import calculator_graph

        self._graph = calculator_graph.CalculatorGraph(graph_config=config)
        self._outputs: dict = dict.fromkeys(outputs)
        self._time = 0
        for name in outputs:
            self._graph.observe_output_stream(name, self._store, True)
        self._graph.start_run(side_packets)

    def _store(self, name: str, packet) -> None:
        self._outputs[name] = None if packet.is_empty() else packet

    def run(self, **inputs) -> dict:
        """Packets in, packets out (None for an output that has nothing to say)."""
        self._outputs = dict.fromkeys(self._outputs)
        self._time += 1
        for name, packet in inputs.items():
            self._graph.add_packet_to_input_stream(name, packet.at(self._time))
        self._graph.wait_until_idle()
        return self._outputs


_free: dict[tuple, list[_Graph]] = {}


@contextmanager
def _borrowed(make: Callable[..., _Graph], *kind: Path | None) -> Iterator[_Graph]:
    """A graph that nobody else uses, since it answers one question at a time; as many are made as are ever in use."""
    free = _free.setdefault((make, *kind), [])
    try:
        graph = free.pop()
    except IndexError:
        graph = make(*kind)
    yield graph
    free.append(graph)  # one that failed is not used again


def _finder() -> _Graph:
    _prepare()
    return _Graph(_FIND_PEOPLE, ("detections",), {})


def _follower(model: Path | None) -> _Graph:
    _prepare()
    from mediapipe.python import packet_creator

    if model is None:
        path, name = _package() / "modules" / "pose_landmark" / "pose_landmark_full.tflite", MEDIUM
    else:
        path, name = model, LARGE
    network = with_features(path.read_bytes(), name)
    side_packets = {
        "segment": packet_creator.create_bool(True),
        "network": packet_creator.create_string(network),
    }
    return _Graph(_FOLLOW_PERSON, ("landmarks", "metric", "mask", "next_region", "features"), side_packets)


@lru_cache(maxsize=1)
def _closer() -> _Graph:
    _prepare()
    from mediapipe.python import packet_creator

    side_packets = {"refine": packet_creator.create_bool(True)}
    return _Graph(_LOOK_CLOSER, ("left_hand", "right_hand", "face"), side_packets)


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Import MediaPipe and tell it where its models lie."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # else its C++ side fills the log with notes on delegates
    try:
        from mediapipe.python._framework_bindings import resource_util

        # Registers the calculators that the graphs name.
        from mediapipe.python.solutions import holistic, pose  # noqa: F401
    except ImportError as error:
        raise MissingPackage(f"The landmark detector could not be loaded ({error}).") from None
    resource_util.set_resource_dir(str(_package().parent))


def _package() -> Path:
    import mediapipe

    return Path(mediapipe.__file__).resolve().parent


def _getter():
    from mediapipe.python import packet_getter

    return packet_getter


def _image_packet(image: np.ndarray):
    import mediapipe
    from mediapipe.python import packet_creator

    return packet_creator.create_image_frame(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _region_packet(region: Region, width: int, height: int):
    from mediapipe.framework.formats import rect_pb2
    from mediapipe.python import packet_creator

    return packet_creator.create_proto(
        rect_pb2.NormalizedRect(
            x_center=region.centre_px[0] / width,
            y_center=region.centre_px[1] / height,
            width=region.side_px / width,
            height=region.side_px / height,
            rotation=region.angle_rad,
        )
    )
