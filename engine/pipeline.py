# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path: from a request to a recovery."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np

from .. import __version__
from ..wire.messages import Progress, RecoverRequest, Recovery
from ..wire.take import CameraTrack, PersonTrack, Take
from . import chosen, rigging, verdict, world
from .backends import registry
from .backends.base import Bodies, BodyTrack
from .cameras import initial_camera
from .errors import NobodyFound
from .footage import open_footage
from .motion.refine import refine

# How the whole request's time is shared out, for the progress bar: stage -> (start, end).
_SHARE = {
    "read": (0.0, 0.05),
    "recover": (0.05, 0.85),
    "motion": (0.85, 0.87),
    "verdict": (0.87, 0.95),
    "rig": (0.95, 1.0),
}


def recover(request: RecoverRequest, on_progress: Callable[[Progress], None] = lambda _: None) -> Recovery:
    """Recover everybody in the request's picture. Raises errors.RecoverError; `on_progress` may raise Cancelled."""
    clock = _Clock(request.request_id, on_progress)

    with clock.stage("read"):
        footage = open_footage(request.source, request.data, request.frames)
        backend = registry.choose(request.backend)
    with clock.stage("recover"):
        camera = initial_camera(footage.width, footage.height, request.camera, footage.exif_focal_36mm)
        bodies = backend.recover(footage, camera, request, clock.report)
        if not bodies.people:
            raise NobodyFound(f"Nobody was found in {footage.name}.")
    with clock.stage("motion"):
        times_s = footage.frame_numbers / footage.fps
        tracks = tuple(refine(t, times_s, request.smoothing_s, bodies.camera, request.body) for t in bodies.people)
        T_world_camera, world_note = world.place(tracks, request.body)
    with clock.stage("verdict"):
        people, called = [], chosen.names(tracks, footage.frame_numbers, request)
        for number, track in enumerate(tracks):
            clock.report("verdict", number / len(tracks), "")
            judged = verdict.judge(track, bodies.camera, request.body)
            people.append(_person(number, called[number], track, judged, request.body))
    with clock.stage("rig"):
        rigs = tuple(rigging.plan_rig(person) for person in people) if request.want_rigs else ()
    take = Take(
        source=request.source,
        fps=footage.fps,
        frame_numbers=footage.frame_numbers,
        camera=_camera_track(bodies, T_world_camera),
        people=tuple(people),
        backend=backend.name,
        device=bodies.device,
        seconds=clock.seconds,
        versions={"recover-body": __version__, "python": platform.python_version(), "numpy": np.__version__}
        | bodies.versions,
        notes=(
            *bodies.notes,
            *((world_note,) if world_note else ()),
            *chosen.missing_note(tracks, footage.frame_numbers, request),
        ),
    )
    return Recovery(request.request_id, take, rigs)


def _person(number: int, name: str, track: BodyTrack, judged: verdict.Verdict, body: str) -> PersonTrack:
    return PersonTrack(
        id=number,
        name=name,
        present=track.present,
        boxes_px=track.boxes_px,
        score=track.score,
        pose=track.pose,
        betas=track.betas,
        expression=track.expression,
        translation=track.translation,
        keypoint_names=track.keypoint_names,
        keypoints_px=track.keypoints_px,
        joint_confidence=track.joint_confidence,
        joint_inferred=track.joint_inferred,
        overlay_iou=judged.overlay_iou,
        reprojection_px=judged.reprojection_px,
        reprojection_percent=judged.reprojection_percent,
        body=body,
        notes=track.notes,
    )


def _camera_track(bodies: Bodies, T_world_camera: np.ndarray) -> CameraTrack:
    camera = bodies.camera
    one = lambda value: np.array([value], np.float64)  # noqa: E731 - four times the same small thing
    return CameraTrack(
        fx_px=one(camera.fx_px),
        fy_px=one(camera.fy_px),
        cx_px=one(camera.cx_px),
        cy_px=one(camera.cy_px),
        width=camera.width,
        height=camera.height,
        T_world_camera=T_world_camera[None],
        source=camera.source,
        fx_sigma=camera.fx_sigma,
    )


class _Clock:
    """Times the stages and tells the client where the request stands."""

    def __init__(self, request_id: str, on_progress: Callable[[Progress], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._request_id = request_id
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self._stage = "read"

    @contextmanager
    def stage(self, name: str):
        self._stage = name
        self.report(name, 0.0, "")
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 4)

    def report(self, step: str, fraction: float, detail: str) -> None:
        """Say that `fraction` (0 to 1) of the present stage is done."""
        start, end = _SHARE[self._stage]
        whole = start + (end - start) * min(max(fraction, 0.0), 1.0)
        elapsed = time.perf_counter() - self._started
        eta_s = elapsed / whole - elapsed if whole > 0.1 else None
        self._on_progress(Progress(self._request_id, step, whole, eta_s, detail))
