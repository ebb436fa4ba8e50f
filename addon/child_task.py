# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that works for a while and tells about it, one JSON object per line. No bpy.

    task = ChildTask(command)
    while not task.poll(): ...           # returns at once
    task.failure or task.answers

Threads only move lines, so that nobody who asks waits. The child is told to stop by the end of its stdin, which also
comes when this process ends, however it ends.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import os
import queue
import subprocess
import threading
import time
import weakref
from collections.abc import Sequence

from ..wire.errors import ExpectedFailure

_PATIENCE_S = 5.0  # between asking it to stop and ending it
_DROPPED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")


class TaskFailed(ExpectedFailure):
    """What the child told of its failure, or that it ended without a word."""

    remedy = "Try again; the doctor in the add-on's preferences tells more."

    def __init__(self, sentence: str, remedy: str | None = None, code: str = "task_failed") -> None:
        super().__init__(sentence, remedy)
        self._code = code

    @property
    def code(self) -> str:
        """Of the child's error."""
        return self._code


class ChildTask:
    """A running child, and all that it has said so far."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start it. One that cannot be started is done at once, with a failure."""
        self.fraction = 0.0
        self.text = ""
        """What it does now."""
        self.notes: list[str] = []
        self.answers: list[dict] = []
        """Everything that is neither progress nor a note nor a failure."""
        self.failure: TaskFailed | None = None
        self.is_done = False
        self.is_cancelled = False
        self._deadline = float("inf")
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_words: collections.deque[str] = collections.deque(maxlen=4)
        self._process: subprocess.Popen | None = None
        kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**kept, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **(environment or {})},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._fail(f"{command[0]} could not be started ({error.strerror or error}).")
            self.is_done = True
            return
        for work in (self._read, self._listen):
            threading.Thread(target=work, daemon=True).start()
        _running.add(self)

    @property
    def pid(self) -> int | None:
        """Its process number."""
        return self._process.pid if self._process else None

    def poll(self) -> bool:
        """Take what it said since the last call; returns whether it is done. Never waits."""
        while not self.is_done:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            if line is None:
                self._ended()
            elif line.strip():
                self._hear(line)
        if not self.is_done and time.monotonic() > self._deadline:
            self._process.kill()
            self._deadline = float("inf")
        return self.is_done

    def wait(self) -> None:
        """Wait until it is done. For scripts."""
        while not self.poll():
            time.sleep(0.02)

    def cancel(self) -> None:
        """Ask it to stop; it is ended where it does not within seconds."""
        if not self.is_done and not self.is_cancelled:
            self.is_cancelled, self.text = True, "Stopping"
            self._deadline = time.monotonic() + _PATIENCE_S
            self._close_stdin()

    def end(self) -> None:
        """End it now."""
        if self._process is not None and self._process.poll() is None:
            self._close_stdin()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(2.0)
        self.is_done = True

    def _hear(self, line: bytes) -> None:
        try:
            told = json.loads(line)
        except ValueError:
            self._last_words.append(line.decode(errors="replace").rstrip())
            return
        event = told.get("event") if isinstance(told, dict) else None
        if event == "progress":
            self.fraction = float(told["fraction"])
            if not self.is_cancelled:
                self.text = told.get("text") or told.get("stage") or ""
        elif event == "note":
            self.notes.append(told["text"])
        elif event == "failure":
            sentence = told.get("text") or told.get("message") or "It failed."
            self.failure = TaskFailed(sentence, told.get("remedy"), told.get("code", "task_failed"))
        else:
            self.answers.append(told)

    def _ended(self) -> None:
        self.is_done = True
        status = self._process.wait(5.0)
        self._close_stdin()
        if self.is_cancelled and self.failure is None:
            self._fail("It was cancelled.", "cancelled")
        elif status != 0 and self.failure is None and not self.answers:
            words = " ".join(self._last_words) or f"status {status}"
            self._fail(f"It ended without an answer: {words}")

    def _fail(self, sentence: str, code: str = "task_failed") -> None:
        self.failure = TaskFailed(sentence, code=code)

    def _close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _listen(self) -> None:
        for line in self._process.stderr:
            self._last_words.append(line.decode(errors="replace").rstrip())


_running: weakref.WeakSet[ChildTask] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for task in list(_running):
        task.end()
