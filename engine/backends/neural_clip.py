# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR and HMR2.0 on clips: follow everybody, look at every crop, then fit each person's frames together.

As `landmarks_clip`, but the pose of each frame is held near what the network says of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np

from ...models.body_model import BodyModel, load_body
from ...wire.messages import RecoverRequest
from .. import camera_depth
from ..camera_refine import Believed, HeldFit
from ..cameras import Pinhole
from ..chosen import pick_tracks
from ..clips import ahead
from ..crop import Crop
from ..fit.body_fit import Fit
from ..fit.clip_fit import LANDMARK_STEPS, SILHOUETTE_STEPS, fit_clip
from ..fit.close_ups import CloseUps, fit_close_ups
from ..fit.key_fit import agreed_camera
from ..fit.observations import Masks, observations
from ..fit.temporal import Motion
from ..follow import Sighting
from ..follow_clip import follow_footage
from ..frames import Footage
from ..motion.sides import with_sides_put_right
from ..track import Track
from .base import Bodies, Report
from .landmarks_clip import KEYS, KEYS_PER_PERSON, clip_notes, clip_track, key_frames, told_drift_px
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

_FOLLOWED, _LOOKED = 0.2, 0.8
"""Shares of the work done after following, and after the network has looked."""


@dataclass(frozen=True)
class Looked(Sighting):
    """A sighting, and what the network said of its crop."""

    crop: Crop = field(kw_only=True)
    predicted: Prediction = field(kw_only=True)
    """One row."""


def recover_clip(
    backend: CropNetworkBackend, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report
) -> Bodies:
    """Everybody in a clip."""
    count = len(footage.images)
    times_s = footage.times_s
    followed = follow_footage(footage, request, lambda done, words: report("detect", _FOLLOWED * done, words))
    tracks = pick_tracks(followed.tracks, footage.frame_numbers, request)
    if not tracks:
        return Bodies((), camera)
    frames = [np.array(sorted(track.sightings)) for track in tracks]
    looked = _look(backend, footage, tracks, report)
    put_right = (with_sides_put_right(list(rows), times_s[at]) for rows, at in zip(looked, frames, strict=True))
    people = [cast(list[Looked], rows) for rows in put_right]
    report("fit", _LOOKED, "fitting the bodies into the clip")
    smpl = smpl_body()
    camera, shapes, told = _camera_and_shapes(people, frames, footage, camera, request, smpl)

    bodies = []
    for number, (sightings, at, betas) in enumerate(zip(people, frames, shapes, strict=True)):
        fitted = fit_clip(
            sightings,
            times_s[at],
            camera.rows(at),
            betas,
            request.body,
            partial(_tell_fit, report, number, len(people)),
            partial(_fit_window, smpl),
        )
        track = with_network_confidence(clip_track(count, at, sightings, fitted, betas, request.body), request.body)
        first = sightings[0]
        note = f"In frame {footage.frame_numbers[at[0]]}: " + backend.own_camera(
            first.predicted.crop_camera[0], first.crop, camera.rows(at[:1])
        )
        bodies.append(replace(track, notes=(*track.notes, note)))
    notes = (*told, *clip_notes(footage, followed, camera))
    recovered = backend.bodies(tuple(bodies), camera, smpl is not None, notes)
    return replace(recovered, drift_px=told_drift_px(followed, camera))


def _tell_fit(report: Report, number: int, count: int, done: float) -> None:
    report("fit", _LOOKED + (1 - _LOOKED) * (number + done) / count, f"person {number + 1} of {count}")


def _look(backend: CropNetworkBackend, footage: Footage, tracks: list[Track], report: Report) -> list[list[Looked]]:
    """Everybody's crop in every frame through the network, in batches; for each track its sightings in order."""
    looked: list[list[Looked]] = [[] for _ in tracks]
    done, whole = 0, sum(len(track.sightings) for track in tracks)
    # The next frames are decoded and cropped in a thread of their own while the network looks.
    with closing(ahead(_crops(backend, footage, tracks))) as prepared:
        while rows := list(islice(prepared, backend.batch_size)):
            predicted = backend.answer(joined_inputs([planes for *_, planes in rows]))
            done += len(rows)
            report("network", _FOLLOWED + (_LOOKED - _FOLLOWED) * done / whole, f"{done} of {whole} crops")
            for row, (person, sighting, crop, _) in enumerate(rows):
                known = {each.name: getattr(sighting, each.name) for each in fields(Sighting)}
                looked[person].append(Looked(**known, crop=crop, predicted=predicted.rows(slice(row, row + 1))))
    return looked


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


