# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything after the network: from people as a backend saw them to a take that can be drawn.

`pipeline` and `rerun` share it, so that doing it again with the same options gives the same take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..wire.motion import MotionOptions
from ..wire.take import Take
from . import verdict
from .motion.refine import refine
from .tracks import body_track, judged_person, moved_person


def with_motion(seen: Take, motion: MotionOptions) -> Take:
    """Do to the motion what `motion` says, and place the camera in the world.

    The people of `seen` are as their backend saw them, through its camera; they and that camera become `Take.seen` and
    `Take.seen_camera`, unless those are kept already.
    """
    times_s = (seen.frame_numbers - 1) / seen.fps
    tracks = [body_track(person, seen.camera) for person in seen.people]
    refined = refine(tracks, [person.body for person in seen.people], times_s, seen.camera, motion)
    moved = zip(seen.people, refined.tracks, refined.contacts, strict=True)
    return replace(
        seen,
        people=tuple(moved_person(person, track, contacts) for person, track, contacts in moved),
        camera=refined.camera,
        motion=motion,
        notes=(*seen.notes, *refined.notes),
        seen=seen.seen or seen.people,
        seen_camera=seen.seen_camera or seen.camera,
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
