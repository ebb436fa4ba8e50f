# SPDX-License-Identifier: GPL-3.0-or-later
"""`serve`: the engine as a child process that talks over stdin and stdout.

Two threads. The reader takes messages as they come, so that Cancel is heard while work goes on; the main thread works
on one request after the other. When stdin ends, the parent has gone, and the process ends at once.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, NoReturn

from .. import __version__
from ..wire import codec
from ..wire.messages import (
    REQUESTS,
    Cancel,
    Failure,
    FindPeopleRequest,
    Hello,
    PeopleFound,
    Progress,
    RecoverRequest,
    Recovery,
    RerunRequest,
    Shutdown,
)
from . import bodies, device, errors
from .backends import registry
from .streams import claim_stdin, claim_stdout

Request = RecoverRequest | RerunRequest | FindPeopleRequest
Work = Callable[[Request, Callable[[Progress], None]], Recovery | PeopleFound]


def serve() -> NoReturn:
    """Say Hello, answer requests until Shutdown or the end of stdin, then end the process."""
    Server(claim_stdin(), claim_stdout(), _work).run()


def _work(request: Request, on_progress: Callable[[Progress], None]) -> Recovery | PeopleFound:
    # Imported after Hello, so that Hello comes quickly.
    if isinstance(request, FindPeopleRequest):
        from .people_finder import find_people

        return find_people(request, on_progress)
    if isinstance(request, RerunRequest):
        from .rerun import rerun

        return rerun(request, on_progress)
    from .pipeline import recover

    return recover(request, on_progress)


class Server:
    """One conversation."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, work: Work) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._work = work
        self._speaking = threading.Lock()
        self._todo: queue.SimpleQueue[Request | Shutdown] = queue.SimpleQueue()
        self._cancelled: dict[str, threading.Event] = {}
        """Of the requests that are waiting or being worked on. Written by both threads, one operation at a time."""

    def run(self) -> NoReturn:
        self._say(Hello(__version__, device.describe(), registry.status(), os.getpid(), bodies.ready()))
        threading.Thread(target=self._listen, name="reader", daemon=True).start()
        while isinstance(request := self._todo.get(), REQUESTS):
            answer = self._answer(request)
            del self._cancelled[request.request_id]
            self._say(answer)
        # Not by returning: the reader still waits for stdin, and libraries' threads can keep Python from ending.
        self._leave(0)

    # ---- the reader's side ----

    def _listen(self) -> None:
        try:
            while (message := codec.read_message(self._incoming)) is not None:
                self._take(message)
        except OSError:
            pass  # the same as its end
        except Exception as error:  # WireError; MemoryError for a huge picture. A deaf engine would be worse than none
            self._give_up(f"The engine was sent something it cannot take ({type(error).__name__}: {error}).")
        # Nobody is left to hear answers. No tidy shutdown: the main thread may be deep in native code for seconds.
        # (Linux's PR_SET_PDEATHSIG would fire when the *thread* that started us ends, while Blender still runs.)
        self._leave(0)

    def _take(self, message: object) -> None:
        if isinstance(message, REQUESTS):
            if message.request_id in self._cancelled:
                self._give_up(f"The request {message.request_id!r} was sent twice.")
            self._cancelled[message.request_id] = threading.Event()
            self._todo.put(message)
        elif isinstance(message, Cancel):
            event = self._cancelled.get(message.request_id)
            if event is not None:  # else it has been answered already
                event.set()
        elif isinstance(message, Shutdown):
            self._todo.put(message)
        else:
            self._give_up(f"The engine was sent a {type(message).__name__}, which only it may send.")

    def _give_up(self, sentence: str) -> NoReturn:
        self._say(_failure("", errors.BrokenConversation(sentence)))
        self._leave(1)

    def _leave(self, status: int) -> NoReturn:
        self._speaking.acquire(timeout=0.5)  # let a message that is being written become whole
        sys.stderr.flush()
        os._exit(status)

    # ---- the worker's side ----

    def _answer(self, request: Request) -> Recovery | PeopleFound | Failure:
        """Exactly one answer, whatever happens."""
        cancelled = self._cancelled[request.request_id]
        source = request.take.source if isinstance(request, RerunRequest) else request.source

        def on_progress(progress: Progress) -> None:
            if cancelled.is_set():
                raise errors.Cancelled(f"{source} was cancelled.")
            self._say(progress)

        try:
            answer = self._work(request, on_progress)
            on_progress(Progress(request.request_id, "rig", 1.0))  # the last chance for a Cancel
            return answer
        except Exception as error:
            failure = errors.as_expected(error, source)
            if isinstance(failure, errors.InternalError):
                traceback.print_exc()
            return _failure(request.request_id, failure)

    def _say(self, message: object) -> None:
        with self._speaking:
            try:
                codec.write_message(self._outgoing, message)
            except OSError:  # the other end has gone
                os._exit(0)


def _failure(request_id: str, error: errors.RecoverError) -> Failure:
    return Failure(request_id, error.code, error.sentence, error.remedy, error.exit_code)
