# SPDX-License-Identifier: GPL-3.0-or-later
"""Recoveries under way: asks the engine, and draws what it answers, on Blender's main thread.

With a window, an app timer calls `step` ten times a second; nothing ever waits, and no modal operator is needed that a
newly opened file would end. In the background timers do not run, so `wait` calls `step` itself.
"""

from __future__ import annotations

import time
import traceback
import uuid
from dataclasses import dataclass, field

import bpy

from ..wire.messages import Failure, Hello, Progress, RecoverRequest, Recovery
from . import compat, preferences
from .client import EngineClient
from .engine_command import engine_command
from .errors import AddonError
from .scene import Drawing, draw_recovery
from .sources import Picture, image_behind, with_bytes

_TICK_S = 0.1


class Busy(AddonError):
    """A recovery is under way already."""

    remedy = "Wait for it, or cancel it in the panel."


@dataclass
class Job:
    """One press of the button."""

    picture: Picture
    request: RecoverRequest
    scene_name: str
    progress: Progress | None = None
    """The last that was heard."""
    failure: Failure | None = None
    """Why there is no character, once that is sure."""
    recovery: Recovery | None = None
    """What the engine answered; not drawn yet while the artist is in the middle of something."""
    drawing: Drawing | None = None
    """What was drawn. Its objects may be deleted by the artist: do not keep it for long."""
    notes: list[str] = field(default_factory=list)
    """Sentences worth a warning."""

    @property
    def is_done(self) -> bool:
        return self.failure is not None or self.drawing is not None


_client: EngineClient | None = None
_job: Job | None = None


def current() -> Job | None:
    """The job under way, or the last one."""
    return _job


def is_running() -> bool:
    """Whether a job is under way."""
    return _job is not None and not _job.is_done


def engine_hello() -> Hello | None:
    """What the running engine said of itself."""
    return _client.hello if _client else None


def start(picture: Picture, scene: bpy.types.Scene, **fields) -> Job:
    """Ask the engine for a recovery; `fields` are those of a RecoverRequest. Returns at once. Raises AddonError."""
    global _job
    if is_running():
        raise Busy("A recovery is under way already.")
    client = _connect()
    sent = with_bytes(picture) if preferences.sends_pictures() else picture
    request = RecoverRequest(uuid.uuid4().hex, sent.source, sent.data, **fields)
    _job = Job(picture, request, scene.name)
    client.submit(request)
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_TICK_S, persistent=True)
    return _job


def step() -> bool:
    """Take what the engine said since the last call; draw if it is time. Returns whether a job is under way."""
    for message in _client.poll() if _client else ():
        if _job is None or getattr(message, "request_id", None) != _job.request.request_id:
            continue
        if isinstance(message, Progress):
            _job.progress = message
        elif isinstance(message, Failure):
            _job.failure = message
        elif isinstance(message, Recovery):
            _job.recovery = message
    if is_running() and _job.recovery is not None and not compat.is_artist_busy():
        _draw(_job)
    return is_running()


def wait(job: Job) -> None:
    """Wait until `job` is done. For scripts."""
    while step():
        time.sleep(0.02)


def cancel() -> None:
    """Stop the job under way; it is done within seconds, with a failure called cancelled."""
    if is_running():
        if _job.recovery is None:
            _client.cancel(_job.request.request_id)
        else:
            _job.failure = Failure(_job.request.request_id, "cancelled", "It was cancelled.", "")


def stop() -> None:
    """End the engine and the timer, and forget the job."""
    global _client, _job
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _client is not None:
        _client.close()
    _client = _job = None


@bpy.app.handlers.persistent
def before_loading(*_) -> None:
    """Another file is opened: what is under way belongs to the old one."""
    global _job
    cancel()
    _job = None


def _connect() -> EngineClient:
    """The client, with the command that the preferences say now."""
    global _client
    command = engine_command(preferences.told_engine())
    if _client is not None and _client.command != command:
        _client.close()
        _client = None
    _client = _client or EngineClient(command)
    return _client


def _draw(job: Job) -> None:
    """Draw the recovery as one undo step."""
    camera = job.recovery.take.camera
    scene = bpy.data.scenes.get(job.scene_name) or bpy.context.scene
    try:
        image = image_behind(job.picture, camera.width, camera.height)
        if image is None:
            job.notes.append("Blender cannot show this picture, so the camera has no background.")
        job.drawing = draw_recovery(job.recovery, image, scene)
    except AddonError as error:
        job.failure = Failure(job.request.request_id, "draw_error", error.sentence, error.remedy)
        return
    except Exception as error:  # whatever it is, the panel must not wait for ever
        traceback.print_exc()
        job.failure = Failure(job.request.request_id, "internal_error", f"Drawing failed ({error}).", AddonError.remedy)
        return
    if _client.version_note:
        job.notes.append(_client.version_note)
    job.recovery = None  # megabytes that nobody needs any more
    compat.push_undo("Recover Body")


def _tick() -> float | None:
    running = step()
    if not running and _job is not None and _job.drawing is not None:
        _show(_job.drawing)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "IMAGE_EDITOR"):
                area.tag_redraw()
    return _TICK_S if running else None


def _show(drawing: Drawing) -> None:
    """Look through the recovered camera, so that the character is seen on its picture at once."""
    for window in bpy.context.window_manager.windows:
        if drawing.camera.name in window.scene.objects:
            look_through_camera(window.screen)


def look_through_camera(screen: bpy.types.Screen) -> None:
    """Let every 3D view of `screen` look through the scene's camera."""
    for area in screen.areas:
        if area.type == "VIEW_3D":
            area.spaces.active.region_3d.view_perspective = "CAMERA"
