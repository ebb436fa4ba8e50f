# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole clip, frame by frame: people, cuts, and how far the camera moves. What has been done can be kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..wire.messages import RecoverRequest
from .checkpoints import Checkpoints, Progress, key_of
from .chosen import how_many
from .drift import Drift
from .frames import Footage, Images
from .mediapipe_graphs import forget_details
from .track import Track, Tracker

SHORTEST_S = 0.3
"""Tracks with less than this are no people but mistakes."""
DRIFT_EVERY_S = 0.25
"""How often the background is looked at."""
CHUNK = 64
"""Frames between two checkpoints."""


@dataclass(frozen=True)
class Followed:
    """Everybody in a clip, and what the clip was."""

    tracks: list[Track]
    """Largest over the whole clip first."""
    unreadable: list[int]
    """Indices of frames that could not be decoded."""
    cuts: list[int]
    """Indices of the first frames of new shots."""
    drift_px: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(F,) how far the background has moved since the shot's first frame; NaN where it is not known."""


def follow_footage(footage: Footage, request: RecoverRequest, tell: Callable[[float, str], None]) -> Followed:
    """Follow those people of a clip whom a request may ask for; `tell` hears the share that is done, and some words."""
    count = len(footage.images)
    times_s = footage.times_s
    limit = None if request.chosen else how_many(request.people)
    kept = None
    if footage.keep_in is not None:
        kept = Checkpoints(footage.keep_in, key_of(request, footage.frame_numbers, limit))
    started, first = time.perf_counter(), -1

    def tell_frame(index: int) -> None:
        nonlocal first
        first = index if first < 0 else first  # not 0 where an interrupted run goes on
        rate = (index - first) / max(time.perf_counter() - started, 1e-3)
        tell(index / count, f"frame {index + 1} of {count}" + (f", {rate:.1f} frames/s" if index > first else ""))

    return follow_people(footage.images, (count - 1) / (times_s[-1] - times_s[0]), limit, tell_frame, kept)


def follow_people(
    images: Images,
    fps: float,
    limit: int | None = None,
    tell: Callable[[int], None] = lambda _: None,
    kept: Checkpoints | None = None,
) -> Followed:
    """Follow everybody, or about the `limit` largest people.

    `fps` is the pictures' rate; `tell` is told the index of each frame before work on it. With `kept`, what has been
    followed so far is kept every few seconds, and taken up again where there is something.
    """
    progress = Progress(Tracker(fps, limit), Drift(max(1, round(DRIFT_EVERY_S * fps))))
    start = kept.load(progress) if kept else 0
    forget_details()
    for index, image, following in _with_next(images[start:] if start else images, start):
        tell(index)
        progress.see(index, image, following)
        if (index + 1) % CHUNK == 0:  # work may be taken up again here, and must go on alike
            progress.tracker.finish()
            forget_details()
            if kept:
                kept.save(progress, index + 1)
    tracker = progress.tracker
    tracker.finish()
    seen = len(images) - len(progress.unreadable)
    tracks = [t for t in tracker.tracks if len(t.sightings) >= min(SHORTEST_S * fps, seen)]
    drift_px = progress.drift.per_frame_px(len(images), progress.cuts)
    return Followed(sorted(tracks, key=lambda t: -t.area_px), progress.unreadable, progress.cuts, drift_px)


def _with_next(images: Iterable[np.ndarray | None], start: int) -> Iterator[tuple]:
    """(index, picture, the picture after it); None after the last, and where a chunk ends: what is kept at its end must
    not depend on whether work goes on there or is taken up again."""
    index = start - 1
    before: np.ndarray | None = None
    for index, image in enumerate(images, start):
        if index > start:
            yield index - 1, before, image if index % CHUNK else None
        before = image
    if index >= start:
        yield index, before, None
