# SPDX-License-Identifier: GPL-3.0-or-later
"""RTMDet and RTMPose-WholeBody through onnxruntime, where the user imported them: more people, and surer points.

Papers: Lyu et al., "RTMDet" (2022); Jiang et al., "RTMPose" (2023). Both files are the authors' exports. Points are
COCO-WholeBody's 133; those that MediaPipe's 33 landmarks name too are taken from here where they are surer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from ..models import weights
from . import detect
from .chosen import overlap
from .detect import Detection
from .fit.points import LANDMARK_NAMES
from .follow import Sighting
from .mediapipe_graphs import REGION_MARGIN, Region, find_details, find_landmarks

if TYPE_CHECKING:
    import onnxruntime

DETECTOR, POINTS = "rtmdet", "rtmpose-wholebody"
PERSON, MINIMUM_SCORE, SAME_PERSON = 0, 0.3, 0.5
SURE = 0.5
"""Score from which on a point is taken."""
BOX_MARGIN = 1.25
_GREY = 114
_BGR_MEAN, _BGR_STD = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])

Person = TypeVar("Person", Detection, Sighting)

_LEFT_HAND, _RIGHT_HAND, _FACE = 91, 112, 23
# Landmark -> the mean of which of COCO-WholeBody's points.
_SAME_POINT = {
    "nose": (0,), "left_eye": (1,), "right_eye": (2,), "left_ear": (3,), "right_ear": (4,),
    "mouth_left": (_FACE + 54,), "mouth_right": (_FACE + 48,),
    "left_shoulder": (5,), "right_shoulder": (6,), "left_elbow": (7,), "right_elbow": (8,),
    "left_wrist": (9,), "right_wrist": (10,),
    "left_thumb": (_LEFT_HAND + 2,), "left_index": (_LEFT_HAND + 5,), "left_pinky": (_LEFT_HAND + 17,),
    "right_thumb": (_RIGHT_HAND + 2,), "right_index": (_RIGHT_HAND + 5,), "right_pinky": (_RIGHT_HAND + 17,),
    "left_hip": (11,), "right_hip": (12,), "left_knee": (13,), "right_knee": (14,),
    "left_ankle": (15,), "right_ankle": (16,), "left_heel": (19,), "right_heel": (22,),
    "left_foot_index": (17, 18), "right_foot_index": (20, 21),
}  # fmt: skip


def has(entry: str) -> bool:
    """Whether that network was imported and can run."""
    return importlib.util.find_spec("onnxruntime") is not None and weights.installed(weights.find(entry)) is not None


def in_use() -> list[str]:
    """The entries that take part on this machine."""
    return [entry for entry in (DETECTOR, POINTS) if has(entry)]


def find_people(image: np.ndarray, only_largest: bool = False) -> list[Detection]:
    """`detect.find_people`, helped by what is imported: people whom RTMDet finds too, points by RTMPose."""
    people = detect.find_people(image, only_largest=only_largest)
    if has(DETECTOR) and not only_largest:
        people += _more_people(image, people)
    return with_points(image, people)


def with_points(image: np.ndarray, people: Sequence[Person]) -> list[Person]:
    """The people with RTMPose's points where these are sure; unchanged where it is not imported."""
    if not people or not has(POINTS):
        return list(people)
    found = points(image, np.array([person.box_px for person in people]))
    return [_with_points(image, person, own) for person, own in zip(people, found, strict=True)]


def boxes(image: np.ndarray) -> np.ndarray:
    """(N, 5) people in an (H, W, 3) uint8 RGB picture: left, top, right, bottom in pixels, score; surest first."""
    session = _session(DETECTOR)
    entering = session.get_inputs()[0]
    height, width = (int(side) for side in entering.shape[2:])
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    framed = np.full((height, width, 3), _GREY, np.uint8)
    framed[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    planes = ((framed[..., ::-1] - _BGR_MEAN) / _BGR_STD).transpose(2, 0, 1)[None].astype(np.float32)
    found, labels = session.run(["dets", "labels"], {entering.name: planes})
    kept = found[0][(labels[0] == PERSON) & (found[0][:, 4] > MINIMUM_SCORE)].astype(np.float64)
    kept[:, :4] /= scale
    return kept[np.argsort(-kept[:, 4])]


def points(image: np.ndarray, boxes_px: np.ndarray) -> np.ndarray:
    """(B, 133, 3) points of the people in boxes (B, 4): x and y in pixels from the top left corner, score."""
    session = _session(POINTS)
    entering = session.get_inputs()[0]
    height, width = (int(side) for side in entering.shape[2:])
    found = []
    for box_px in boxes_px:
        centre, size = (box_px[:2] + box_px[2:]) / 2 - 0.5, BOX_MARGIN * (box_px[2:] - box_px[:2])  # pixel indices
        scale = min(width / size[0], height / size[1])
        middle = np.array([width, height]) / 2
        shift = middle - scale * centre
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        cut = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        planes = ((cut - _BGR_MEAN[::-1]) / _BGR_STD[::-1]).transpose(2, 0, 1)[None].astype(np.float32)
        across, down = session.run(["simcc_x", "simcc_y"], {entering.name: planes})
        # Each axis is a row of bins, finer than the pixels.
        bins = np.stack([across[0].argmax(-1), down[0].argmax(-1)], 1)
        place = bins * [width / across.shape[-1], height / down.shape[-1]]
        score = np.minimum(across[0].max(-1), down[0].max(-1))
        found.append(np.column_stack([(place - shift) / scale + 0.5, score.clip(0, 1)]))
    return np.array(found)


def _with_points(image: np.ndarray, person: Person, own: np.ndarray) -> Person:
    """own (133, 3)."""
    points_px, visibility = person.points_px.copy(), person.visibility.copy()
    height, width = image.shape[:2]
    for name, indices in _SAME_POINT.items():
        (x, y), score = own[list(indices), :2].mean(0), own[list(indices), 2].min()
        if score > SURE:
            landmark = LANDMARK_NAMES.index(name)
            points_px[landmark] = x, y
            visibility[landmark] = score * (0 <= x <= width and 0 <= y <= height)
    return replace(person, points_px=points_px, visibility=visibility)


def _more_people(image: np.ndarray, people: list[Detection]) -> list[Detection]:
    """Whom RTMDet sees and MediaPipe did not; mask and landmarks are MediaPipe's, looking there."""
    more: list[Detection] = []
    for *corners, score in boxes(image):
        box_px = np.array(corners)
        if any(overlap(box_px, other.box_px) > SAME_PERSON for other in (*people, *more)):
            continue
        side_px = float((box_px[2:] - box_px[:2]).max()) * REGION_MARGIN
        found = find_landmarks(image, Region((box_px[:2] + box_px[2:]) / 2, side_px, 0.0, float(score)))
        person = None if found is None else detect.as_detection(found, image)
        if person is not None and not any(overlap(person.box_px, p.box_px) > SAME_PERSON for p in (*people, *more)):
            more.append(replace(person, details=find_details(image, person.points_px, person.visibility)))
    return more


def _session(entry: str) -> onnxruntime.InferenceSession:
    found = weights.require(weights.find(entry))
    return _opened(str(found.path), found.sha256)


@lru_cache(maxsize=2)
def _opened(path: str, _checksum: str) -> onnxruntime.InferenceSession:
    import onnxruntime

    here = onnxruntime.get_available_providers()
    quickest = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in here]
    return onnxruntime.InferenceSession(path, providers=quickest)
