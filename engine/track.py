# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows people through a clip: who is who, from the first frame to the last.

Whoever has been found is followed from frame to frame by where the body pointed last, which costs one network pass.
Now and then, and whenever somebody is lost, the whole picture is searched. Two tracks that have run onto one person are
told apart by motion and colours; who was lost is recognised by the same. A cut ends all tracks: after it nobody is
assumed to be who stood there before.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from . import detect, follow
from .detect import find_all_regions
from .follow import Sighting
from .mediapipe_graphs import Region
from .workers import pool

SEARCH_EVERY_S, SEARCH_TILES_EVERY_S, SEARCH_LOST_EVERY_S = 0.5, 2.0, 0.15
"""How often the picture is searched as a whole, for small people too, and while somebody is missing."""
DETAILS_EVERY_S = 0.3
"""How often hands and faces are looked at."""
REMEMBERED_S = 2.0
"""Who has been away for longer is a new person."""
STILL_FOLLOWED = 3
"""Frames after which who was not seen is searched for rather than followed."""
JUMP = 0.35
"""Who moves farther than this from where the motion led is somebody else: share of the size, per frame at 30 or more
frames/s."""
RIVAL = 0.7
"""Where only the largest people are wanted, others are followed if they are about as large as the last of those."""
LOOK_APART = 0.45
"""Colours that differ by more than this (0: equal, 1: nothing in common) are somebody else's."""
_LOOK_MEMORY = 0.95
AHEAD_OFF, AHEAD_SCALE, AHEAD_TURN_RAD = 0.08, 1.12, 0.2
"""How far a region may be off, in shares of its side, to do for another one."""
LONG_AGO = -(10**9)


@dataclass(eq=False)
class Track:
    """One person over time."""

    sightings: dict[int, Sighting] = field(default_factory=dict)
    """By frame index."""
    look: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Running mean of the colours; empty before the first sighting."""
    velocity_px: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """(2,) per frame."""
    fps: float = 30.0
    """The pictures' rate."""
    is_ended: bool = False
    """Cut off by a change of shot, or forgotten."""

    @property
    def last(self) -> int:
        """Index of the last frame the person was seen in."""
        return next(reversed(self.sightings))

    @property
    def area_px(self) -> float:
        """Sum of the boxes: who is large, and for long, comes first."""
        return float(sum(np.prod(s.box_px[2:] - s.box_px[:2]) for s in self.sightings.values()))

    def region_at(self, index: int) -> Region:
        """Where to look, if the motion goes on."""
        seen = self.sightings[self.last]
        ahead = min(index - self.last, 5)
        return replace(seen.next_region, centre_px=seen.next_region.centre_px + ahead * self.velocity_px)

    def surprise(self, sighting: Sighting, index: int) -> float:
        """0 for exactly what was expected; 1 at the edge of belief. Infinite beyond."""
        gap = index - self.last
        seen = self.sightings[self.last]
        expected = seen.centre_px + min(gap, 5) * self.velocity_px
        reach = JUMP * seen.size_px * np.sqrt(gap * max(1.0, 30 / self.fps))
        off = np.linalg.norm(sighting.centre_px - expected) / reach
        look = look_apart(self.look, sighting.look) / LOOK_APART
        return float(np.hypot(off, look)) if off < 1 and look < 1 else np.inf

    def add(self, index: int, sighting: Sighting) -> None:
        """One more frame."""
        if self.sightings:
            moved = (sighting.centre_px - self.sightings[self.last].centre_px) / (index - self.last)
            self.velocity_px = 0.6 * self.velocity_px + 0.4 * moved
            self.look = _LOOK_MEMORY * self.look + (1 - _LOOK_MEMORY) * sighting.look
        else:
            self.look = sighting.look
        self.sightings[index] = sighting


def look_apart(a: np.ndarray, b: np.ndarray) -> float:
    """0 (equal) to 1: Hellinger's distance between two histograms."""
    return float(np.sqrt(max(0.0, 1 - np.sqrt(a * b).sum())))


