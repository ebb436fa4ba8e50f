# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to the engine, a child process. No bpy: scripts and tests use it as it is.

    with EngineClient(command) as client:
        client.submit(request)
        answer = client.wait(request.request_id)      # scripts wait
        for message in client.poll(): ...             # people's interfaces poll: it returns at once

Threads move messages between pipes and queues, so that nothing here can block. Everything else happens in the caller's
thread, inside `poll`. Whatever goes wrong with the engine arrives as a `Failure` with a remedy, never as an
exception.
"""

from __future__ import annotations

import atexit
import collections
import math
import queue
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..wire import codec
from ..wire.messages import (
    ANSWERS,
    Cancel,
    Failure,
    FindPeopleRequest,
    Hello,
    PeopleFound,
    Progress,
    RecoverRequest,
    Recovery,
    RerunRequest,
)
from .engine_process import EngineProcess

Request = RecoverRequest | FindPeopleRequest | RerunRequest
Answer = Recovery | PeopleFound | Failure

_POLL_S = 0.02
_LAST_WORDS_S = 2.0
"""How long a child that closed its pipe may take to say why."""
_REMEDY_DOCTOR = "`recover-body doctor` in its environment tells what is missing."
_REMEDY_CANCELLED = "Start again when you like; nothing was changed."
_REMEDY_COMMAND = "Check the engine's command, in the add-on's preferences or after --engine."


class EngineClient:
    """Owns the engine: starts it when something is to be done, tells what it says, and ends it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        hello_timeout_s: float = 60.0,
        cancel_timeout_s: float = 4.0,
    ) -> None:
        """`command` starts the engine; `environment` is added to the process's own.

        An engine that has not said Hello after `hello_timeout_s`, or has not answered a Cancel after
        `cancel_timeout_s`, is ended; the next request starts a new one.
        """
        self.command = tuple(command)
        self.hello: Hello | None = None
        """What the running engine said first; None before that."""
        self._environment = environment or {}
        self._hello_timeout_s = hello_timeout_s
        self._cancel_timeout_s = cancel_timeout_s
        self._child: EngineProcess | None = None
        self._closed_at = math.inf
        """When the child closed its pipe."""
        self._pending: dict[str, _Pending] = {}
        """Requests without an answer yet, in the order in which they were sent."""
        self._inbox: collections.deque[Any] = collections.deque()
        _open_clients.add(self)

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what callers do ----

    @property
    def is_running(self) -> bool:
        """Whether an engine process lives."""
        return self._child is not None

    @property
    def is_busy(self) -> bool:
        """Whether something was asked that has no answer yet."""
        return bool(self._pending)

    @property
    def pid(self) -> int | None:
        """Process number of the engine on this machine, or None."""
        return self._child.process.pid if self._child else None

    @property
    def version_note(self) -> str:
        """A sentence when the engine is of another version than this add-on (and understood all the same), or ""."""
        if self.hello is None or self.hello.package_version == __version__:
            return ""
        return f"The engine is version {self.hello.package_version}, the add-on {__version__}: update the older one."

    def start(self) -> None:
        """Start the engine, if none is running. A command that cannot be started shows in the next `poll`."""
        if self._child is None:
            self.hello, self._closed_at = None, math.inf
            try:
                self._child = EngineProcess(self.command, self._environment, time.monotonic() + self._hello_timeout_s)
            except OSError as error:
                sentence = f"The engine could not be started: {' '.join(self.command)} ({error.strerror or error})."
                self._fail_all("engine_not_found", sentence, _REMEDY_COMMAND, exit_code=3)

    def submit(self, request: Request, attached: str | Path | None = None) -> str:
        """Send a request, starting the engine if need be; returns its id at once.

        The file `attached` is sent as the request's data, for an engine that cannot read it.
        """
        self._send(request.request_id, _Pending(request, attached))
        return request.request_id

    def _send(self, request_id: str, pending: _Pending) -> None:
        self._pending[request_id] = pending
        self.start()
        if self._child is None:
            return
        child, request = self._child, pending.request
        if pending.attached is None:
            child.send(request)
        else:
            child.send(lambda: _with_file(request, pending.attached, child))

    def poll(self) -> list[Any]:
        """Everything that arrived since the last call: Hello, Progress, Recovery and Failure. Returns at once."""
        self._receive()
        self._enforce_deadlines()
        messages = list(self._inbox)
        self._inbox.clear()
        return messages

    def wait(
        self,
        request_id: str,
        timeout_s: float | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Answer:
        """Wait for one request's answer; other requests' messages stay for `poll`. A timeout cancels the request."""
        deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        others, answer = [], None
        try:
            while True:
                for message in self.poll():
                    if getattr(message, "request_id", None) != request_id:
                        others.append(message)
                    elif isinstance(message, Progress):
                        on_progress(message)
                    else:
                        answer = message
                if answer is not None:
                    return answer
                if request_id not in self._pending:
                    raise KeyError(f"no request {request_id!r} is under way")
                if time.monotonic() > deadline:
                    deadline = float("inf")
                    self.cancel(request_id)
                time.sleep(_POLL_S)
        finally:
            self._inbox.extendleft(reversed(others))

    def cancel(self, request_id: str) -> None:
        """Ask to stop; a Failure with code `cancelled` follows, at the latest after the time given at construction."""
        pending = self._pending.get(request_id)
        if pending is None or pending.is_cancelled or self._child is None:
            return  # answered or cancelled already
        self._child.send(Cancel(request_id))
        if request_id == next(iter(self._pending)):
            pending.deadline = time.monotonic() + self._cancel_timeout_s
        else:  # the engine, busy with an earlier one, will not look at it for a while
            self._answer(request_id, "cancelled", "It was cancelled before its turn.", _REMEDY_CANCELLED)

    def close(self) -> None:
        """End the engine; requests under way are dropped without an answer. May be called twice."""
        self._pending.clear()
        self._inbox.clear()
        self.hello = None
        child, self._child = self._child, None
        if child is not None:
            child.end()

    # ---- what poll does ----

    def _receive(self) -> None:
        child = self._child
        while child is not None and self._child is child:
            try:
                message = child.received.get_nowait()
            except queue.Empty:
                return
            if message is None:
                self._closed_at = time.monotonic()
                return
            is_error = isinstance(message, codec.WireError)
            if isinstance(message, codec.ProtocolMismatch) or (is_error and self.version_note):
                self._give_up(
                    "version_mismatch",
                    f"Engine and add-on are of versions that do not understand each other: {message}.",
                    self.version_note or "Update the engine and the add-on to the same version.",
                    exit_code=3,
                )
            elif is_error:
                remedy = f"{_REMEDY_COMMAND} It must start `recover-body serve` and print nothing else."
                self._give_up("engine_garbled", f"What the engine said cannot be understood ({message}).", remedy)
            else:
                self._deliver(message)

    def _deliver(self, message: Any) -> None:
        if isinstance(message, Hello):
            self.hello = message
        elif isinstance(message, Failure) and not message.request_id:
            self._fail_all(message.code, message.sentence, message.remedy, message.exit_code)
            return
        elif isinstance(message, ANSWERS) and self._pending.pop(message.request_id, None) is None:
            return  # it was given up already
        self._inbox.append(message)

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        if self._child is not None and now >= self._closed_at:
            if self._child.has_ended or now > self._closed_at + _LAST_WORDS_S:
                self._engine_ended()
            return
        if self._child is not None and self.hello is None and now > self._child.hello_deadline:
            sentence = f"The engine said nothing for {self._hello_timeout_s:.0f} seconds after its start."
            self._give_up("engine_silent", sentence, f"{_REMEDY_COMMAND} {_REMEDY_DOCTOR}")
        stuck = next((name for name, pending in self._pending.items() if now > pending.deadline), None)
        if stuck is not None:
            self._answer(stuck, "cancelled", "The engine did not stop when asked, so it was ended.", _REMEDY_CANCELLED)
            waiting = dict(self._pending)
            self._pending.clear()
            self._end_child()
            for request_id, pending in waiting.items():  # they are not to blame: another engine takes them
                self._send(request_id, pending)

    def _engine_ended(self) -> None:
        """The child closed its end of the pipe: it died, or was never an engine."""
        status = self._child.process.poll()
        words = self._child.last_words()
        if self.hello is None:
            sentence, remedy = f"The engine ended while starting (status {status}).", _REMEDY_COMMAND
        else:
            sentence = f"The engine ended in the middle of the work (status {status})."
            remedy = "Try again: a new engine will be started. If it ends again, use a smaller picture."
        self._give_up("engine_ended", sentence, f"{remedy} {_REMEDY_DOCTOR}", words=words)

    def _give_up(self, code: str, sentence: str, remedy: str, exit_code: int = 1, words: str | None = None) -> None:
        """End the engine and answer everything that waited for it."""
        words = self._child.last_words() if words is None else words
        self._end_child()
        self._fail_all(code, sentence, f"{remedy} Its last words:\n{words}" if words else remedy, exit_code)

    def _end_child(self) -> None:
        child, self._child = self._child, None
        child.drop()
        self.hello, self._closed_at = None, math.inf

    def _fail_all(self, code: str, sentence: str, remedy: str, exit_code: int = 1) -> None:
        for request_id in list(self._pending):
            self._answer(request_id, code, sentence, remedy, exit_code)

    def _answer(self, request_id: str, code: str, sentence: str, remedy: str, exit_code: int = 1) -> None:
        """Say on the engine's behalf that it will not answer."""
        del self._pending[request_id]
        self._inbox.append(Failure(request_id, code, sentence, remedy, exit_code))


@dataclass
class _Pending:
    """A request without an answer yet."""

    request: Request
    attached: str | Path | None = None
    """File whose bytes travel with it."""
    deadline: float = math.inf
    """When its patience ends; infinite unless it was cancelled."""

    @property
    def is_cancelled(self) -> bool:
        return self.deadline < math.inf


def _with_file(request: Request, path: str | Path, child: EngineProcess) -> Request | Cancel:
    """The request with the file's bytes; runs in the thread that writes."""
    try:
        return replace(request, data=Path(path).read_bytes())
    except OSError as error:
        sentence = f"{path} cannot be read ({error.strerror or error})."
        child.received.put(Failure(request.request_id, "unreadable_image", sentence, "Check the file.", 2))
        return Cancel(request.request_id)  # of a request that it never got: it does nothing


_open_clients: weakref.WeakSet[EngineClient] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """An engine must not outlive the process that started it (a killed process closes the pipe, which also ends it)."""
    for client in list(_open_clients):
        client.close()
