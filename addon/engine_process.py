# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's process and the three threads that move its bytes and make messages of them. No bpy."""

from __future__ import annotations

import collections
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..wire import codec
from ..wire.messages import Shutdown

_READ_BYTES = 1 << 20
_LAST_WORDS = 8  # lines


class EngineProcess:
    """A running child. Threads move messages between pipes and queues, so that nobody who asks it anything waits."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], hello_deadline: float) -> None:
        self.hello_deadline = hello_deadline
        self.received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """Messages from its stdout; a WireError where it makes no sense and nothing more is read; None at the end."""
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._words: collections.deque[str] = collections.deque(maxlen=_LAST_WORDS)
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(environment),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write, self._listen)]
        for thread in self._threads:
            thread.start()

    def send(self, message: Any | Callable[[], Any]) -> None:
        """Put a message, or what makes one, on its way: a picture can be larger than the pipe holds, a file slow."""
        self._outbox.put(message)

    @property
    def has_ended(self) -> bool:
        """Whether it is over and its last words have arrived. Returns at once."""
        return self.process.poll() is not None and not self._threads[2].is_alive()

    def wait(self, timeout_s: float = 2.0) -> int | None:
        """Exit status, or None if it still lives after the timeout. Its last words have arrived then."""
        try:
            status = self.process.wait(timeout_s)
            self._threads[2].join(timeout_s)
            return status
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """The last lines of its stderr."""
        return "\n".join(self._words)

    def end(self) -> None:
        """Ask it to end, and see to it."""
        if self.process.poll() is None:
            self.send(Shutdown())
            self.send(None)
            if self.wait(1.0) is None:
                self.process.terminate()
                self.wait(1.0)
        self.kill()

    def drop(self) -> None:
        """End it now, and do not wait for that."""
        self.process.kill()
        self.send(None)
        threading.Thread(target=self.process.wait, daemon=True).start()

    def kill(self) -> None:
        """End it now, and see to it."""
        if self.process.poll() is None:
            self.process.kill()
            self.wait(2.0)
        self.send(None)
        for thread in self._threads:
            thread.join(1.0)

    def _read(self) -> None:
        decoder = codec.Decoder()
        try:
            while data := os.read(self.process.stdout.fileno(), _READ_BYTES):
                for message in decoder.feed(data):
                    self.received.put(message)
        except codec.WireError as error:
            self.received.put(error)
        self.received.put(None)
        self.process.stdout.close()

    def _write(self) -> None:
        # A broken pipe means that the child has gone: `_read` tells.
        try:
            with self.process.stdin as stdin:
                while (message := self._outbox.get()) is not None:
                    codec.write_message(stdin, message() if callable(message) else message)
        except OSError:
            pass

    def _listen(self) -> None:
        with self.process.stderr as stderr:
            for line in stderr:
                self._words.append(line.decode(errors="replace").rstrip())


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    """The process's environment without what would make another Python look into Blender's folders."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", **extra}
