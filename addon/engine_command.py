# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the engine is, when nobody said: with which Python to start the engine that lies beside this add-on.

In this order: the variable RECOVER_BODY_ENGINE_PYTHON, a `.venv` beside the add-on (developers), the environment that
the preferences installed, and the Python that has Blender as a module.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy

from .engine_setup.places import engine_places, python_of
from .engine_setup.verify import serve_command
from .errors import EngineNotFound

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
PYTHON_VARIABLE = "RECOVER_BODY_ENGINE_PYTHON"


def engine_command(told: str = "") -> tuple[str, ...]:
    """The command that starts the engine: what was `told`, or the first Python found. Raises EngineNotFound.

    `told` is a whole command line, such as `ssh gpu-box recover-body serve`, or the path of a Python.
    """
    if told.strip():
        words = _split(told.strip())
        return _serve_with(words[0]) if len(words) == 1 and _is_python(words[0]) else words
    for command in _found():
        return command
    raise EngineNotFound("No engine was found: there is no Python environment for it yet.")


def is_engine_missing(told: str = "") -> bool:
    """Whether there is no engine to start. Quick: panels ask as they draw."""
    try:
        engine_command(told)
    except EngineNotFound:
        return True
    return False


def other_verb(command: tuple[str, ...], *verb: str) -> tuple[str, ...]:
    """The engine's command with another verb instead of `serve`, e.g. `doctor --json`."""
    return (*(command[:-1] if command[-1:] == ("serve",) else command), *verb)


def _found() -> Iterator[tuple[str, ...]]:
    if python := os.environ.get(PYTHON_VARIABLE):
        yield _serve_with(python)
    developers = python_of(PACKAGE_ROOT / ".venv")
    if developers.exists():
        yield _serve_with(str(developers))
    if (installed := engine_places().current()) is not None:
        yield serve_command(installed)
    if not bpy.app.binary_path and sys.executable:
        yield _serve_with(sys.executable)  # an ordinary Python, which may have the engine's packages too


def _serve_with(python: str) -> tuple[str, ...]:
    flags: tuple[str, ...] = ("-s", "-u")
    if not (PACKAGE_ROOT / "dev.py").exists():  # an extension, in whose folder nothing is written
        flags += ("-X", f"pycache_prefix={engine_places().root / 'compiled'}")
    return (python, *flags, str(PACKAGE_ROOT / "engine" / "launch.py"), "serve")


def _is_python(word: str) -> bool:
    return Path(word).stem.lower().startswith("python")


def _split(text: str) -> tuple[str, ...]:
    """Words of a command line. On Windows backslashes are ordinary, so only quotes are taken away."""
    if os.name != "nt":
        return tuple(shlex.split(text))
    return tuple(word.strip('"') for word in shlex.split(text, posix=False))
