# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR and HMR2.0 on clips: what they do in their own way, see `clip_path`.

As `landmarks_clip`, but the pose of each frame is held near what the network says of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np

from ...models.body_model import BodyModel, load_body
from ...wire.messages import RecoverRequest
from .. import camera_depth
from ..camera_refine import Believed, HeldFit
from ..cameras import Pinhole
from ..clips import ahead
from ..crop import Crop
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps
from ..fit.observations import observations
from ..follow import Sighting
from ..frames import Footage
from ..track import Track
from .base import Bodies, BodyTrack
from .clip_path import Keys, Person
from .held_clip import agreed_on, fit_window_held
from .neural import (
    CropNetworkBackend,
    Prediction,
    believed_before,
    joined_inputs,
    smpl_body,
    with_network_confidence,
)

if TYPE_CHECKING:
    from .neural import Inputs


@dataclass(frozen=True)
class Looked(Sighting):
    """A sighting, and what the network said of its crop."""

    crop: Crop = field(kw_only=True)
    predicted: Prediction = field(kw_only=True)
    """One row."""


@dataclass(frozen=True)
class CropWay:
    """The network looks at everybody's crop; see `neural` for the same in stills."""

    backend: CropNetworkBackend
    request: RecoverRequest
    smpl: BodyModel | None = field(default_factory=smpl_body)
    followed = 0.2
    looked = 0.8

    def look(self, footage: Footage, tracks: list[Track], tell) -> list[list[Sighting]]:
        """Everybody's crop in every frame through the network, in batches."""
        looked: list[list[Sighting]] = [[] for _ in tracks]
        done, whole = 0, sum(len(track.sightings) for track in tracks)
        # The next frames are decoded and cropped in a thread of their own while the network looks.
        with closing(ahead(_crops(self.backend, footage, tracks))) as prepared:
            while rows := list(islice(prepared, self.backend.batch_size)):
                predicted = self.backend.answer(joined_inputs([planes for *_, planes in rows]))
                done += len(rows)
                tell(done / whole, f"{done} of {whole} crops")
                for row, (person, sighting, crop, _) in enumerate(rows):
                    known = {each.name: getattr(sighting, each.name) for each in fields(Sighting)}
                    looked[person].append(Looked(**known, crop=crop, predicted=predicted.rows(slice(row, row + 1))))
        return looked

    def depths_m(self, keys: Keys) -> None:
        return None

    def believing(self, keys: Keys, camera: Pinhole) -> camera_depth.Believe:
        body = load_body(self.request.body)
        return lambda candidate: self._believed(keys.rows, candidate, body)

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
        shapes = np.tile(betas, (len(people), 1))
        seen = observations(people, camera, np.full(len(people), np.nan), keep_focal=True)
        held = HeldFit(seen, self._believed(people, camera), body_name, shapes)
        return fit_window_held(held, people, times_s, camera, body_name, rough)

    def finished(self, track: BodyTrack, person: Person, footage: Footage, camera: Pinhole) -> BodyTrack:
        first = cast(Looked, person.sightings[0])
        own = self.backend.own_camera(first.predicted.crop_camera[0], first.crop, camera.rows(person.frames[:1]))
        note = f"In frame {footage.frame_numbers[person.frames[0]]}: {own}"
        return replace(with_network_confidence(track, self.request.body), notes=(*track.notes, note))

    def bodies(self, tracks: tuple[BodyTrack, ...], camera: Pinhole, notes: tuple[str, ...]) -> Bodies:
        return self.backend.bodies(tracks, camera, self.smpl is not None, notes)

    def _believed(self, rows: Sequence[Sighting], camera: Pinhole, body: BodyModel | None = None) -> Believed:
        """With `body`, its shape too."""
        looked = cast(Sequence[Looked], rows)
        predicted, crops = Prediction.joined([row.predicted for row in looked]), [row.crop for row in looked]
        boxes_px = np.array([row.box_px for row in looked])
        return believed_before(camera, predicted, crops, boxes_px, self.smpl, body)


def _crops(
    backend: CropNetworkBackend, footage: Footage, tracks: list[Track]
) -> Iterator[tuple[int, Sighting, Crop, Inputs]]:
    """Whose, where, and the network's input (3, 256, 256); frame after frame, decoded once more."""
    for index, image in enumerate(footage.images):
        here = [(person, track.sightings[index]) for person, track in enumerate(tracks) if index in track.sightings]
        if not here or image is None:
            continue
        crops = [Crop.around(sighting.box_px.tolist()) for _, sighting in here]
        inputs = backend.prepared(image, crops)
        for (person, sighting), crop, planes in zip(here, crops, inputs, strict=True):
            yield person, sighting, crop, planes
