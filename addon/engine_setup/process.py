# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts other Pythons: cleanly, with what they print in the log, and never longer than their parent lives."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from .report import Report

_BENDING = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"),
    *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_INDEX"),
)
_LAST_LINES = 40
_LOOK_S = 0.25

# A child that works for minutes watches its stdin, which ends with us, however we end. `os.read`, because a thread
# that holds `sys.stdin` would trip the interpreter's own end.
WATCHED = (
    "import os, runpy, sys, threading\n"
    "threading.Thread(target=lambda: (os.read(0, 1), os._exit(143)), daemon=True).start()\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
)


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's variables less those that would bend another Python's imports or pip's aim."""
    kept = {name: value for name, value in os.environ.items() if name not in _BENDING}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", **extra}


def module_command(python: Path | str, module: str, *arguments: str) -> list[str]:
    """`python -m module arguments`, in a process that ends with this one."""
    return [str(python), "-s", "-u", "-c", WATCHED, module, *arguments]


def run_watched(
    command: Sequence[str],
    report: Report,
    on_look: Callable[[str], None] = lambda last_line: None,
    environment: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Run to the end; (exit status, its last lines). `on_look` is called several times a second.

    Raises SetupCancelled, with the child ended, where the report says so; OSError where it cannot be started.
    """
    report.log(f"$ {' '.join(command[:1] + [part for part in command[1:] if part != WATCHED])}")
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    kept: list[str] = []
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment or clean_environment(),
        text=True,
        encoding="utf-8",
        errors="replace",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )

    def read() -> None:
        for line in process.stdout:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        ended = False
        while not ended:
            try:
                line = lines.get(timeout=_LOOK_S)
                ended = line is None
                if line:
                    report.log(f"  {line}")
                    kept = [*kept[1 - _LAST_LINES :], line]
            except queue.Empty:
                pass
            report.check()
            on_look(kept[-1] if kept else "")
        return process.wait(), "\n".join(kept)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdin.close()
