# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds people: landmarks, metric landmarks and a mask for each, with the models that MediaPipe 0.10.21 carries.

Its pose solution gives one person per picture and misses small ones, so nobody found in the whole picture means looking
again in overlapping square tiles. Everything is returned in the full image's pixels (top left corner is 0, 0).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .errors import MissingPackage

MINIMUM_SCORE = 0.3
"""Landmark visibility, averaged over the trunk, below which a find is not a person."""
_TRUNK = (11, 12, 23, 24)
_TILE_SHARES = (1.0, 0.5)  # of the picture's shorter side
_TILE_OVERLAP = 0.5
_MINIMUM_TILE_PX = 96


@dataclass(frozen=True)
class Detection:
    """One person in one picture."""

    box_px: np.ndarray
    """(4,) left, top, right, bottom."""
    score: float
    """Mean visibility of shoulders and hips, or of the face where it is all that is seen; 0 to 1."""
    points_px: np.ndarray
    """(33, 2) landmarks; those outside the picture are guesses."""
    visibility: np.ndarray
    """(33,) 0 to 1; 0 outside the picture."""
    metric_points: np.ndarray
    """(33, 3) landmarks in metres about the hips, camera axes (x right, y down, z forward)."""
    mask: np.ndarray
    """(H, W) bool, the person's pixels."""


def missing() -> tuple[str, ...]:
    """What detection lacks on this machine, a sentence each."""
    lacking = [name for name in ("mediapipe", "cv2") if importlib.util.find_spec(name) is None]
    names = {"mediapipe": "mediapipe==0.10.21", "cv2": "opencv-python-headless"}
    return tuple(f"The Python package {names[name]} is missing: run `python dev.py setup`." for name in lacking)


def find_people(image: np.ndarray) -> list[Detection]:
    """The people in an (H, W, 3) uint8 RGB picture, most visible first; empty when there is nobody."""
    found = _find_one(image, 0, 0, image.shape[:2])
    if found is None:
        candidates = [_find_one(image[y : y + s, x : x + s], x, y, image.shape[:2]) for x, y, s in _tiles(image.shape)]
        found = max((c for c in candidates if c is not None), key=lambda c: c.score, default=None)
    return [] if found is None else [found]


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover the picture, large ones first."""
    height, width = shape[:2]
    for share in _TILE_SHARES:
        side = int(min(height, width) * share)
        if side < _MINIMUM_TILE_PX or side >= max(height, width):
            continue
        for top in _starts(height, side):
            for left in _starts(width, side):
                yield left, top, side


def _starts(length: int, side: int) -> np.ndarray:
    count = int(np.ceil((length - side) / (side * (1 - _TILE_OVERLAP)))) + 1
    return np.unique(np.linspace(0, length - side, count).astype(int))


def _find_one(tile: np.ndarray, left: int, top: int, full_shape: tuple[int, int]) -> Detection | None:
    """MediaPipe's one person in a tile of the full picture."""
    result = _pose_solution().process(np.ascontiguousarray(tile))
    if result.pose_landmarks is None or result.segmentation_mask is None:
        return None
    height, width = tile.shape[:2]
    raw = np.array([[p.x, p.y, p.visibility] for p in result.pose_landmarks.landmark])
    metric = np.array([[p.x, p.y, p.z] for p in result.pose_world_landmarks.landmark])
    points_px = raw[:, :2] * (width, height)
    inside = ((points_px >= 0) & (points_px <= (width, height))).all(1)
    visibility = raw[:, 2] * inside
    score = float(max(visibility[list(_TRUNK)].mean(), visibility[:11].mean()))
    mask_in_tile = result.segmentation_mask > 0.5
    if score < MINIMUM_SCORE or not mask_in_tile.any():
        return None
    mask = np.zeros(full_shape, bool)
    mask[top : top + height, left : left + width] = mask_in_tile
    points_px = points_px + np.array([left, top])
    return Detection(_box(mask, points_px[visibility > 0.5]), score, points_px, visibility, metric, mask)


def _box(mask: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """(4,) around the mask and the landmarks that were seen."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64)
    corners = np.concatenate([corners, points_px])
    return np.concatenate([corners.min(0), corners.max(0)])


@lru_cache(maxsize=1)
def _pose_solution():
    os.environ.setdefault("GLOG_minloglevel", "2")  # else its C++ side fills the log with notes on delegates
    try:
        from mediapipe.python.solutions.pose import Pose
    except ImportError as error:
        raise MissingPackage(f"The landmark detector could not be loaded ({error}).") from None
    # Complexity 1 is the only model in the wheel; 0 and 2 would be downloaded.
    return Pose(
        static_image_mode=True, model_complexity=1, enable_segmentation=True, min_detection_confidence=MINIMUM_SCORE
    )
