# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path of clips, for every backend: follow everybody, look, agree on camera and shapes, fit each person.

What backends do differently is a `ClipWay`: how they look at people, and how they fit them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from ...wire.messages import RecoverRequest
from ...wire.take import EXPRESSION_COUNT, JOINT_COUNT
from .. import camera_depth
from ..cameras import Pinhole
from ..chosen import pick_tracks
from ..drift import drift_in_words
from ..fit.body_fit import Fit
from ..fit.clip_fit import ClipFit, FitWindow, fit_clip
from ..fit.close_ups import CloseUps
from ..fit.kinematics import BODY_JOINTS
from ..fit.observations import observations
from ..fit.points import LANDMARK_NAMES, landmark_points
from ..fit.stances import Rough, camera_by_stances, thinned
from ..follow import Sighting
from ..follow_clip import Followed, follow_footage
from ..frames import Footage
from ..kept_steps import KeptSteps
from ..masks import PackedMask
from ..motion.sides import with_sides_put_right
from ..track import Track
from .base import Bodies, BodyTrack, Report
from .landmarks_common import CERTAIN, CLOSE_UP_CONFIDENCE, hidden_limbs

KEYS_PER_PERSON, KEYS = 8, 24
"""Frames from which camera and shapes are found: enough to see somebody from several sides."""
CHANGED = 0.03
"""From this change of the focal length on, shapes are found anew."""


@dataclass(frozen=True)
class Person:
    """Somebody, and where in the clip."""

    sightings: list[Sighting]
    """T, or what the way makes of them."""
    frames: np.ndarray
    """(T,) indices among the clip's frames."""
    times_s: np.ndarray
    """(T,)."""


@dataclass(frozen=True)
class Keys:
    """Key frames of everybody, in rows."""

    rows: list[Sighting]
    whose: np.ndarray
    """(K,) numbers of the people, largest first."""
    at: np.ndarray
    """(K,) indices among the clip's frames."""
    heights_m: np.ndarray
    """(K,) statures, NaN where unknown."""


Tell = Callable[[float, str], None]


class ClipWay(Protocol):
    """What a backend does in its own way."""

    followed: float
    """Share of the work that is done once everybody was followed,"""
    looked: float
    """… and after `look`."""

    def look(self, footage: Footage, tracks: list[Track], tell: Tell, kept: KeptSteps) -> list[list[Sighting]]:
        """For each track its sightings in order, with what the backend sees in them; tell(share, words)."""

    def depths_m(self, keys: Keys) -> np.ndarray | None:
        """(K,) distances that the backend's network tells, if it does."""

    def believing(self, keys: Keys, camera: Pinhole) -> camera_depth.Believe:
        """Camera -> the bodies in key frames as seen through it; `camera` is the one so far."""

    def agree(self, keys: Keys, camera: Pinhole, keep_camera: bool) -> tuple[Pinhole, np.ndarray]:
        """The camera that everybody agrees on, and betas (K, 10)."""

    def fit_window(
        self,
        people: Sequence[Sighting],
        times_s: np.ndarray,
        camera: Pinhole,
        betas: np.ndarray,
        body_name: str,
        rough: bool = False,
    ) -> tuple[Fit, CloseUps]:
        """As `clip_fit.FitWindow`; `rough` leaves outlines, hands and faces out."""

    def finished(self, track: BodyTrack, person: Person, fit: Fit, footage: Footage, camera: Pinhole) -> BodyTrack:
        """The track with what the backend knows of it besides; `fit` has a row for each of the person's frames."""

    def bodies(self, tracks: tuple[BodyTrack, ...], camera: Pinhole, notes: tuple[str, ...]) -> Bodies:
        """The answer."""