class Tracker:
    """The tracks so far."""

    def __init__(self, fps: float, limit: int | None = None) -> None:
        self.tracks: list[Track] = []
        self.searched = self.searched_tiles = self.detailed = LONG_AGO
        """Indices of the frames in which this was last done."""
        self._limit = limit
        self.fps = fps
        self._ahead: dict[Track, tuple[Region, Future[Sighting | None]]] = {}
        self._closer: list[tuple[Track, int, Future[Sighting]]] = []

    def cut(self) -> None:
        """What comes next is another shot."""
        for track in self.tracks:
            track.is_ended = True
        self.searched = self.searched_tiles = LONG_AGO

    def see(self, index: int, image: np.ndarray, following: np.ndarray | None = None) -> list[Sighting]:
        """The next frame, and the one after it, where that is known. Returns who was seen."""
        # A frame that cannot be decoded, or a blink, loses nobody.
        active = [t for t in self.tracks if not t.is_ended and index - t.last <= STILL_FOLLOWED]
        found = self._follow(index, image, active, following)
        accepted = self._resolve(index, active, found)
        away = [t for t in self.tracks if not t.is_ended and t not in accepted]
        for track in away:
            track.is_ended = index - track.last > REMEMBERED_S * self.fps
        if self._is_time_to_search(index, bool(away) or not accepted):
            self._search(index, image, accepted, [t for t in away if not t.is_ended])
        for track, sighting in accepted.items():
            track.add(index, sighting)
        if index - self.detailed >= DETAILS_EVERY_S * self.fps:
            self.detailed = index
            self._look_closer(index, image, list(accepted))
        return list(accepted.values())

    def finish(self) -> None:
        """Wait for what is still being looked at."""
        for track, index, looking in self._closer:
            track.sightings[index] = looking.result()
        self._closer.clear()

    def _follow(
        self, index: int, image: np.ndarray, active: list[Track], following: np.ndarray | None
    ) -> list[Sighting | None]:
        """Everybody where the motion leads.

        A single person's next frame is looked at beside this one, so that no processor waits: where the body will be
        then can be told well enough, and where it could not, that look is thrown away.
        """
        regions = [track.region_at(index) for track in active]
        early, self._ahead = self._ahead, {}
        looks = [
            early[track][1] if track in early and _is_as_good(early[track][0], region) else None
            for track, region in zip(active, regions, strict=True)
        ]
        pending = [
            look or pool().submit(follow.see, image, region) for look, region in zip(looks, regions, strict=True)
        ]
        if following is not None and len(active) == 1 and looks[0] is None:
            region = active[0].region_at(index + 1)
            self._ahead[active[0]] = region, pool().submit(follow.see, following, region)
        return [look.result() for look in pending]

    def _look_closer(self, index: int, image: np.ndarray, tracks: list[Track]) -> None:
        """Hands and faces decide nothing here, so they are looked at beside the frames that follow."""
        self.finish()
        for track in tracks:
            looking = _detail_worker().submit(follow.with_details, image, track.sightings[index])
            self._closer.append((track, index, looking))

    def _resolve(self, index: int, tracks: list[Track], found: list[Sighting | None]) -> dict[Track, Sighting]:
        """Who was really seen where: the least surprising first, and nobody twice."""
        ranked = sorted(
            ((t.surprise(s, index), n, t, s) for n, (t, s) in enumerate(zip(tracks, found, strict=True)) if s),
            key=lambda entry: entry[:2],
        )
        accepted: dict[Track, Sighting] = {}
        for surprise, _, track, sighting in ranked:
            taken = any(follow.is_same_person(sighting, other) for other in accepted.values())
            if np.isfinite(surprise) and not taken:
                accepted[track] = sighting
        return accepted

    def _is_time_to_search(self, index: int, somebody_is_missing: bool) -> bool:
        every_s = SEARCH_LOST_EVERY_S if somebody_is_missing else SEARCH_EVERY_S
        return index - self.searched >= every_s * self.fps

    def _search(self, index: int, image: np.ndarray, accepted: dict[Track, Sighting], away: list[Track]) -> None:
        """Find people whom nobody follows, and say who they are. Adds to `accepted`."""
        self.searched = index
        everywhere = index - self.searched_tiles >= SEARCH_TILES_EVERY_S * self.fps
        if everywhere:
            self.searched_tiles = index
        regions = find_all_regions(image, self._limit == 1) if everywhere else detect.find_regions(image)
        known = [s.next_region for s in accepted.values()]
        regions = [r for r in regions if not any(detect.same_region(r, other) for other in known)]
        for sighting in pool().map(lambda region: follow.see(image, region), regions):
            if sighting is None or any(follow.is_same_person(sighting, other) for other in accepted.values()):
                continue
            if self._is_too_small(sighting, accepted):
                continue
            back = min((t for t in away if t not in accepted), key=lambda t: t.surprise(sighting, index), default=None)
            if back is None or not np.isfinite(back.surprise(sighting, index)):
                back = Track(fps=self.fps)
                self.tracks.append(back)
            accepted[back] = sighting

    def _is_too_small(self, sighting: Sighting, accepted: dict[Track, Sighting]) -> bool:
        """Whether enough larger people than this are followed already."""
        if self._limit is None or len(accepted) < self._limit:
            return False
        sizes_px = sorted((s.size_px for s in accepted.values()), reverse=True)
        return sighting.size_px < RIVAL * sizes_px[self._limit - 1]


def _is_as_good(used: Region, wanted: Region) -> bool:
    """Whether looking at one region finds what looking at the other would: the network sees well beyond the person."""
    apart_px = float(np.linalg.norm(used.centre_px - wanted.centre_px))
    scale = used.side_px / wanted.side_px
    turn = abs((used.angle_rad - wanted.angle_rad + np.pi) % (2 * np.pi) - np.pi)
    return apart_px < AHEAD_OFF * wanted.side_px and 1 / AHEAD_SCALE < scale < AHEAD_SCALE and turn < AHEAD_TURN_RAD


@lru_cache(maxsize=1)
def _detail_worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="details")
