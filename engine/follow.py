# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks and mask of somebody whose whereabouts are known from the frame before: one pass of one network.

The network sees a turned square around the person, scaled to 256 pixels. So only that part of the picture is handed
over, and what follows costs the same for every size of picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..models.landmark_lifter import NOTHING_SEEN
from . import detect
from .masks import PackedMask
from .mediapipe_graphs import Details, Region, find_details, find_landmarks

CUT_PX = 384
"""Longest side of the part that is handed over: somewhat more than the network's own 256."""
_HUES, _SHADES = 12, 6
_DETAILS_SHARE = 0.28
"""Hands and faces of people smaller than this share of the picture's height are too small to be read."""


@dataclass(frozen=True)
class Sighting:
    """One person in one frame of a clip; the first fields as in `detect.Detection`."""

    box_px: np.ndarray
    score: float
    points_px: np.ndarray
    visibility: np.ndarray
    metric_points: np.ndarray
    mask: PackedMask
    details: Details
    next_region: Region
    """Where to look in the next frame."""
    look: np.ndarray
    """(78,) histogram of the person's colours, sums to 1."""
    angle_rad: float = 0.0
    appearance: np.ndarray = field(default_factory=lambda: NOTHING_SEEN)

    @property
    def size_px(self) -> float:
        """Diagonal of the box."""
        return float(np.linalg.norm(self.box_px[2:] - self.box_px[:2]))

    @property
    def centre_px(self) -> np.ndarray:
        """(2,) middle of the hips."""
        return self.points_px[23:25].mean(0)


def see(image: np.ndarray, region: Region) -> Sighting | None:
    """The person in a region of an (H, W, 3) uint8 RGB picture; None where there is nobody."""
    height, width = image.shape[:2]
    reach = region.side_px / 2 * (abs(np.cos(region.angle_rad)) + abs(np.sin(region.angle_rad))) + 2
    left, top = np.maximum(np.floor(region.centre_px - reach), 0).astype(int)
    right, bottom = np.minimum(np.ceil(region.centre_px + reach), (width, height)).astype(int)
    if min(right - left, bottom - top) < 16:
        return None
    cut = image[top:bottom, left:right]
    scale = min(1.0, CUT_PX / max(cut.shape[:2]))
    if scale < 1:
        size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
        cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)
    corner = np.array([left, top])
    found = find_landmarks(cut, _moved(region, -corner, scale))
    if found is None:
        return None
    person = detect.as_detection(found, cut)
    if person is None:
        return None
    columns, rows = np.flatnonzero(person.mask.any(0)), np.flatnonzero(person.mask.any(1))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    mask = PackedMask.of(person.mask[part], left + columns[0] / scale, top + rows[0] / scale, scale, width, height)
    following = found.next_region
    return Sighting(
        box_px=person.box_px / scale + np.tile(corner, 2),
        score=person.score,
        points_px=person.points_px / scale + corner,
        visibility=person.visibility,
        metric_points=person.metric_points,
        mask=mask,
        details=person.details,
        next_region=_moved(replace(following, centre_px=following.centre_px / scale), corner, 1, 1 / scale),
        look=_look(cut[part], person.mask[part]),
        angle_rad=person.angle_rad,
        appearance=person.appearance,
    )


def with_details(image: np.ndarray, sighting: Sighting) -> Sighting:
    """The same with hands and face, where the person is large enough for them."""
    if sighting.box_px[3] - sighting.box_px[1] < _DETAILS_SHARE * image.shape[0]:
        return sighting
    return replace(sighting, details=find_details(image, sighting.points_px, sighting.visibility))


def is_same_person(a: Sighting, b: Sighting) -> bool:
    """Whether two sightings in one frame are of one person: they share most of their pixels, or their visible landmarks
    coincide. Pixels tell even where one of them is taken to be turned round."""
    if a.mask.shared(b.mask) > detect.SAME_PIXELS:
        return True
    both = np.minimum(a.visibility, b.visibility)
    apart = np.linalg.norm(a.points_px - b.points_px, axis=1)
    near = detect.SAME_PERSON * min(a.size_px, b.size_px)
    return bool(both.sum() > 3) and float((both * apart).sum() / both.sum()) < near


def _moved(region: Region, by_px: np.ndarray, scale: float, size_scale: float | None = None) -> Region:
    size_scale = scale if size_scale is None else size_scale
    return replace(region, centre_px=(region.centre_px + by_px) * scale, side_px=region.side_px * size_scale)


def _look(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colours of the person: hue by lightness for what has colour, lightness alone for what is grey."""
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV)[mask]
    hue, shade = hsv[:, 0].astype(int) * _HUES // 180, hsv[:, 2].astype(int) * _SHADES // 256
    cell = np.where(hsv[:, 1] < 48, _HUES, hue) * _SHADES + shade
    counts = np.bincount(cell, minlength=(_HUES + 1) * _SHADES).astype(np.float64)
    return counts / max(counts.sum(), 1)
