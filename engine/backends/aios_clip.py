# SPDX-License-Identifier: GPL-3.0-or-later
"""AiOS and BLADE on clips: what they do in their own way, see `clip_path`.

As `neural_clip`; the network also knows hands, jaw and, if it is BLADE, how far away everybody is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import numpy as np

from ...models.body_model import BodyModel
from ...wire.messages import RecoverRequest
from .. import camera_depth, rtm
from ..camera_refine import HeldFit
from ..cameras import Pinhole
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps
from ..fit.observations import observations
from ..follow import Sighting
from ..frames import Footage
from ..track import Track
from .aios_answer import Answer, believed, smplx_body, with_own_hands_and_jaw
from .aios_common import WholeBodyBackend, is_alone_and_large
from .base import Bodies, BodyTrack
from .clip_path import Keys, Person
from .held_clip import agreed_on, fit_window_held
from .neural import with_network_confidence

TOGETHER = 16
"""People whose pictures are kept in memory until the network is asked, over neighbouring frames."""


@dataclass(frozen=True)
class Looked(Sighting):
    """A sighting, and what the network said of it."""

    answer: Answer = field(kw_only=True)
    """One row."""


@dataclass(frozen=True)
class WholeBodyWay:
    """The network looks at everybody in every frame; see `aios_common` for the same in stills."""

    backend: WholeBodyBackend
    request: RecoverRequest
    smplx: BodyModel | None = field(default_factory=smplx_body)
    followed = 0.15
    looked = 0.8

    def look(self, footage: Footage, tracks: list[Track], tell) -> list[list[Sighting]]:
        """Everybody in every frame through the network, several frames at a time."""
        looked: list[list[Sighting]] = [[] for _ in tracks]
        in_whole = is_alone_and_large([list(t.sightings.values()) for t in tracks], footage.width, footage.height)
        waiting: list[tuple[list[tuple[int, Sighting]], Any]] = []
        whole, done = sum(len(track.sightings) for track in tracks), 0
        for here, image in _frames(footage, tracks):
            surer = rtm.with_points(image, [sighting for _, sighting in here])
            here = [(person, sighting) for (person, _), sighting in zip(here, surer, strict=True)]
            waiting.append((here, self.backend.prepare(image, surer, in_whole)))
            done += len(here)
            if sum(len(people) for people, _ in waiting) >= TOGETHER or done == whole:
                tell(done / whole, f"{done} of {whole} views")
                answers = self.backend.ask([prepared for _, prepared in waiting])
                for (people, _), answer in zip(waiting, answers, strict=True):
                    for row, (person, sighting) in enumerate(people):
                        known = {each.name: getattr(sighting, each.name) for each in fields(Sighting)}
                        looked[person].append(Looked(**known, answer=answer.rows(slice(row, row + 1))))
                waiting.clear()
        return looked

    def depths_m(self, keys: Keys) -> np.ndarray | None:
        depths_m = _answer(keys.rows).depth_m
        return None if np.isnan(depths_m).any() else depths_m

    def believing(self, keys: Keys, camera: Pinhole) -> camera_depth.Believe:
        answer, seen = _answer(keys.rows), observations(keys.rows, camera, keys.heights_m)
        return lambda candidate: believed(answer, seen, candidate, self.request.body, self.smplx)

    def agree(self, keys: Keys, camera: Pinhole, keep_camera: bool) -> tuple[Pinhole, np.ndarray]:
        seen = observations(keys.rows, camera, keys.heights_m, keep_camera)
        return agreed_on(
            HeldFit(seen, self.believing(keys, camera)(camera), self.request.body), keys, camera, keep_camera
        )

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

    def finished(self, track: BodyTrack, person: Person, footage: Footage, camera: Pinhole) -> BodyTrack:
        own = self.backend.own_words(_answer(person.sightings[:1]), 0)
        note = f"In frame {footage.frame_numbers[person.frames[0]]}: {own}"
        return replace(with_network_confidence(track, self.request.body), notes=(*track.notes, note))

    def bodies(self, tracks: tuple[BodyTrack, ...], camera: Pinhole, notes: tuple[str, ...]) -> Bodies:
        return self.backend.bodies(tracks, camera, self.smplx, self.request.body, notes)


def _answer(rows: Sequence[Sighting]) -> Answer:
    """The network's words on all rows."""
    return Answer.joined([row.answer for row in cast(Sequence[Looked], rows)])


def _frames(footage: Footage, tracks: list[Track]) -> Iterator[tuple[list[tuple[int, Sighting]], np.ndarray]]:
    """Who is where, and the picture; decoded once more. Frames without anybody are passed over."""
    for index, image in enumerate(footage.images):
        here = [(person, track.sightings[index]) for person, track in enumerate(tracks) if index in track.sightings]
        if here and image is not None:
            yield here, image
