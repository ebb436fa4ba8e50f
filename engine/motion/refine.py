# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovered tracks made ready for animation, whatever the backend was: the main path of everything in this folder.

Gaps are filled and jitter is smoothed in the world, so that a moving camera's shake stays the camera's. What touches
the ground is found, the ground from it, and feet are kept in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...wire.frames import project
from ...wire.motion import CONTACT_NAMES, MotionOptions
from ...wire.take import CameraTrack
from .. import world
from ..backends.base import BodyTrack
from .contacts import FEET, KNEES, find_contacts, places, through_hidden_moments
from .foot_lock import lock_feet
from .gaps import fill_vectors, gaps
from .glimpses import feet_hidden_for_a_moment
from .ground import Ground, find_ground
from .placed import PlacedMotion, back_to_track, joined, placed, split, with_frames_between
from .smooth import smooth_motion, smooth_vectors

LONGEST_GAP_S = 0.7
"""Who is away for longer may have done anything meanwhile."""
SMOOTHING_S = 0.04
"""The time constant when none is asked for; limbs have multiples of it, see `smooth.LIMBS`."""


@dataclass(frozen=True)
class Refined:
    """Everybody's motion, and the world it happens in: z up, and the ground at z = 0 unless the camera was given."""

    tracks: tuple[BodyTrack, ...]
    contacts: tuple[np.ndarray, ...]
    """(F, 7) bool for each track, see `PersonTrack.contacts`."""
    camera: CameraTrack
    notes: tuple[str, ...]


