# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the user pointed at: boxes in frames, found again among the people that were detected or followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..wire.messages import ChosenPerson, RecoverRequest
from .errors import BadRequest, NobodyFound

if TYPE_CHECKING:
    from .backends.base import BodyTrack
    from .detect import Detection
    from .track import Track

SAME_BOX = 0.3
"""Least overlap (intersection over union) of a chosen box with the person it means."""
NEARBY = 12
"""Where a person was not seen in the very frame of the box, so many frames before or after will do."""

Seen = tuple[np.ndarray, np.ndarray]
"""One person: (T,) frame numbers and (T, 4) boxes there."""


def how_many(wanted: str) -> int | None:
    """Of the people, largest first; None for all of them. Raises BadRequest."""
    if wanted == "all":
        return None
    if wanted == "largest":
        return 1
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    raise BadRequest(f"People is {wanted!r}; it can be all, largest or a number.")


def pick_people(people: list[Detection], frame_number: int, request: RecoverRequest) -> list[Detection]:
    """Those of a still that the request asks for, largest in the picture first. Raises NobodyFound, BadRequest."""
    people = sorted(people, key=lambda person: -float(np.prod(person.box_px[2:] - person.box_px[:2])))
    if not request.chosen:
        return people[: how_many(request.people)]
    return _meant(people, [(np.array([frame_number]), p.box_px[None]) for p in people], request)


def pick_tracks(tracks: list[Track], frame_numbers: np.ndarray, request: RecoverRequest) -> list[Track]:
    """The same of a clip. frame_numbers (F,)."""
    if not request.chosen:
        return tracks[: how_many(request.people)]
    return _meant(tracks, [_seen(track, frame_numbers) for track in tracks], request)


def names(tracks: Sequence[BodyTrack], frame_numbers: np.ndarray, request: RecoverRequest) -> list[str]:
    """What each recovered person is called: as the user named them, else Person 1, Person 2, …"""
    called = [f"Person {number + 1}" for number in range(len(tracks))]
    seen = [(frame_numbers[t.present], t.boxes_px[t.present]) for t in tracks]
    for wanted, person in zip(request.chosen, assign(seen, request.chosen), strict=True):
        if person is not None and wanted.name:
            called[person] = wanted.name
    return called


def missing_note(tracks: Sequence[BodyTrack], frame_numbers: np.ndarray, request: RecoverRequest) -> tuple[str, ...]:
    """A sentence if somebody who was chosen is not among the recovered, or none."""
    seen = [(frame_numbers[t.present], t.boxes_px[t.present]) for t in tracks]
    found = assign(seen, request.chosen)
    lost = [c.name or f"the person in frame {c.frame}" for c, p in zip(request.chosen, found, strict=True) if p is None]
    return (f"Not found again: {', '.join(lost)}.",) if lost else ()


def assign(people: Sequence[Seen], chosen: Sequence[ChosenPerson]) -> list[int | None]:
    """For each of the chosen the number of the person meant, None where there is none; nobody is meant twice."""
    overlaps = np.array([[_overlap_near(person, wanted) for person in people] for wanted in chosen])
    found: list[int | None] = [None] * len(chosen)
    while overlaps.size and overlaps.max() >= SAME_BOX:
        wanted, person = np.unravel_index(overlaps.argmax(), overlaps.shape)
        found[wanted] = int(person)
        overlaps[wanted], overlaps[:, person] = -1.0, -1.0
    return found


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,): left, top, right, bottom."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0.0)))
    either = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both
    return both / either if either > 0 else 0.0


def _overlap_near(person: Seen, wanted: ChosenPerson) -> float:
    frames, boxes_px = person
    if not len(frames):
        return 0.0
    nearest = int(np.abs(frames - wanted.frame).argmin())
    if abs(int(frames[nearest]) - wanted.frame) > NEARBY:
        return 0.0
    return overlap(np.asarray(boxes_px[nearest], np.float64), np.array(wanted.box_px, np.float64))


def _meant(people: list, seen: list[Seen], request: RecoverRequest) -> list:
    numbers = {number for number in assign(seen, request.chosen) if number is not None}
    if not numbers:
        raise NobodyFound(
            "None of the chosen people was found again.",
            "Find people anew, in a frame that is among those to be recovered, or recover everybody.",
        )
    return [person for number, person in enumerate(people) if number in numbers]


def _seen(track: Track, frame_numbers: np.ndarray) -> Seen:
    return frame_numbers[list(track.sightings)], np.array([s.box_px for s in track.sightings.values()])
