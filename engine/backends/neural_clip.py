# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR and HMR2.0 on clips: what they do in their own way, see `clip_path`.

As `landmarks_clip`, but the pose of each frame is held near what the network says of it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import groupby, islice
from typing import TYPE_CHECKING, cast

import numpy as np

from ...models.body_model import BodyModel, load_body
from ...wire.messages import RecoverRequest
from .. import camera_depth
from ..camera_refine import Believed, HeldFit
from ..cameras import Pinhole
from ..clips import ahead
from ..crop import Crop
from ..errors import UnreadableClip
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps
from ..fit.observations import observations
from ..follow import Sighting
from ..frames import Footage
from ..kept_steps import KeptSteps
from ..track import Track
from .base import Bodies, BodyTrack
from .clip_path import Keys, Person, Tell
from .held_clip import agreed_on, fit_window_held, with_own_words
from .neural import (
    CropNetworkBackend,
    Prediction,
    believed_before,
    joined_inputs,
    smpl_body,
)

if TYPE_CHECKING:
    from .neural import Inputs

KEPT_TOGETHER = 64
"""Answers on so many crops are kept together for a run that goes on."""


@dataclass(frozen=True)
class Looked(Sighting):
    """A sighting, and what the network said of its crop."""

    crop: Crop = field(kw_only=True)
    predicted: Prediction = field(kw_only=True)
    """One row."""


@dataclass(frozen=True)
class Cropped:
    """Somebody in one frame."""

    person: int
    index: int
    """Of the frame in the clip."""
    sighting: Sighting

    @property
    def crop(self) -> Crop:
        """What the network is to see."""
        return Crop.around(self.sighting.box_px.tolist())


@dataclass(frozen=True)
class CropWay:
    """The network looks at everybody's crop; see `neural` for the same in stills."""

    backend: CropNetworkBackend
    request: RecoverRequest
    smpl: BodyModel | None = field(default_factory=smpl_body)
    followed = 0.2
    looked = 0.8

    def look(self, footage: Footage, tracks: list[Track], tell: Tell, kept: KeptSteps) -> list[list[Sighting]]:
        """Everybody's crop in every frame through the network, in batches."""
        size = self.backend.batch_size
        crops = [
            Cropped(person, index, track.sightings[index])
            for index in range(len(footage.images))
            for person, track in enumerate(tracks)
            if index in track.sightings
        ]
        looked: list[list[Sighting]] = [[] for _ in tracks]
        network = [self.backend.name, self.backend.checksums()]
        with closing(_Inputs(self.backend, footage, crops)) as inputs:
            for first in range(0, len(crops), part := size * math.ceil(KEPT_TOGETHER / size)):
                own = crops[first : first + part]

                def ask(first: int = first, own: list[Cropped] = own) -> dict[str, np.ndarray]:
                    answers = []
                    for start in range(first, first + len(own), size):
                        rows = inputs.rows(start, min(size, first + len(own) - start))
                        answers.append(self.backend.answer(joined_inputs(rows)))
                        done = start + len(rows)
                        tell(done / len(crops), f"{done} of {len(crops)} crops")
                    return vars(Prediction.joined(answers))

                where = np.array([[crop.index, *crop.sighting.box_px] for crop in own])
                predicted = Prediction(**kept.arrays(f"crops-{first:08d}", [network, where], ask))
                for row, crop in enumerate(own):
                    known = {each.name: getattr(crop.sighting, each.name) for each in fields(Sighting)}
                    answer = predicted.rows(slice(row, row + 1))
                    looked[crop.person].append(Looked(**known, crop=crop.crop, predicted=answer))
        return looked

    def depths_m(self, keys: Keys) -> None:
        return None

    def believing(self, keys: Keys, camera: Pinhole) -> camera_depth.Believe:
        body = load_body(self.request.body)
        return lambda candidate: self._believed(keys.rows, candidate, body)

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
        shapes = np.tile(betas, (len(people), 1))
        seen = observations(people, camera, np.full(len(people), np.nan), keep_focal=True)
        held = HeldFit(seen, self._believed(people, camera), body_name, shapes)
        return fit_window_held(held, people, times_s, camera, body_name, rough)

    def finished(self, track: BodyTrack, person: Person, fit: Fit, footage: Footage, camera: Pinhole) -> BodyTrack:
        first = cast(Looked, person.sightings[0])
        own = self.backend.own_camera(first.predicted.crop_camera[0], first.crop, camera.rows(person.frames[:1]))
        return with_own_words(track, person, footage, own, self.request.body)

    def bodies(self, tracks: tuple[BodyTrack, ...], camera: Pinhole, notes: tuple[str, ...]) -> Bodies:
        return self.backend.bodies(tracks, camera, self.smpl is not None, notes)

    def _believed(self, rows: Sequence[Sighting], camera: Pinhole, body: BodyModel | None = None) -> Believed:
        """With `body`, its shape too."""
        looked = cast(Sequence[Looked], rows)
        predicted, crops = Prediction.joined([row.predicted for row in looked]), [row.crop for row in looked]
        boxes_px = np.array([row.box_px for row in looked])
        return believed_before(camera, predicted, crops, boxes_px, self.smpl, body)


class _Inputs:
    """The network's inputs crop by crop, decoded and prepared in a thread of their own a few frames ahead."""

    def __init__(self, backend: CropNetworkBackend, footage: Footage, crops: list[Cropped]) -> None:
        self._backend, self._footage, self._crops = backend, footage, crops
        self._stream: Generator[Inputs, None, None] | None = None
        self._next = -1

    def rows(self, first: int, count: int) -> list[Inputs]:
        """(3, 256, 256) of some of the crops; decoding begins where it is first needed."""
        if self._stream is None or self._next != first:
            self.close()
            self._stream = ahead(self._prepared(first))
        self._next = first + count
        return list(islice(self._stream, count))

    def close(self) -> None:
        """End the thread."""
        if self._stream is not None:
            self._stream.close()

    def _prepared(self, first: int) -> Iterator[Inputs]:
        start = self._crops[first].index
        wanted = groupby(self._crops[first:], lambda crop: crop.index)
        images = enumerate(self._footage.images[start:] if start else self._footage.images, start)
        for index, group in wanted:
            image = next((image for number, image in images if number == index), None)
            if image is None:  # it could be decoded before
                raise UnreadableClip(f"{self._footage.name} changed while it was read.", "Start again.")
            yield from self._backend.prepared(image, [crop.crop for crop in group])
