# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in backend on clips: what it does in its own way, see `clip_path`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...wire.messages import RecoverRequest
from ...wire.take import BODY_JOINT_COUNT
from .. import camera_depth, detect, trust
from ..cameras import Pinhole
from ..doubts import doubts_of_clip
from ..fit.body_fit import Fit
from ..fit.clip_fit import fit_window_by_landmarks
from ..fit.close_ups import CloseUps
from ..fit.key_fit import camera_notes, fit_keys
from ..follow import Sighting
from ..frames import Footage
from ..kept_steps import KeptSteps
from ..track import Track
from .base import Bodies, BodyTrack, Report
from .clip_path import Keys, Person, Tell


@dataclass(frozen=True)
class LandmarksWay:
    """What was seen while following is all there is to see."""

    request: RecoverRequest
    report: Report
    followed = 0.6
    looked = 0.6

    def look(self, footage: Footage, tracks: list[Track], tell: Tell, kept: KeptSteps) -> list[list[Sighting]]:
        return [[track.sightings[index] for index in sorted(track.sightings)] for track in tracks]

    def depths_m(self, keys: Keys) -> None:
        return None

    def believing(self, keys: Keys, camera: Pinhole) -> camera_depth.Believe:
        fitted = fit_keys(keys.rows, keys.whose, camera, self.request, self._tell)
        return camera_depth.as_fitted(fitted.fit, self.request.body)

    def agree(self, keys: Keys, camera: Pinhole, keep_camera: bool) -> tuple[Pinhole, np.ndarray]:
        fitted = fit_keys(keys.rows, keys.whose, camera, self.request, self._tell, keep_camera)
        return fitted.camera, fitted.fit.betas

    def fit_window(
        self,
        people: Sequence[Sighting],
        times_s: np.ndarray,
        camera: Pinhole,
        betas: np.ndarray,
        body_name: str,
        rough: bool = False,
    ) -> tuple[Fit, CloseUps]:
        return fit_window_by_landmarks(people, times_s, camera, betas, body_name, rough)

    def finished(self, track: BodyTrack, person: Person, fit: Fit, footage: Footage, camera: Pinhole) -> BodyTrack:
        through, body_name = camera.rows(person.frames), self.request.body
        joint_error_mm = np.full((len(track.present), BODY_JOINT_COUNT), np.nan, np.float32)
        joint_error_mm[person.frames] = trust.joint_errors_mm(person.sightings, fit, through, body_name)
        doubted = doubts_of_clip(person.sightings, fit, through, body_name)
        return replace(track, joint_error_mm=joint_error_mm, doubts=doubted)

    def bodies(self, tracks: tuple[BodyTrack, ...], camera: Pinhole, notes: tuple[str, ...]) -> Bodies:
        return Bodies(tracks, camera, (*camera_notes(camera), *notes), versions=detect.versions())

    def _tell(self, stage: str, _: float, detail: str) -> None:
        self.report(stage, self.looked, detail)
