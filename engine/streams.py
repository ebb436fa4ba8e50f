# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard streams that libraries cannot spoil. They print from below Python, so file descriptors are what is moved."""

from __future__ import annotations

import _thread
import contextlib
import faulthandler
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

_LOG_END_BYTES = 20_000
_TIDYING_S = 10.0


def claim_stdout() -> BinaryIO:
    """Take stdout for ourselves, as bytes; whatever else is printed there goes to stderr from now on."""
    sys.stdout.flush()
    kept = os.fdopen(_binary(os.dup(1)), "wb")
    os.dup2(2, 1)
    return kept


def claim_stdin() -> BinaryIO:
    """Take stdin for ourselves, as bytes; whoever else reads it, for example a child process, finds it empty."""
    kept = os.fdopen(_binary(os.dup(0)), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return kept


def end_with_stdin() -> None:
    """From now on, end this process tidily when stdin ends: whoever started it has gone, or wants it to stop.

    A library that holds the main thread gets some seconds; then the process ends without it.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        if os.name == "nt":
            _thread.interrupt_main()
        else:  # a signal to the process also wakes a main thread that waits for a child
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_TIDYING_S)
        os._exit(143)  # 128 + SIGTERM, as shells have it

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def hushed_libraries() -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """Within the context, descriptors 1 and 2 write into a hidden log; yields our stdout, and what reads the log's end.

    `sys.stderr` stays what it was, for errors, tracebacks and crashes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    python_stderr, places = sys.stderr, (os.dup(1), os.dup(2))
    with (
        tempfile.TemporaryFile() as log,
        _text(places[0], sys.stdout) as stdout,
        _text(places[1], sys.stderr) as stderr,
    ):
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        sys.stderr = stderr
        faulthandler.enable(stderr)
        try:
            yield stdout, lambda: _end_of(log)
        finally:
            faulthandler.disable()
            sys.stdout.flush()
            stdout.flush()
            sys.stderr = python_stderr
            for descriptor, place in zip((1, 2), places, strict=True):
                os.dup2(place, descriptor)


def _text(descriptor: int, like: TextIO) -> TextIO:
    return open(descriptor, "w", encoding=like.encoding or "utf-8", errors="backslashreplace", buffering=1)


def _end_of(log: BinaryIO) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _LOG_END_BYTES))
    return log.read().decode("utf-8", "replace")


def _binary(descriptor: int) -> int:
    if sys.platform == "win32":  # or every 10 becomes 13 10 on its way out
        import msvcrt

        msvcrt.setmode(descriptor, os.O_BINARY)
    return descriptor