def recover_clip(way: ClipWay, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
    """Everybody in a clip."""
    times_s = footage.times_s
    followed = follow_footage(footage, request, lambda done, words: report("detect", way.followed * done, words))
    tracks = pick_tracks(followed.tracks, footage.frame_numbers, request)
    if not tracks:
        return Bodies((), camera)
    looking = way.looked - way.followed
    kept = KeptSteps(footage.keep_in)
    looked = way.look(
        footage, tracks, lambda done, words: report("network", way.followed + looking * done, words), kept
    )
    people = [_person(rows, track, times_s) for rows, track in zip(looked, tracks, strict=True)]
    fitted, camera, told = fit_people(way, people, footage, camera, request, report)
    recovered = way.bodies(fitted, camera, (*told, *clip_notes(footage, followed, camera)))
    return replace(recovered, drift_px=told_drift_px(followed, camera))


def fit_people(
    way: ClipWay, people: list[Person], footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report
) -> tuple[tuple[BodyTrack, ...], Pinhole, tuple[str, ...]]:
    """Everybody's track over the whole clip, the camera that sees them, and what is to be said of it."""
    report("fit", way.looked, f"fitting {len(people)} {'person' if len(people) == 1 else 'people'}")
    kept = KeptSteps(footage.keep_in)
    camera, shapes, told = _camera_and_shapes(way, people, footage, camera, request, report)
    count, body_name = len(footage.frame_numbers), request.body
    tracks, whole, done = [], sum(len(person.frames) for person in people), 0
    for person, betas in zip(people, shapes, strict=True):

        def tell(share: float, done: int = done, own: int = len(person.frames)) -> None:
            fraction = way.looked + (1 - way.looked) * (done + share * own) / whole
            report("fit", fraction, f"person {len(tracks) + 1} of {len(people)}")

        through, fit_window = camera.rows(person.frames), _kept_fits(way, kept, len(tracks))
        fitted = fit_clip(person.sightings, person.times_s, through, betas, body_name, tell, fit_window)
        track = clip_track(count, person.frames, person.sightings, fitted, betas, body_name)
        tracks.append(way.finished(track, person, fitted.fit, footage, camera))
        done += len(person.frames)
    return tuple(tracks), camera, told


def _kept_fits(way: ClipWay, kept: KeptSteps, person: int) -> FitWindow:
    """The way's own fit of a window of frames, unless an earlier run has done it."""

    def fit_window(
        people: Sequence[Sighting], times_s: np.ndarray, camera: Pinhole, betas: np.ndarray, body_name: str
    ) -> tuple[Fit, CloseUps]:
        def fit() -> dict[str, np.ndarray]:
            fitted, close_ups = way.fit_window(people, times_s, camera, betas, body_name)
            return {f"fit.{name}": value for name, value in vars(fitted).items()} | {
                f"close_ups.{name}": value for name, value in vars(close_ups).items()
            }

        name = f"fit-{person}-{round(1000 * times_s[0]):09d}"
        done = kept.arrays(name, [type(way).__name__, people, times_s, camera, betas, body_name], fit)
        return Fit(**_part(done, "fit.")), CloseUps(**_part(done, "close_ups."))

    return fit_window


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Those whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _person(sightings: list[Sighting], track: Track, times_s: np.ndarray) -> Person:
    frames = np.array(sorted(track.sightings))
    return Person(with_sides_put_right(sightings, times_s[frames]), frames, times_s[frames])


def _camera_and_shapes(
    way: ClipWay, people: list[Person], footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report
) -> tuple[Pinhole, list[np.ndarray], tuple[str, ...]]:
    """The shot's camera, and everybody's betas (10,), from everybody's key frames; and what is to be said of it."""
    keys = _keys(people, request.height_m)
    through = camera.rows(keys.at)
    depths_m = way.depths_m(keys)
    if camera_depth.is_asked_of_clip(request, depths_m):
        seen, believe = observations(keys.rows, through, keys.heights_m), way.believing(keys, through)
        solved, betas, told = camera_depth.clip_camera(
            request, footage, keys.at, keys.rows, seen, believe, through, depths_m
        )
        return solved, _shapes(keys, betas), told
    agreed, betas = way.agree(keys, through, keep_camera=camera.is_known)
    if camera.is_known:
        return camera, _shapes(keys, betas), ()
    report("camera", way.looked, "how feet stand tells the lens")
    rough = _roughly(way, people, agreed, _shapes(keys, betas), request.body)
    better = camera_by_stances(agreed, rough, camera, request.body)
    if abs(np.log(better.fx_px / agreed.fx_px)) > CHANGED:
        _, betas = way.agree(keys, better, keep_camera=True)
    return better, _shapes(keys, betas), ()


def _keys(people: list[Person], height_m: float | None) -> Keys:
    each = max(2, min(KEYS_PER_PERSON, KEYS // len(people)))
    chosen = [key_frames(person.sightings, each) for person in people]
    whose = np.repeat(np.arange(len(people)), [len(rows) for rows in chosen])
    return Keys(
        rows=[person.sightings[i] for person, rows in zip(people, chosen, strict=True) for i in rows],
        whose=whose,
        at=np.concatenate([person.frames[rows] for person, rows in zip(people, chosen, strict=True)]),
        heights_m=np.where(whose == 0, np.nan if height_m is None else height_m, np.nan),
    )


def _shapes(keys: Keys, betas: np.ndarray) -> list[np.ndarray]:
    """Everybody's betas (10,) of those in key frames (K, 10). The median: in some frames somebody stands behind
    something, or bends towards the camera."""
    return [np.median(betas[keys.whose == person], 0) for person in range(keys.whose.max() + 1)]


def _roughly(
    way: ClipWay, people: list[Person], camera: Pinhole, shapes: list[np.ndarray], body_name: str
) -> list[Rough]:
    """Some of everybody's frames, fitted roughly."""

    def fit_window(
        sightings: Sequence[Sighting], times_s: np.ndarray, lens: Pinhole, betas: np.ndarray, body_name: str
    ) -> tuple[Fit, CloseUps]:
        return way.fit_window(sightings, times_s, lens, betas, body_name, rough=True)

    rough = []
    for person, betas in zip(people, shapes, strict=True):
        some = thinned(person.times_s)
        sightings, times_s = [person.sightings[row] for row in some], person.times_s[some]
        fitted = fit_clip(sightings, times_s, camera.rows(person.frames[some]), betas, body_name, fit_window=fit_window)
        rough.append(Rough(times_s, clip_track(len(some), np.arange(len(some)), sightings, fitted, betas, body_name)))
    return rough


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
