# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in backend on clips: follow everybody, agree on camera and shapes in key frames, then fit all frames."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ...wire.messages import RecoverRequest
from ...wire.take import EXPRESSION_COUNT, JOINT_COUNT
from .. import camera_depth, detect
from ..cameras import Pinhole
from ..chosen import pick_tracks
from ..drift import drift_in_words
from ..fit.clip_fit import ClipFit, fit_clip
from ..fit.key_fit import camera_notes, fit_keys
from ..fit.kinematics import BODY_JOINTS
from ..fit.observations import observations
from ..fit.points import LANDMARK_NAMES, landmark_points
from ..follow import Sighting
from ..follow_clip import Followed, follow_footage
from ..frames import Footage
from ..masks import PackedMask
from ..motion.sides import with_sides_put_right
from .base import Bodies, BodyTrack, Report
from .landmarks_common import CERTAIN, CLOSE_UP_CONFIDENCE, hidden_limbs

KEYS_PER_PERSON, KEYS = 8, 24
"""Frames from which camera and shapes are found: enough to see somebody from several sides."""
_FOLLOWING = 0.6
"""Share of the work that is looking rather than fitting, for the progress bar."""


def recover_clip(footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
    """Everybody in a clip."""
    count = len(footage.images)
    times_s = footage.times_s
    followed = follow_footage(footage, request, lambda done, words: report("detect", _FOLLOWING * done, words))
    tracks = pick_tracks(followed.tracks, footage.frame_numbers, request)
    if not tracks:
        return Bodies((), camera)
    frames = [np.array(sorted(t.sightings)) for t in tracks]
    people = [
        with_sides_put_right([track.sightings[i] for i in at], times_s[at])
        for track, at in zip(tracks, frames, strict=True)
    ]
    report("fit", _FOLLOWING, f"fitting {len(people)} {'person' if len(people) == 1 else 'people'}")
    camera, shapes, told = _camera_and_shapes(people, frames, footage, camera, request, report)

    fits, whole, done = [], sum(map(len, people)), 0
    for sightings, at, betas in zip(people, frames, shapes, strict=True):

        def tell(share: float, done: int = done, own: int = len(sightings)) -> None:
            fraction = _FOLLOWING + (1 - _FOLLOWING) * (done + share * own) / whole
            report("fit", fraction, f"person {len(fits) + 1} of {len(people)}")

        fits.append(fit_clip(sightings, times_s[at], camera.rows(at), betas, request.body, tell))
        done += len(sightings)
    bodies = tuple(clip_track(count, *parts, request.body) for parts in zip(frames, people, fits, shapes, strict=True))
    notes = (*camera_notes(camera), *told, *clip_notes(footage, followed, camera))
    return Bodies(bodies, camera, notes, versions=detect.versions(), drift_px=told_drift_px(followed, camera))


def _camera_and_shapes(
    people: list[list[Sighting]],
    frames: list[np.ndarray],
    footage: Footage,
    camera: Pinhole,
    request: RecoverRequest,
    report: Report,
) -> tuple[Pinhole, list[np.ndarray], tuple[str, ...]]:
    """The shot's camera, and everybody's betas (10,), from everybody's key frames; and what is to be said of it."""
    each = max(2, min(KEYS_PER_PERSON, KEYS // len(people)))
    rows, numbers, at = [], [], []
    for person, (sightings, seen_in) in enumerate(zip(people, frames, strict=True)):
        chosen = key_frames(sightings, each)
        rows += [sightings[i] for i in chosen]
        numbers += [person] * len(chosen)
        at += list(seen_in[chosen])
    whose = np.array(numbers)
    told = lambda stage, _, detail: report(stage, _FOLLOWING, detail)  # noqa: E731 - the same without the fraction
    keys = fit_keys(rows, whose, camera.rows(np.array(at)), request, told)
    seen, as_fitted = (
        observations(rows, camera.rows(np.array(at)), np.full(len(rows), np.nan)),
        camera_depth.as_fitted(keys.fit, request.body),
    )
    solved = camera_depth.clip_camera(request, footage, np.array(at), rows, seen, as_fitted, camera)
    camera, betas, notes = solved or (camera if camera.is_known else keys.camera, keys.fit.betas, ())
    # The median: in some frames somebody stands behind something, or bends towards the camera.
    return camera, [np.median(betas[whose == person], 0) for person in range(len(people))], notes


def key_frames(sightings: Sequence[Sighting], count: int) -> np.ndarray:
    """Rows spread over time; of each stretch the one whose landmarks are seen best."""
    edges = np.linspace(0, len(sightings), min(count, len(sightings)) + 1).astype(int)
    seen = np.array([s.visibility.sum() for s in sightings])
    return np.array([a + seen[a:b].argmax() for a, b in pairwise(edges)])


def clip_track(
    count: int, frames: np.ndarray, sightings: Sequence[Sighting], fitted: ClipFit, betas: np.ndarray, body_name: str
) -> BodyTrack:
    """One person's track over the clip's `count` frames, seen in `frames` (T,)."""
    fit, close_ups = fitted.fit, fitted.close_ups
    pose = close_ups.pose.copy()
    pose[:, :BODY_JOINTS] = fit.pose
    certainty = np.where(close_ups.seen, CLOSE_UP_CONFIDENCE, 0.0)
    certainty[:, :BODY_JOINTS] = fit.certainty
    reprojected_px = np.full((len(frames), len(LANDMARK_NAMES), 2), np.nan)
    reprojected_px[:, landmark_points(body_name).indices] = fit.points_px
    keypoints_px = np.array([np.column_stack([s.points_px, s.visibility]) for s in sightings])
    present = np.zeros(count, bool)
    masks: list[PackedMask | None] = [None] * count
    present[frames] = True
    for frame, sighting in zip(frames, sightings, strict=True):
        masks[frame] = sighting.mask
    # Frames without the person hold the nearest one's values, so that nothing jumps where somebody looks at them.
    nearest = np.searchsorted((frames[1:] + frames[:-1]) / 2, np.arange(count))
    everywhere = lambda rows: np.asarray(rows, np.float32)[nearest]  # noqa: E731 - many times the same small thing
    return BodyTrack(
        present=present,
        boxes_px=everywhere([s.box_px for s in sightings]),
        score=np.where(present, everywhere([s.score for s in sightings]), 0).astype(np.float32),
        pose=everywhere(pose).reshape(count, JOINT_COUNT, 3),
        betas=np.asarray(betas, np.float32),
        expression=everywhere(close_ups.expression).reshape(count, EXPRESSION_COUNT),
        translation=everywhere(fit.translation),
        keypoint_names=tuple(LANDMARK_NAMES),
        keypoints_px=everywhere(keypoints_px),
        joint_confidence=everywhere(certainty),
        joint_inferred=everywhere(certainty) < CERTAIN,
        masks=tuple(masks),
        reprojected_px=everywhere(reprojected_px),
        notes=hidden_limbs(np.median([s.visibility for s in sightings], 0)),
    )


def told_drift_px(followed: Followed, camera: Pinhole) -> np.ndarray | None:
    """(F,) the background's drift; None where the camera's motion was given, which explains it."""
    return None if camera.places(1) is not None else followed.drift_px


def clip_notes(footage: Footage, followed: Followed, camera: Pinhole) -> tuple[str, ...]:
    unreadable, cuts = followed.unreadable, followed.cuts
    drift_px = told_drift_px(followed, camera)
    moves = "The camera moves as it was given." if drift_px is None else drift_in_words(drift_px, footage.width)
    notes = [*footage.notes, moves]
    if unreadable:
        numbers = ", ".join(map(str, footage.frame_numbers[unreadable][:20]))
        more = f" and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
        notes.append(
            f"Frames that could not be decoded: {numbers}{more}. Those that follow one may be damaged too, up to the "
            "next key frame."
        )
    if cuts:
        numbers = ", ".join(map(str, footage.frame_numbers[cuts][:20]))
        notes.append(f"The shot changes at frame {numbers}: people are not recognised across a cut.")
    return tuple(notes)
