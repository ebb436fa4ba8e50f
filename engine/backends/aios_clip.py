# SPDX-License-Identifier: GPL-3.0-or-later
"""AiOS and BLADE on clips: what they do in their own way, see `clip_path`.

As `neural_clip`; the network also knows hands, jaw and, if it is BLADE, how far away everybody is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, cast

import numpy as np

from ...models.body_model import BodyModel
from ...wire.messages import RecoverRequest
from .. import camera_depth, rtm
from ..camera_refine import HeldFit
from ..cameras import Pinhole
from ..errors import UnreadableClip
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps
from ..fit.observations import observations
from ..follow import Sighting
from ..frames import Footage
from ..kept_steps import KeptSteps
from ..track import Track
from .aios_answer import Answer, believed, smplx_body, with_own_hands_and_jaw
from .aios_common import WholeBodyBackend, is_alone_and_large
from .base import Bodies, BodyTrack
from .blade_networks import checksums
from .clip_path import Keys, Person, Tell
from .held_clip import agreed_on, fit_window_held, with_own_words

TOGETHER = 16
"""People whose pictures are kept in memory until the network is asked, over neighbouring frames."""


@dataclass(frozen=True)
class Looked(Sighting):
    """A sighting, and what the network said of it."""

    answer: Answer = field(kw_only=True)
    """One row."""


@dataclass(frozen=True)
class Frame:
    """Whom the network is to see in one frame."""

    index: int
    people: list[tuple[int, Sighting]]
    """Numbers of their tracks, and where they are."""


@dataclass(frozen=True)
class WholeBodyWay:
    """The network looks at everybody in every frame; see `aios_common` for the same in stills."""

    backend: WholeBodyBackend
    request: RecoverRequest
    smplx: BodyModel | None = field(default_factory=smplx_body)
    followed = 0.15
    looked = 0.8

    def look(self, footage: Footage, tracks: list[Track], tell: Tell, kept: KeptSteps) -> list[list[Sighting]]:
        """Everybody in every frame through the network, several frames at a time."""
        looked: list[list[Sighting]] = [[] for _ in tracks]
        in_whole = is_alone_and_large([list(t.sightings.values()) for t in tracks], footage.width, footage.height)
        network = [self.backend.name, checksums(*self.backend.entries, *rtm.in_use()), in_whole]
        whole, done = sum(len(track.sightings) for track in tracks), 0
        with closing(_Pictures(footage)) as pictures:
            for part in _parts(tracks, len(footage.images)):
                people = [sighting for frame in part for _, sighting in frame.people]

                def ask(part: list[Frame] = part) -> dict[str, np.ndarray]:
                    pairs = [(pictures.at(frame.index), [sighting for _, sighting in frame.people]) for frame in part]
                    surer = [rtm.with_points(image, own) for image, own in pairs]
                    seen = [
                        self.backend.prepare(image, own, in_whole) for (image, _), own in zip(pairs, surer, strict=True)
                    ]
                    answer = Answer.joined(self.backend.ask(seen))
                    points = [(one.points_px, one.visibility) for own in surer for one in own]
                    points_px, visibility = (np.array(values) for values in zip(*points, strict=True))
                    return {**vars(answer), "points_px": points_px, "visibility": visibility}

                where = np.array([[frame.index, *one.box_px] for frame in part for _, one in frame.people])
                told = kept.arrays(f"views-{part[0].index:08d}", [network, where], ask)
                points_px, visibility = told.pop("points_px"), told.pop("visibility")
                answer, numbers = Answer(**told), [person for frame in part for person, _ in frame.people]
                for row, (person, sighting) in enumerate(zip(numbers, people, strict=True)):
                    known = {each.name: getattr(sighting, each.name) for each in fields(Sighting)}
                    known |= {"points_px": points_px[row], "visibility": visibility[row]}
                    looked[person].append(Looked(**known, answer=answer.rows(slice(row, row + 1))))
                done += len(people)
                tell(done / whole, f"{done} of {whole} views")
        return looked

    def depths_m(self, keys: Keys) -> np.ndarray | None:
        depths_m = _answer(keys.rows).depth_m
        return None if np.isnan(depths_m).any() else depths_m

    def believing(self, keys: Keys, camera: Pinhole) -> camera_depth.Believe:
        answer, seen = _answer(keys.rows), observations(keys.rows, camera, keys.heights_m)
        return lambda candidate: believed(answer, seen, candidate, self.request.body, self.smplx)

    def agree(self, keys: Keys, camera: Pinhole, keep_camera: bool) -> tuple[Pinhole, np.ndarray]:
        return agreed_on(self.believing(keys, camera), keys, camera, keep_camera, self.request.body)

    def fit_window(
        self,
        people: Sequence[Sighting],
        times_s: np.ndarray,
        camera: Pinhole,
        betas: np.ndarray,
        body_name: str,
        rough: bool = False,
    ) -> tuple[Fit, CloseUps]:
        answer, shapes = _answer(people), np.tile(betas, (len(people), 1))
        seen = observations(people, camera, np.full(len(people), np.nan), keep_focal=True)
        held = HeldFit(seen, believed(answer, seen, camera, body_name, self.smplx, shapes), body_name, shapes)
        fit, close_ups = fit_window_held(held, people, times_s, camera, body_name, rough)
        return fit, with_own_hands_and_jaw(close_ups, answer, body_name, self.smplx)

    def finished(self, track: BodyTrack, person: Person, fit: Fit, footage: Footage, camera: Pinhole) -> BodyTrack:
        own = self.backend.own_words(_answer(person.sightings[:1]), 0)
        return with_own_words(track, person, footage, own, self.request.body)

    def bodies(self, tracks: tuple[BodyTrack, ...], camera: Pinhole, notes: tuple[str, ...]) -> Bodies:
        return self.backend.bodies(tracks, camera, self.smplx, self.request.body, notes)


def _answer(rows: Sequence[Sighting]) -> Answer:
    """The network's words on all rows."""
    return Answer.joined([row.answer for row in cast(Sequence[Looked], rows)])


def _parts(tracks: list[Track], count: int) -> Iterator[list[Frame]]:
    """The frames with somebody in them, as many together as hold `TOGETHER` people."""
    part: list[Frame] = []
    for index in range(count):
        here = [(person, track.sightings[index]) for person, track in enumerate(tracks) if index in track.sightings]
        if here:
            part.append(Frame(index, here))
        if sum(len(frame.people) for frame in part) >= TOGETHER:
            yield part
            part = []
    if part:
        yield part


class _Pictures:
    """A clip's pictures, asked for in ascending order; decoding begins with the first one that is."""

    def __init__(self, footage: Footage) -> None:
        self._footage = footage
        self._stream: Any = None
        self._next = 0

    def at(self, index: int) -> np.ndarray:
        """(H, W, 3)."""
        if self._stream is None:
            self._stream, self._next = iter(self._footage.images[index:] if index else self._footage.images), index
        image = next(islice(self._stream, index - self._next, None), None)
        self._next = index + 1
        if image is None:  # it could be decoded before
            raise UnreadableClip(f"{self._footage.name} changed while it was read.", "Start again.")
        return image

    def close(self) -> None:
        """End the decoder."""
        if hasattr(self._stream, "close"):
            self._stream.close()
