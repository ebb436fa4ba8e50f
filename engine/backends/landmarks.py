# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in backend: landmarks in the picture, and the body that explains them. Needs no licensed file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...wire.messages import RecoverRequest
from .. import camera_depth, detect, trust
from ..cameras import Pinhole
from ..chosen import pick_people
from ..detect import Detection
from ..doubts import doubts_of_still
from ..errors import UnreadableClip
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps, fit_close_ups
from ..fit.key_fit import camera_notes, fit_keys
from ..frames import Footage
from ..second_look import reconsidered
from .base import Bodies, BodyTrack, Report
from .clip_path import recover_clip
from .landmarks_clip import LandmarksWay
from .landmarks_common import CERTAIN, hidden_limbs, still_track, with_close_ups


class LandmarksBackend:
    """MediaPipe's landmarks, then a fit of the free body."""

    name = "landmarks"
    title = "Built-in (landmarks)"
    gives: tuple[str, ...] = ("hands", "face", "camera")
    licence = "GPL-3.0-or-later with Apache-2.0 models and a CC0 body; commercial use allowed"

    def missing(self) -> tuple[str, ...]:
        """What this machine lacks, a sentence each."""
        return detect.missing()

    def recover(self, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
        """Detect and follow, fit key frames with a free focal length, agree on it and on the shapes, fit the rest."""
        if len(footage.images) > 1:
            return recover_clip(LandmarksWay(request, report), footage, camera, request, report)
        report("detect", 0.0, "looking for people")
        (image,) = footage.images
        if image is None:
            raise UnreadableClip(f"That frame of {footage.name} cannot be decoded.", "Choose another frame.")
        found = detect.find_people(image, only_largest=request.people == "largest" and not request.chosen)
        people = pick_people(found, int(footage.frame_numbers[0]), request)
        if not people:
            return Bodies((), camera)
        report("fit", 0.6, f"fitting {len(people)} {'person' if len(people) == 1 else 'people'}")
        keys = fit_keys(people, np.arange(len(people)), camera, request, report)
        people, keys = reconsidered(image, people, keys, camera, request, report)
        fit, posed = keys.fit, keys.problem.skeleton.pose(keys.state)
        notes: tuple[str, ...] = ()
        if request.camera_from == "blade":
            report("camera", 0.8, "asking BLADE how far away people are")
            placed = camera_depth.placed_fit(request, image, people, keys.fit, camera)
            fit, posed, camera, notes = placed.fit, placed.posed, placed.camera, placed.notes
        else:
            camera = keys.camera
        close_ups = fit_close_ups(tuple(p.details for p in people), posed, request.body)
        report("fit", 1.0, "")
        tracks = still_tracks(people, fit, close_ups, camera, request.body)
        return Bodies(tracks, camera, (*camera_notes(camera), *notes), versions=detect.versions())


def still_tracks(
    people: Sequence[Detection], fit: Fit, close_ups: CloseUps, camera: Pinhole, body_name: str
) -> tuple[BodyTrack, ...]:
    """The fitted people as tracks of one frame, with what is to be doubted of them."""
    error_mm = trust.joint_errors_mm(people, fit, camera, body_name).astype(np.float32)
    doubted = doubts_of_still(people, fit, camera, body_name)
    return tuple(
        replace(
            _track(person, fit, close_ups, row, body_name), joint_error_mm=error_mm[row : row + 1], doubts=doubted[row]
        )
        for row, person in enumerate(people)
    )


def _track(person: Detection, fit: Fit, close_ups: CloseUps, row: int, body_name: str) -> BodyTrack:
    """One fitted person as a track of one frame."""
    confidence = with_close_ups(fit.certainty[row], close_ups, row)
    notes = hidden_limbs(person.visibility)
    return still_track(person, fit, close_ups, row, body_name, confidence, confidence < CERTAIN, notes)