def _camera_and_shapes(
    people: list[list[Looked]],
    frames: list[np.ndarray],
    footage: Footage,
    camera: Pinhole,
    request: RecoverRequest,
    smpl: BodyModel | None,
) -> tuple[Pinhole, list[np.ndarray], tuple[str, ...]]:
    """The shot's camera, and everybody's betas (10,), from everybody's key frames; and what is to be said of it."""
    each = max(2, min(KEYS_PER_PERSON, KEYS // len(people)))
    keys = [key_frames(sightings, each) for sightings in people]
    whose = np.repeat(np.arange(len(people)), [len(rows) for rows in keys])
    rows = [sightings[i] for sightings, own in zip(people, keys, strict=True) for i in own]
    heights_m = np.where(whose == 0, np.nan if request.height_m is None else request.height_m, np.nan)
    at = np.concatenate([seen_in[own] for seen_in, own in zip(frames, keys, strict=True)])
    solved = camera_depth.clip_camera(
        request,
        footage,
        at,
        rows,
        observations(rows, camera.rows(at), heights_m),
        lambda candidate: _believed(rows, candidate, smpl, load_body(request.body)),
        camera,
    )
    if solved is not None:
        camera, betas, told = solved
        return camera, [np.median(betas[whose == person], 0) for person in range(len(people))], told
    held = _held(rows, camera.rows(at), heights_m, smpl, request.body)
    start = held.start()
    if not camera.is_known:
        camera = agreed_camera(camera, held.outcome(held.near(start)), whose)
    boxes_px = np.array([sighting.box_px for sighting in rows])
    betas = held.on_picture(start, camera.rows(at).focals_px(len(rows)), Masks(rows), boxes_px).betas
    return camera, [np.median(betas[whose == person], 0) for person in range(len(people))], ()


def _fit_window(
    smpl: BodyModel | None,
    people: Sequence[Looked],
    times_s: np.ndarray,
    camera: Pinhole,
    betas: np.ndarray,
    body_name: str,
) -> tuple[Fit, CloseUps]:
    """One person's frames together, the shape being known."""
    count = len(people)
    held = _held(people, camera, np.full(count, np.nan), smpl, body_name, np.tile(betas, (count, 1)))
    motion, boxes_px = Motion(times_s, camera.places(count)), np.array([person.box_px for person in people])
    state, _ = held.with_motion(held.near(held.start()), motion, LANDMARK_STEPS)
    state, system = held.with_motion(state, motion, SILHOUETTE_STEPS, Masks(people), boxes_px)
    close_ups = fit_close_ups(tuple(person.details for person in people), held.skeleton.pose(state), body_name)
    return held.result(state, system), close_ups


def _held(
    rows: Sequence[Looked],
    camera: Pinhole,
    heights_m: np.ndarray,
    smpl: BodyModel | None,
    body_name: str,
    betas: np.ndarray | None = None,
) -> HeldFit:
    """With `betas` (B, 10) shapes and focal length are known."""
    seen = observations(rows, camera, heights_m, keep_focal=betas is not None)
    body = load_body(body_name) if betas is None else None
    return HeldFit(seen, _believed(rows, camera, smpl, body), body_name, betas)


def _believed(rows: Sequence[Looked], camera: Pinhole, smpl: BodyModel | None, body: BodyModel | None) -> Believed:
    predicted = Prediction.joined([row.predicted for row in rows])
    boxes_px = np.array([row.box_px for row in rows])
    return believed_before(camera, predicted, [row.crop for row in rows], boxes_px, smpl, body)
