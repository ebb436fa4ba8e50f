# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds people: landmarks, metric landmarks and a mask for each. Pixels are the full image's, from its top left corner.

The detector sees the picture at 224 pixels, so small people are looked for again in overlapping square tiles. What
several tiles found of one person is one person; pixels that two people claim go to the likelier one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..models import weights
from ..models.landmark_lifter import NOTHING_SEEN, load_lifter
from .mediapipe_graphs import Details, Landmarks, Region, find_details, find_landmarks, find_regions
from .workers import side_by_side

MINIMUM_SCORE = 0.4
"""Mean visibility of trunk or face below which a find is not a person."""
SURE_FACE = 0.65
"""Detector's confidence below which a face without a trunk is not a person: wheels and leaves look like faces, too."""
MINIMUM_SIZE_PX = 32
_TRUNK = (11, 12, 23, 24)
_FACE = tuple(range(11))
_TILE_OVERLAP = 0.5
"""Whoever fits into half a tile is whole in one; with less of it, small people in drawn crowds are missed."""
_MINIMUM_TILE_PX = 160
_SAME_REGION = 0.4
"""Two regions are one person's when their centres lie closer than this share of the smaller one's side (and …)"""
_SAME_SCALE = 1.7
"""… their sizes differ by less than this factor."""
SAME_PERSON = 0.12
"""Two sets of landmarks are one person's when they lie this close on average, as a share of the person's size."""
SAME_PIXELS = 0.5
"""Two masks are one person's when the smaller shares more than this with the other."""
_IN_OWN_MASK = 0.6
"""Share of a person's visible landmarks that must lie in the person's own mask."""
_LARGER_NETWORK = "pose-heavy"


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
    details: Details
    """Hands and face."""
    region: Region | None = None
    """Where the detector found the person, for another look."""
    angle_rad: float = 0.0
    """How far the region that was looked at is turned."""
    appearance: np.ndarray = field(default_factory=lambda: NOTHING_SEEN)
    """(256,) what the landmark network saw beside the landmarks (`LandmarkLifter.appearance`)."""

    @cached_property
    def pixels(self) -> int:
        """How many of them the mask holds."""
        return np.count_nonzero(self.mask)


def missing() -> tuple[str, ...]:
    """What detection lacks on this machine, a sentence each."""
    names = {"mediapipe": "mediapipe==0.10.21", "cv2": "opencv-python-headless"}
    lacking = [name for name in names if importlib.util.find_spec(name) is None]
    return tuple(f"The Python package {names[name]} is missing: run `python dev.py setup`." for name in lacking)


