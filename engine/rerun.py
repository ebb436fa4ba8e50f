# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything after the network once more, from a take: other motion, another lens, fewer people, other names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..wire.frames import FULL_FRAME_MM
from ..wire.messages import CameraHint, Progress, Recovery, RerunRequest
from ..wire.take import CameraTrack, PersonTrack, Take
from .errors import BadRequest
from .fit.key_fit import FOCAL_NOTE
from .pipeline import Clock, Shares, completed
from .replace_camera import seen_through

_SHARES: Shares = {"read": (0.0, 0.1), "motion": (0.1, 0.4), "verdict": (0.4, 0.9), "rig": (0.9, 1.0)}
EARLIER_NOTE = "The take came from a program that kept only finished motion, so that is what was worked on."


def rerun(request: RerunRequest, on_progress: Callable[[Progress], None] = lambda _: None) -> Recovery:
    """Answer the request. Raises errors.RecoverError; `on_progress` may raise Cancelled."""
    clock = Clock(request.request_id, on_progress, _SHARES)
    with clock.stage("read"):
        take, old = _with_what_was_seen(request.take)
        new = _camera(take.camera, old, request.camera)
        everybody = _named(take, request.names)
        people, notes = _chosen(everybody, take, request.people), take.seen_notes
        if not _same_lens(old, new):
            people = tuple(seen_through(person, old, new) for person in people)
            notes = tuple(note for note in notes if not note.startswith(FOCAL_NOTE))
        ready = replace(take, people=people, camera=new, notes=notes, seen=everybody)
    return completed(ready, request.motion or take.motion, request.want_rigs, clock)


def _with_what_was_seen(take: Take) -> tuple[Take, CameraTrack]:
    """The take itself, or for one that has only finished motion, a take that was seen so; and what saw it."""
    if take.seen and take.seen_camera is not None:
        return take, take.seen_camera
    camera = _in_own_frame(take.camera)
    people = tuple(replace(p, present=p.present & (p.score > 0), contacts=None) for p in take.people)
    return replace(take, seen=people, seen_camera=camera, seen_notes=(*take.notes, EARLIER_NOTE)), camera


def _in_own_frame(camera: CameraTrack) -> CameraTrack:
    """The camera before it was placed in the world."""
    if camera.is_placed:
        return camera
    return replace(camera, T_world_camera=np.tile(np.eye(4), (len(camera.fx_px), 1, 1)))


def _named(take: Take, names: dict) -> tuple[PersonTrack, ...]:
    """Everybody as they were seen, called as they are called now."""
    known = {str(person.id): person.name for person in (*take.seen, *take.people)}
    for one in names:
        if one not in known:
            raise _nobody(f"no person {one}", take)
    known |= names
    return tuple(replace(person, name=str(known[str(person.id)])) for person in take.seen)


def _chosen(everybody: tuple[PersonTrack, ...], take: Take, ids: tuple[int, ...] | None) -> tuple[PersonTrack, ...]:
    """Those who are wanted, in the order in which they were seen."""
    wanted = {person.id for person in take.people} if ids is None else set(ids)
    unknown = wanted - {person.id for person in everybody}
    if unknown or not wanted:
        raise _nobody(f"no person {min(unknown)}" if unknown else "nobody to keep", take)
    return tuple(person for person in everybody if person.id in wanted)


def _nobody(what: str, take: Take) -> BadRequest:
    people = ", ".join(f"{person.id} ({person.name})" for person in take.seen)
    return BadRequest(f"There is {what} in this take.", f"Its people are {people}.")


def _camera(now: CameraTrack, seen: CameraTrack, hint: CameraHint) -> CameraTrack:
    """The camera that saw the people, with the lens that is wanted: the hint's, or what the take has now."""
    lens = {name: getattr(now, name) for name in ("fx_px", "fy_px", "cx_px", "cy_px", "source", "fx_sigma")}
    fx_px = hint.fx_px
    if fx_px is None and hint.focal_mm is not None:
        fx_px = hint.focal_mm / (hint.sensor_mm or FULL_FRAME_MM) * max(now.width, now.height)
    if fx_px is not None:
        lens |= {"fx_px": np.full_like(now.fx_px, fx_px), "fy_px": now.fy_px / now.fx_px * fx_px}
        lens |= {"source": "given", "fx_sigma": 0.0}
    for name in ("cx_px", "cy_px"):
        if getattr(hint, name) is not None:
            lens[name] = np.full_like(lens[name], getattr(hint, name))
    return replace(seen, **lens)


def _same_lens(one: CameraTrack, other: CameraTrack) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("fx_px", "fy_px", "cx_px", "cy_px")
    )
