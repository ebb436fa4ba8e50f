# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path: from a request to a recovery."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import __version__
from ..wire.messages import MotionOptions, Progress, RecoverRequest, Recovery
from ..wire.take import Take
from . import camera_depth, chosen, finish, given_camera, rigging
from .backends import automatic
from .bodies import licence_note, open_body
from .cameras import Pinhole, initial_camera
from .errors import NobodyFound
from .footage import open_footage
from .tracks import camera_track, seen_person

Shares = Mapping[str, tuple[float, float]]
"""How a whole request's time is shared out, for the progress bar: stage -> (start, end), 0 to 1."""

_SHARES: Shares = {
    "read": (0.0, 0.05),
    "recover": (0.05, 0.85),
    "motion": (0.85, 0.88),
    "verdict": (0.88, 0.95),
    "rig": (0.95, 1.0),
}

_JUMP = 0.1
"""Who gets this much farther within moments did not do the work now."""


def recover(
    request: RecoverRequest, on_progress: Callable[[Progress], None] = lambda _: None, keep_in: Path | None = None
) -> Recovery:
    """Recover everybody in the request's picture. Raises errors.RecoverError; `on_progress` may raise Cancelled.

    A clip's unfinished work is kept in the folder `keep_in`, and taken up again from there.
    """
    clock = Clock(request.request_id, on_progress, _SHARES)

    with clock.stage("read"):
        own_body = open_body(request.body)
        footage = replace(open_footage(request.source, request.data, request.frames), keep_in=keep_in)
        camera: Pinhole
        if request.given_camera:
            camera = given_camera.filmed(request.given_camera, footage)
        else:
            camera = initial_camera(footage.width, footage.height, request.camera, footage.exif_focal_36mm)
        backend, why = automatic.choose(request.backend, footage, camera)
        camera_depth.check(request, is_clip=len(footage.images) > 1)
    with clock.stage("recover"):
        bodies = backend.recover(footage, camera, request, clock.report)
        if not bodies.people:
            raise NobodyFound(f"Nobody was found in {footage.name}.")
    called = chosen.names(bodies.people, footage.frame_numbers, request)
    seen = Take(
        source=request.source,
        fps=footage.fps,
        frame_numbers=footage.frame_numbers,
        camera=camera_track(bodies.camera),
        people=tuple(seen_person(n, called[n], track, request.body) for n, track in enumerate(bodies.people)),
        drift_px=bodies.drift_px,
        backend=backend.name,
        device=bodies.device,
        versions={"recover-body": __version__, "python": platform.python_version(), "numpy": np.__version__}
        | bodies.versions,
        notes=(
            *why,
            *bodies.notes,
            *licence_note(own_body),
            *chosen.missing_note(bodies.people, footage.frame_numbers, request),
        ),
    )
    return replace(completed(seen, request.motion, request.want_rigs, clock), upright=footage.upright)


def completed(seen: Take, motion: MotionOptions, want_rigs: bool, clock: Clock) -> Recovery:
    """The answer, from people as their backend saw them; see `finish`."""
    with clock.stage("motion"):
        take = finish.with_motion(seen, motion)
    with clock.stage("verdict"):
        take = finish.judged(take, clock.report)
    with clock.stage("rig"):
        rigs = tuple(rigging.plan_rig(person) for person in take.people) if want_rigs else ()
    return Recovery(clock.request_id, replace(take, seconds={**take.seconds, **clock.seconds}), rigs)


class Clock:
    """Times the stages and tells the client where the request stands."""

    def __init__(self, request_id: str, on_progress: Callable[[Progress], None], shares: Shares) -> None:
        self.seconds: dict[str, float] = {}
        self.request_id = request_id
        self._on_progress = on_progress
        self._shares = shares
        self._since = (time.perf_counter(), 0.0)
        """When and where the fraction began to grow steadily: not at 0 where a run goes on with earlier work."""
        self._last = self._since
        self._stage = next(iter(shares))

    @contextmanager
    def stage(self, name: str):
        self._stage = name
        self.report(name, 0.0)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 4)

    def report(self, step: str, fraction: float, detail: str = "") -> None:
        """Say that `fraction` (0 to 1) of the present stage is done."""
        start, end = self._shares[self._stage]
        whole = start + (end - start) * min(max(fraction, 0.0), 1.0)
        now = time.perf_counter()
        if whole - self._last[1] > _JUMP and now - self._last[0] < 2:
            self._since = (now, whole)
        self._last = (now, whole)
        elapsed, done = now - self._since[0], whole - self._since[1]
        eta_s = (1 - whole) / done * elapsed if done > _JUMP else None
        self._on_progress(Progress(self.request_id, step, whole, eta_s, detail))
