# SPDX-License-Identifier: GPL-3.0-or-later
"""The locked-down process in which a user's downloads are opened. Started by `importer.py`, never by hand.

stdin: one JSON object (sources, staging folder, Python path). stdout: JSON lines, `progress` and one `done` or `error`.

The reader of pickles already runs no code. Should it have a hole, this process still starts no other, opens no
connection, and writes nowhere but in the staging folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "os.kill"),
    *("subprocess.Popen", "pty.spawn", "socket.", "ctypes.", "webbrowser.", "urllib.", "winreg."),
    *("os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.rename", "os.rmdir", "os.putenv"),
)
_ONLY_IN_STAGING = ("os.remove", "os.mkdir")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MEMORY_BYTES = 8 << 30
_SECONDS = 1800


def lock_down(staging: Path) -> None:
    """From here on this process only computes, reads files, and writes below `staging`. There is no way back."""
    sys.dont_write_bytecode = True
    allowed = str(staging.resolve()) + os.sep

    def inside(path: object) -> bool:
        return isinstance(path, (str, bytes, os.PathLike)) and os.path.realpath(os.fsdecode(path)).startswith(allowed)

    def watch(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool((flags or 0) & _WRITING) or (isinstance(mode, str) and set(mode) & set("wax+"))
            if writes and not isinstance(path, int) and not inside(path):
                raise PermissionError(f"importing may not write {path!r}")
        elif event.startswith(_ONLY_IN_STAGING):
            if not inside(arguments[0]):
                raise PermissionError(f"importing may not change {arguments[0]!r}")
        elif event.startswith(_FORBIDDEN):
            raise PermissionError(f"importing may not do {event}")

    try:
        import resource  # not on Windows
    except ImportError:
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    sys.addaudithook(watch)


def main() -> int:
    # Libraries may print; the conversation keeps a copy of stdout to itself.
    conversation = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**message: object) -> None:
        conversation.write(json.dumps(message) + "\n")
        conversation.flush()

    job = json.loads(sys.stdin.read())
    sys.path[:] = job["python_path"]

    import torch  # noqa: F401  before the door closes

    with contextlib.suppress(ModuleNotFoundError):
        import onnxruntime  # noqa: F401

    from ..models.errors import ModelsError
    from ..models.weights_convert import convert

    staging, said_at = Path(job["staging"]), 0.0
    lock_down(staging)

    def progress(what: str, fraction: float) -> None:
        nonlocal said_at
        if time.monotonic() - said_at > 0.1:
            said_at = time.monotonic()
            say(kind="progress", what=what, fraction=fraction)

    try:
        made = convert([Path(source) for source in job["sources"]], staging, progress)
    except ModelsError as error:
        say(kind="error", error=type(error).__name__, sentence=error.sentence, remedy=error.remedy)
    except MemoryError:
        say(kind="error", error="ImporterDied", sentence="The file needs more memory than there is.", remedy=None)
    except OSError as error:
        say(kind="os_error", errno=error.errno, sentence=str(error))
    else:
        say(kind="done", entries=made)
    return 0
