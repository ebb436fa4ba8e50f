# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine was asked and has not finished yet, one after the other; answers are delivered on the main thread.

With a window, an app timer calls `step` ten times a second; nothing ever waits, and no modal operator is needed that a
newly opened file would end. In the background timers do not run, so `wait` calls `step` itself. Jobs hold no Blender
data, which undo and newly opened files would pull away from under them.
"""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import bpy

from ..wire.messages import Failure, Hello, Progress
from . import compat, editors, preferences
from .client import Answer, EngineClient, Request
from .engine_command import engine_command
from .errors import AddonError
from .pacing import Pace

_TICK_S = 0.1
SILENT_S = 45.0
"""After so long without a word from the engine, the panel says so."""

Deliver = Callable[["Job", Answer], None]


@dataclass(eq=False)
class Job:
    """One request, from the press of the button until its answer is in the scene."""

    title: str
    """What the list calls it."""
    request: Request
    deliver: Deliver
    """Called with the answer when it may change the scene. What it raises becomes the failure."""
    attached: str | None = None
    """File that travels with the request."""
    progress: Progress | None = None
    """The last that was heard."""
    heard_at: float = field(default_factory=time.monotonic)
    """When that was."""
    answer: Answer | None = None
    """Not delivered yet while the artist is in the middle of something."""
    failure: Failure | None = None
    """Why there is no result, once that is sure."""
    is_delivered: bool = False
    notes: list[str] = field(default_factory=list)
    """Sentences worth a warning."""

    @property
    def id(self) -> str:
        """Of this job and its request."""
        return self.request.request_id

    @property
    def is_done(self) -> bool:
        return self.failure is not None or self.is_delivered


_client: EngineClient | None = None
_queue: list[Job] = []
_last: Job | None = None
_pace, _is_stale = Pace(_TICK_S), False


def queued() -> tuple[Job, ...]:
    """All jobs that are not done, in the engine's order."""
    return tuple(_queue)


def last_done() -> Job | None:
    """The job that was finished last, well or not, until another is started."""
    return _last


def is_engine_silent() -> bool:
    """Whether the engine has said nothing for long of what it works on."""
    return bool(_queue) and _queue[0].answer is None and time.monotonic() - _queue[0].heard_at > SILENT_S


def is_running() -> bool:
    """Whether a job is under way."""
    return bool(_queue)


def engine_hello() -> Hello | None:
    """What the running engine said of itself."""
    return _client.hello if _client else None


def new_id() -> str:
    """For a request."""
    return uuid.uuid4().hex


def start(title: str, request: Request, deliver: Deliver, attached: str | None = None) -> Job:
    """Ask the engine; returns at once. Raises AddonError where there is no engine to ask."""
    global _last
    client = _connect()
    job = Job(title, request, deliver, attached)
    _queue.append(job)
    _last = None
    client.submit(request, attached)
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_TICK_S, persistent=True)
    return job


def again(job: Job) -> Job:
    """Ask the same once more."""
    return start(job.title, replace(job.request, request_id=new_id()), job.deliver, job.attached)


def step() -> bool:
    """Take what the engine said since the last call; deliver if it is time. Returns whether there is more to do."""
    for message in _client.poll() if _client else ():
        job = next((job for job in _queue if job.id == getattr(message, "request_id", None)), None)
        if job is None:
            continue  # cancelled or forgotten in the meantime
        job.heard_at = time.monotonic()
        if isinstance(message, Progress):
            job.progress = message
        elif isinstance(message, Failure):
            job.failure = message
        else:
            job.answer = message
    for job in list(_queue):
        waited_s = time.monotonic() - job.heard_at
        if job.answer is not None and not job.is_done and not compat.is_artist_busy(waited_s):
            _deliver(job)
        if job.is_done:
            _leave(job)
    return bool(_queue) or (_client is not None and _client.is_busy)


def wait(job: Job) -> None:
    """Wait until `job` is done. For scripts."""
    while not job.is_done:
        step()
        time.sleep(0.02)


def cancel(job: Job | None = None) -> None:
    """Stop a job, or all. It is done at once; the engine follows, or is replaced if it does not within seconds."""
    for each in [job] if job is not None else list(_queue):
        if not each.is_done:
            each.failure = Failure(each.id, "cancelled", "It was cancelled.", "Start again when you like.")
            _client.cancel(each.id)
            _leave(each)


def dismiss() -> None:
    """Forget the job that was finished last."""
    global _last
    _last = None


def stop() -> None:
    """End the engine and the timer, and forget all jobs."""
    global _client
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _client is not None:
        _client.close()
    _client = None
    _queue.clear()
    dismiss()


@bpy.app.handlers.persistent
def before_loading(*_) -> None:
    """Another file is opened: what is under way belongs to the old one."""
    cancel()
    dismiss()


def _connect() -> EngineClient:
    """The client, with the command that the preferences say now; a change waits for an idle engine."""
    global _client
    command = engine_command(preferences.told_engine())
    if _client is not None and _client.command != command and not _client.is_busy:
        _client.close()
        _client = None
    _client = _client or EngineClient(command)
    return _client


def _deliver(job: Job) -> None:
    """Whatever goes wrong, the panel must not wait for ever."""
    try:
        job.deliver(job, job.answer)
    except AddonError as error:
        job.failure = Failure(job.id, error.code, error.sentence, error.remedy, error.exit_code)
    except Exception as error:
        traceback.print_exc()
        job.failure = Failure(job.id, "internal_error", f"Drawing failed ({error}).", AddonError.remedy)
    else:
        job.is_delivered = True
        if _client is not None and _client.version_note:
            job.notes.append(_client.version_note)
    job.answer = None  # megabytes that nobody needs any more


def _leave(job: Job) -> None:
    global _last
    if job in _queue:
        _queue.remove(job)
        _last = job
        if _queue:
            _queue[0].heard_at = time.monotonic()  # its turn begins


def _tick() -> float | None:
    """Progress is drawn as often as redraws are quick; what begins or ends, at once."""
    global _is_stale
    _pace.step(time.monotonic())
    before = [(job.id, job.progress) for job in _queue]
    more = step()
    after = [(job.id, job.progress) for job in _queue]
    _is_stale = _is_stale or before != after or is_engine_silent()
    has_news = [name for name, _ in before] != [name for name, _ in after]
    if has_news or (_is_stale and _pace.allows(time.monotonic())):
        editors.redraw_sidebars()
        _pace.asked(time.monotonic())
        _is_stale = False
    return _TICK_S if more else None