def versions() -> dict[str, str]:
    """What finds people here, for a take's provenance: package -> version."""
    versions = {}
    for package in ("mediapipe", "opencv-python-headless", "opencv-python"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    if larger_network() is not None:
        versions["landmark network of stills"] = _LARGER_NETWORK
    return versions


def larger_network() -> Path | None:
    """The file of the larger landmark network, where the user has it: twice the time, a tenth off the errors."""
    found = weights.installed(weights.find(_LARGER_NETWORK))
    return found.path if found is not None and found.path.exists() else None


def find_people(image: np.ndarray, only_largest: bool = False, closer: bool = True) -> list[Detection]:
    """The people in an (H, W, 3) uint8 RGB picture; empty when there is nobody.

    With `only_largest`, tiles are looked at only when the whole picture shows nobody; without `closer`, hands and faces
    are not looked at.
    """
    people: list[tuple[Landmarks, Detection]] = []
    network = larger_network()
    regions = find_all_regions(image, only_largest)
    looks = side_by_side(lambda region: _looked_at(image, region, network), regions)
    for region, landmarks in zip(regions, looks, strict=True):
        if landmarks is None:
            continue
        person = as_detection(landmarks, image)
        if person is None or (region.score < SURE_FACE and person.visibility[list(_TRUNK)].mean() < MINIMUM_SCORE):
            continue
        if not any(_same(person, other) for _, other in people):
            people.append((landmarks, replace(person, region=region)))
    if not closer:
        return _share_pixels(people)
    # Last, so that nobody is looked at twice.
    return [replace(p, details=find_details(image, p.points_px, p.visibility)) for p in _share_pixels(people)]


def find_all_regions(image: np.ndarray, only_largest: bool = False) -> list[Region]:
    """One region per person of the picture, small people too, the surest first; see `find_people`."""
    regions = find_regions(image)
    if not (only_largest and regions):
        tiles = side_by_side(lambda tile: _in_tile(image, *tile), _tiles(image.shape))
        regions += [region for found in tiles for region in found]
    if not regions:
        regions = [region for quarters in (2, 1, 3) for region in _in_turned(image, quarters)]
    return distinct(regions)


def _looked_at(image: np.ndarray, region: Region, network: Path | None) -> Landmarks | None:
    """Landmarks of the person in a detector's region, looked for again where they lie beside the person's own mask.

    The detector guesses a square from hips and head; the landmarks know better where arms and legs are. On rendered
    people the second look takes a twentieth off the fitted joints' error, all of it from gross mistakes.
    """
    first = find_landmarks(image, region, network)
    if first is None or _share_in_mask(first) == 1:
        return first
    second = find_landmarks(image, first.next_region, network)
    return first if second is None or _share_in_mask(second) <= _share_in_mask(first) else second


def _share_in_mask(landmarks: Landmarks) -> float:
    """Of the landmarks that were seen inside the picture, how many lie in the person's mask; 1 where none was seen."""
    height, width = landmarks.mask.shape
    inside = ((landmarks.points_px >= 0) & (landmarks.points_px <= (width, height))).all(1)
    seen_px = landmarks.points_px[inside & (landmarks.visibility > 0.5)]
    columns, rows = np.minimum(seen_px.astype(int), (width - 1, height - 1)).T
    return float((landmarks.mask[rows, columns] > 0.5).mean()) if len(seen_px) else 1.0


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover the picture, large ones first."""
    height, width = shape[:2]
    for side in (min(height, width), min(height, width) // 2):
        if _MINIMUM_TILE_PX <= side < max(height, width):
            yield from ((left, top, side) for top in _starts(height, side) for left in _starts(width, side))


def _starts(length: int, side: int) -> np.ndarray:
    count = int(np.ceil((length - side) / (side * (1 - _TILE_OVERLAP)))) + 1
    return np.unique(np.linspace(0, length - side, count).astype(int))


def _in_tile(image: np.ndarray, left: int, top: int, side: int) -> list[Region]:
    found = find_regions(image[top : top + side, left : left + side])
    return [replace(region, centre_px=region.centre_px + np.array([left, top])) for region in found]


def _in_turned(image: np.ndarray, quarters: int) -> list[Region]:
    """What the detector finds in the picture turned counter-clockwise by so many right angles, in the picture as it is.

    It knows people at any angle, but those who stand upright best.
    """
    turned = np.ascontiguousarray(np.rot90(image, quarters))
    (height, width), found = turned.shape[:2], find_regions(turned)
    for _ in range(quarters):
        # Clockwise again: what lies at (x, y) comes to lie at (height - y, x).
        found = [
            replace(r, centre_px=np.array([height - r.centre_px[1], r.centre_px[0]]), angle_rad=r.angle_rad + np.pi / 2)
            for r in found
        ]
        height, width = width, height
    return found


def distinct(regions: list[Region]) -> list[Region]:
    """One region per person, as far as regions alone tell; the surest first."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda r: -r.score):
        if not any(same_region(region, other) for other in kept):
            kept.append(region)
    return kept


def same_region(a: Region, b: Region) -> bool:
    """Whether two regions are likely one person's."""
    small, large = sorted((a.side_px, b.side_px))
    apart_px = float(np.linalg.norm(a.centre_px - b.centre_px))
    return large < _SAME_SCALE * small and apart_px < _SAME_REGION * small / 2


def as_detection(landmarks: Landmarks, image: np.ndarray) -> Detection | None:
    """Landmarks found in an image as a person without details; None where it is not a person after all."""
    height, width = image.shape[:2]
    inside = ((landmarks.points_px >= 0) & (landmarks.points_px <= (width, height))).all(1)
    visibility = landmarks.visibility * inside
    score = float(max(visibility[list(_TRUNK)].mean(), visibility[list(_FACE)].mean()))
    mask = landmarks.mask > 0.5
    if score < MINIMUM_SCORE or not mask.any():
        return None
    seen_px = landmarks.points_px[visibility > 0.5]
    if _share_in_mask(landmarks) < _IN_OWN_MASK:
        return None
    box_px = _box(mask, seen_px)
    if max(box_px[2:] - box_px[:2]) < MINIMUM_SIZE_PX:
        return None
    appearance = NOTHING_SEEN
    if landmarks.features is not None:
        appearance = load_lifter().appearance(landmarks.features[None], landmarks.network)[0]
    return Detection(
        box_px=box_px,
        score=score,
        points_px=landmarks.points_px,
        visibility=visibility,
        metric_points=landmarks.metric_points,
        mask=mask,
        details=Details(None, None, None),
        angle_rad=landmarks.region.angle_rad,
        appearance=appearance,
    )


def _same(a: Detection, b: Detection) -> bool:
    """Whether two finds are one person: they share most of their pixels, or their visible landmarks coincide."""
    cut = _cut(a, b)
    if np.count_nonzero(a.mask[cut] & b.mask[cut]) > SAME_PIXELS * min(a.pixels, b.pixels):
        return True
    size = min(np.linalg.norm(d.box_px[2:] - d.box_px[:2]) for d in (a, b))
    both = np.minimum(a.visibility, b.visibility)
    apart = np.linalg.norm(a.points_px - b.points_px, axis=1)
    return bool(both.sum() > 3) and float((both * apart).sum() / both.sum()) < SAME_PERSON * float(size)


def _share_pixels(people: list[tuple[Landmarks, Detection]]) -> list[Detection]:
    """Each pixel belongs to one person at most: to whom it belongs most likely."""
    if len(people) < 2:
        return [person for _, person in people]
    owner, most = np.full(people[0][1].mask.shape, -1, np.int16), np.zeros(people[0][1].mask.shape, np.float32)
    for number, (landmarks, person) in enumerate(people):
        cut = _cut(person)
        likelier = person.mask[cut] & (landmarks.mask[cut] > most[cut])
        most[cut][likelier], owner[cut][likelier] = landmarks.mask[cut][likelier], number
    return [replace(person, mask=_only(owner, number, person)) for number, (_, person) in enumerate(people)]


def _only(owner: np.ndarray, number: int, person: Detection) -> np.ndarray:
    """(H, W) bool, the pixels of one person among owners (H, W)."""
    mask, cut = np.zeros(owner.shape, bool), _cut(person)
    mask[cut] = owner[cut] == number
    return mask


def _cut(*people: Detection) -> tuple[slice, slice]:
    """Rows and columns of the picture that lie in the boxes of all these people; no mask holds more."""
    boxes_px = np.array([person.box_px for person in people])
    left, top = np.floor(np.maximum(boxes_px[:, :2].max(0), 0)).astype(int)
    right, bottom = np.ceil(boxes_px[:, 2:].min(0)).astype(int)
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def _box(mask: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """(4,) around the mask and the landmarks that were seen."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64)
    corners = np.concatenate([corners, points_px])
    return np.concatenate([corners.min(0), corners.max(0)])