def refine(
    tracks: Sequence[BodyTrack], bodies: Sequence[str], times_s: np.ndarray, camera: CameraTrack, motion: MotionOptions
) -> Refined:
    """Do what `motion` asks for; times_s (F,) ascending, `bodies` are the tracks' bodies. A still is only placed."""
    is_clip = len(times_s) > 1
    smoothing_s = SMOOTHING_S if motion.smoothing_s is None else motion.smoothing_s
    smooths, locks = is_clip and smoothing_s > 0, is_clip and motion.foot_lock
    T_world_camera = np.array(np.broadcast_to(camera.T_world_camera, (len(times_s), 4, 4)))

    people = [_Moving.of(t, body, times_s, T_world_camera) for t, body in zip(tracks, bodies, strict=True)]
    if is_clip and motion.fill_gaps:
        people = [person.with_gaps_filled(T_world_camera) for person in people]
    if smooths:
        people = [person.smoothed(smoothing_s) for person in people]
    T_up, notes = np.eye(4), []
    if not camera.is_placed:
        T_up, note = world.place(tuple(person.as_track(T_world_camera) for person in people), bodies[0])
        people, notes = [person.in_world(T_up) for person in people], [note]
    ground = find_ground([part for p in people for part in p.parts], camera.is_placed) if motion.ground else None
    if is_clip and ground is not None:
        T_up = ground.T_level_world @ T_up
        people = [person.in_world(ground.T_level_world) for person in people]
        notes.append(_ground_note(ground, camera.is_placed))
    contacts = [p.contacts(ground is not None, camera, T_up @ T_world_camera) for p in people]
    if locks:
        people = [p.locked(touching, ground is not None) for p, touching in zip(people, contacts, strict=True)]
    return Refined(
        tracks=tuple(person.as_track(T_up @ T_world_camera) for person in people),
        contacts=tuple(_over_all_frames(c, p.track) for c, p in zip(contacts, people, strict=True)),
        camera=camera if camera.is_placed else replace(camera, T_world_camera=T_up @ camera.T_world_camera),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Moving:
    """One person on the way through `refine`."""

    track: BodyTrack
    """All but the motion."""
    times_s: np.ndarray
    """(F,) of the clip."""
    parts: list[PlacedMotion]
    """The motion, a part for each stretch without a long gap."""
    is_as_seen: bool = True
    """Whether nothing was done to the motion yet: then the track is right to the last bit."""

    @classmethod
    def of(cls, track: BodyTrack, body: str, times_s: np.ndarray, T_world_camera: np.ndarray) -> _Moving:
        return cls(track, times_s, split(placed(track, times_s, T_world_camera, body), LONGEST_GAP_S))

    def with_gaps_filled(self, T_world_camera: np.ndarray) -> _Moving:
        track = _with_gaps_marked(self.track, self.times_s)
        if track is self.track:
            return self
        frames = np.flatnonzero(track.present)
        whole = with_frames_between(joined(self.parts), self.times_s[frames], T_world_camera[frames, :3, 3])
        return _Moving(track, self.times_s, split(whole, LONGEST_GAP_S), is_as_seen=False)

    def smoothed(self, time_s: float) -> _Moving:
        expression, first, parts = self.track.expression.copy(), 0, []
        frames = np.flatnonzero(self.track.present)
        for part in self.parts:
            rows = frames[first : first + len(part.times_s)]
            expression[rows] = smooth_vectors(expression[rows], part.times_s, time_s)
            parts.append(smooth_motion(part, time_s, self.track.joint_inferred[rows]))
            first += len(rows)
        return _Moving(replace(self.track, expression=expression), self.times_s, parts, is_as_seen=False)

    def in_world(self, T: np.ndarray) -> _Moving:
        return replace(self, parts=[part.moved(T) for part in self.parts])

    def contacts(self, ground_known: bool, camera: CameraTrack, T_world_camera: np.ndarray) -> list[np.ndarray]:
        """(T, 7) bool for each part: of what the picture shows."""
        found, frames = [], np.flatnonzero(self.track.present)
        hidden = feet_hidden_for_a_moment(self.track, self.times_s)
        for part in self.parts:
            rows, frames = frames[: len(part.times_s)], frames[len(part.times_s) :]
            shown = in_picture(places(part), camera, T_world_camera, rows)
            shown[:, FEET] &= ~self.track.joint_inferred[rows][:, KNEES]
            seen = find_contacts(part, ground_known) & shown
            found.append(through_hidden_moments(seen, hidden[rows], part))
        return found

    def locked(self, contacts: list[np.ndarray], on_ground: bool) -> _Moving:
        parts = [lock_feet(part, touching, on_ground) for part, touching in zip(self.parts, contacts, strict=True)]
        return replace(self, parts=parts, is_as_seen=False)

    def as_track(self, T_world_camera: np.ndarray) -> BodyTrack:
        return self.track if self.is_as_seen else back_to_track(joined(self.parts), self.track, T_world_camera)


def in_picture(points: np.ndarray, camera: CameraTrack, T_world_camera: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(T, N) bool, which world points (T, N, 3) in the frames (T,) lie within the picture; T_world_camera (F, 4, 4)."""
    R, t = T_world_camera[frames, :3, :3], T_world_camera[frames, :3, 3]
    intrinsics = np.stack([camera.intrinsics(int(frame)) for frame in frames])
    points_px = project((points - t[:, None]) @ R, intrinsics[:, None])
    with np.errstate(invalid="ignore"):
        return ((points_px > 0) & (points_px < (camera.width, camera.height))).all(-1)


def _with_gaps_marked(track: BodyTrack, times_s: np.ndarray) -> BodyTrack:
    """Present, inferred and of score 0 between two sightings shortly after each other; all but the motion is filled."""
    found = gaps(track.present, times_s, LONGEST_GAP_S)
    if not found:
        return track
    names = ("boxes_px", "expression", "keypoints_px", "score", "joint_confidence", "joint_inferred", "present")
    arrays: dict[str, Any] = {name: np.array(getattr(track, name)) for name in names}
    for before, after in found:
        inside = slice(before + 1, after)
        for name in ("boxes_px", "expression", "keypoints_px"):
            fill_vectors(arrays[name], before, after, times_s)
        arrays["score"][inside], arrays["keypoints_px"][inside, :, 2], arrays["joint_confidence"][inside] = 0, 0, 0
        arrays["present"][inside], arrays["joint_inferred"][inside] = True, True
    return replace(track, **arrays)


def _over_all_frames(contacts: list[np.ndarray], track: BodyTrack) -> np.ndarray:
    """(F, 7) bool from those of the stretches in which the person is present."""
    whole = np.zeros((len(track.present), len(CONTACT_NAMES)), bool)
    whole[track.present] = np.concatenate(contacts)
    return whole


def _ground_note(ground: Ground, is_placed: bool) -> str:
    where = f"{ground.height_m:+.2f} m high" if is_placed else f"{ground.tilt_deg:.0f} degrees off what balance said"
    return (
        f"The ground ({where}) lies through {ground.contacts} contacts of feet, "
        f"which are within {100 * ground.residual_m:.1f} cm of it."
    )
