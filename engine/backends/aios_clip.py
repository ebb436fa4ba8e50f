# SPDX-License-Identifier: GPL-3.0-or-later
"""AiOS and BLADE on clips: follow everybody, look at every frame, then fit each person's frames together.

As `neural_clip`; the network also knows hands, jaw and, if it is BLADE, how far away everybody is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, cast

import numpy as np

from ...models.body_model import BodyModel
from ...wire.messages import RecoverRequest
from .. import camera_depth, rtm
from ..camera_refine import HeldFit
from ..cameras import Pinhole
from ..chosen import pick_tracks
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
from .aios_answer import Answer, believed, smplx_body, with_own_hands_and_jaw
from .aios_common import WholeBodyBackend, is_alone_and_large
from .base import Bodies, Report
from .landmarks_clip import KEYS, KEYS_PER_PERSON, clip_notes, clip_track, key_frames, told_drift_px
from .neural import with_network_confidence

_FOLLOWED, _LOOKED = 0.15, 0.8
"""Shares of the work done after following, and after the network has looked."""
TOGETHER = 16
"""People whose pictures are kept in memory until the network is asked, over neighbouring frames."""


@dataclass(frozen=True)
class Looked(Sighting):
    """A sighting, and what the network said of it."""

    answer: Answer = field(kw_only=True)
    """One row."""


def recover_clip(
    backend: WholeBodyBackend, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report
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
    report("camera", _LOOKED, "fitting camera and bodies to the clip")
    smplx = smplx_body()
    camera, shapes, notes = _camera_and_shapes(people, frames, footage, camera, request, smplx)

    bodies = []
    for number, (sightings, at, betas) in enumerate(zip(people, frames, shapes, strict=True)):

        def tell(done: float, number: int = number) -> None:
            report("fit", _LOOKED + (1 - _LOOKED) * (number + done) / len(people), f"person {number + 1}")

        window = partial(_fit_window, smplx)
        fitted = fit_clip(sightings, times_s[at], camera.rows(at), betas, request.body, tell, window)
        track = with_network_confidence(clip_track(count, at, sightings, fitted, betas, request.body), request.body)
        note = f"In frame {footage.frame_numbers[at[0]]}: {backend.own_words(sightings[0].answer, 0)}"
        bodies.append(replace(track, notes=(*track.notes, note)))
    told = (*notes, *clip_notes(footage, followed, camera))
    recovered = backend.bodies(tuple(bodies), camera, smplx, request.body, told)
    return replace(recovered, drift_px=told_drift_px(followed, camera))


def _look(backend: WholeBodyBackend, footage: Footage, tracks: list[Track], report: Report) -> list[list[Looked]]:
    """Everybody in every frame through the network, several frames at a time; for each track its sightings in order."""
    looked: list[list[Looked]] = [[] for _ in tracks]
    in_whole = is_alone_and_large([list(t.sightings.values()) for t in tracks], footage.width, footage.height)
    waiting: list[tuple[list[tuple[int, Sighting]], Any]] = []
    whole, done = sum(len(track.sightings) for track in tracks), 0
    for here, image in _frames(footage, tracks):
        surer = rtm.with_points(image, [sighting for _, sighting in here])
        here = [(person, sighting) for (person, _), sighting in zip(here, surer, strict=True)]
        waiting.append((here, backend.prepare(image, surer, in_whole)))
        done += len(here)
        if sum(len(people) for people, _ in waiting) >= TOGETHER or done == whole:
            report("network", _FOLLOWED + (_LOOKED - _FOLLOWED) * done / whole, f"{done} of {whole} views")
            answers = backend.ask([prepared for _, prepared in waiting])
            for (people, _), answer in zip(waiting, answers, strict=True):
                for row, (person, sighting) in enumerate(people):
                    known = {each.name: getattr(sighting, each.name) for each in fields(Sighting)}
                    looked[person].append(Looked(**known, answer=answer.rows(slice(row, row + 1))))
            waiting.clear()
    return looked


def _frames(footage: Footage, tracks: list[Track]) -> Iterator[tuple[list[tuple[int, Sighting]], np.ndarray]]:
    """Who is where, and the picture; decoded once more. Frames without anybody are passed over."""
    for index, image in enumerate(footage.images):
        here = [(person, track.sightings[index]) for person, track in enumerate(tracks) if index in track.sightings]
        if here and image is not None:
            yield here, image


def _camera_and_shapes(
    people: list[list[Looked]],
    frames: list[np.ndarray],
    footage: Footage,
    camera: Pinhole,
    request: RecoverRequest,
    smplx: BodyModel | None,
) -> tuple[Pinhole, list[np.ndarray], tuple[str, ...]]:
    """The shot's camera, and everybody's betas (10,), from everybody's key frames; and what is to be said of it."""
    each = max(2, min(KEYS_PER_PERSON, KEYS // len(people)))
    chosen = [key_frames(sightings, each) for sightings in people]
    whose = np.repeat(np.arange(len(people)), [len(keys) for keys in chosen])
    rows = [sightings[i] for sightings, keys in zip(people, chosen, strict=True) for i in keys]
    at = np.concatenate([own[keys] for own, keys in zip(frames, chosen, strict=True)])
    heights_m = np.where(whose == 0, np.nan if request.height_m is None else request.height_m, np.nan)
    answer, seen = Answer.joined([row.answer for row in rows]), observations(rows, camera.rows(at), heights_m)

    def believe(candidate: Pinhole):
        return believed(answer, seen, candidate, request.body, smplx)

    depths_m = None if np.isnan(answer.depth_m).any() else answer.depth_m
    solved = camera_depth.clip_camera(request, footage, at, rows, seen, believe, camera, depths_m)
    notes: tuple[str, ...] = ()
    if solved is None:
        held = HeldFit(seen, believe(camera.rows(at)), request.body)
        if not camera.is_known:
            camera = agreed_camera(camera, held.outcome(held.near(held.start())), whose)
        boxes_px, focals_px = np.array([row.box_px for row in rows]), camera.rows(at).focals_px(len(rows))
        betas = held.on_picture(held.start(), focals_px, Masks(rows), boxes_px).betas
    else:
        camera, betas, notes = solved
    return camera, [np.median(betas[whose == person], 0) for person in range(len(people))], notes


def _fit_window(
    smplx: BodyModel | None,
    people: Sequence[Looked],
    times_s: np.ndarray,
    camera: Pinhole,
    betas: np.ndarray,
    body_name: str,
) -> tuple[Fit, CloseUps]:
    """One person's frames together, the shape being known."""
    count = len(people)
    seen = observations(people, camera, np.full(count, np.nan), keep_focal=True)
    answer = Answer.joined([person.answer for person in people])
    shapes = np.tile(betas, (count, 1))
    known = believed(answer, seen, camera, body_name, smplx, shapes)
    held = HeldFit(seen, known, body_name, shapes)
    motion, boxes_px = Motion(times_s, camera.places(count)), np.array([person.box_px for person in people])
    state, _ = held.with_motion(held.near(held.start()), motion, LANDMARK_STEPS)
    state, system = held.with_motion(state, motion, SILHOUETTE_STEPS, Masks(people), boxes_px)
    close_ups = fit_close_ups(tuple(person.details for person in people), held.skeleton.pose(state), body_name)
    return held.result(state, system), with_own_hands_and_jaw(close_ups, answer, body_name, smplx)
