# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything after the network: from people as a backend saw them to a take that can be drawn.

`pipeline` and `rerun` share it, so that doing it again with the same options gives the same take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..wire.motion import MotionOptions
from ..wire.take import CameraTrack, Take
from . import verdict, world
from .backends.base import BodyTrack
from .motion.refine import refine
from .tracks import body_track, judged_person, moved_person


def with_motion(seen: Take, motion: MotionOptions) -> Take:
    """Do to the motion what `motion` says, and place the camera in the world.

    The people of `seen` are as their backend saw them, through its camera; they and that camera become `Take.seen` and
    `Take.seen_camera`, unless those are kept already.
    """
    camera, times_s = seen.camera, (seen.frame_numbers - 1) / seen.fps
    tracks = [refine(body_track(p, camera), times_s, motion, camera, p.body) for p in seen.people]
    placed, notes = _placed(camera, tracks, seen.people[0].body)
    return replace(
        seen,
        people=tuple(moved_person(person, track) for person, track in zip(seen.people, tracks, strict=True)),
        camera=placed,
        motion=motion,
        notes=(*seen.notes, *notes),
        seen=seen.seen or seen.people,
        seen_camera=seen.seen_camera or camera,
        seen_notes=seen.seen_notes if seen.seen else seen.notes,
    )


def judged(take: Take, tell: Callable[[str, float], None] = lambda *_: None) -> Take:
    """Compare everybody with what was seen of them; `tell` hears how much is done, 0 to 1."""
    people = []
    for person in take.people:
        tell("verdict", len(people) / len(take.people))
        track = body_track(person, take.camera)
        people.append(judged_person(person, verdict.judge(track, take.camera, person.body)))
    return replace(take, people=tuple(people))


def _placed(camera: CameraTrack, tracks: list[BodyTrack], body: str) -> tuple[CameraTrack, tuple[str, ...]]:
    """The camera in a world with z up and the ground at 0."""
    if camera.is_placed:
        return camera, ()
    T_world_camera, note = world.place(tuple(tracks), body)
    return replace(camera, T_world_camera=np.repeat(T_world_camera[None], len(camera.fx_px), 0)), (note,)
