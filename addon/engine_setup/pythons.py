# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds a Python 3.11 to build the engine's environment on, or lets uv bring one.

The engine's packages are pinned for 3.11. Blender 4.2 to 5.0 carries one; later ones carry 3.13. A Python that was
installed beside Blender is preferred, because an environment does not outlive the Python it was built on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import NoPython
from .options import SetupOptions
from .places import Places, python_of, remove_tree
from .process import clean_environment, module_command, run_watched
from .report import Report

VERSION = "3.11"
UV_PIN = "uv==0.13.8"

# ensurepip, because Debian splits it off: such a Python cannot make environments. The base executable, because the one
# that runs may itself lie in an environment that is to be replaced.
_PROBE = "import sys, venv, ensurepip; assert sys.version_info[:2] == (3, 11); print(sys._base_executable)"


def find_python(options: SetupOptions, places: Places, report: Report) -> str:
    """The path of a usable Python 3.11. Raises NoPython."""
    if options.python:
        if found := _probe([options.python]):
            return found
        raise NoPython(f"{options.python} is not a complete Python {VERSION}.")
    for command in _installed(places):
        if found := _probe(command):
            return found
    if not (options.offline or options.bundle) and (found := _brought_by_uv(options, places, report)):
        return found
    if found := _probe([sys.executable]):  # Blender's own
        return found
    raise NoPython(
        f"No complete Python {VERSION} was found, and none could be downloaded.",
        f"Install Python {VERSION} (Windows: winget install Python.Python.3.11; macOS: brew install python@3.11; "
        "Linux: python3.11 and python3.11-venv), or name it in the preferences (--python in a shell).",
    )


def _installed(places: Places) -> Iterator[list[str]]:
    """Commands that may start a Python 3.11 outside Blender, the likeliest first."""
    yield from ([str(path)] for path in sorted((places.root / "python").glob("*/bin/python3.11")))
    yield from ([str(path)] for path in sorted((places.root / "python").glob("*/python.exe")))
    if os.name == "nt":
        yield ["py", "-3.11"]
    for name in ("python3.11", "python3", "python"):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            if found := shutil.which(name, path=folder):
                yield [found]
    yield from ([str(path)] for path in sorted(Path("/opt/homebrew/bin").glob("python3.11")))
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from ([str(path)] for path in sorted(versions.glob("3.11.*/bin/python"), reverse=True))


def _probe(command: list[str]) -> str:
    """The base Python behind `command` if it is a complete 3.11 outside Blender's and ours, else ""."""
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        asked = subprocess.run(
            [*command, "-I", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_environment(),
            creationflags=flags,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _brought_by_uv(options: SetupOptions, places: Places, report: Report) -> str:
    """Let uv download a Python into our folder; "" where that fails, with the reason in the log."""
    try:
        uv = shutil.which("uv") or _fetch_uv(options, places, report)
        report.progress(0.5, f"Downloading Python {VERSION}")
        variables = {"UV_PYTHON_INSTALL_DIR": str(places.root / "python"), "UV_NO_PROGRESS": "1"}
        if options.proxy:
            variables |= {"HTTPS_PROXY": options.proxy, "HTTP_PROXY": options.proxy}
        environment = clean_environment(**variables)
        status, _ = run_watched([uv, "python", "install", "--no-bin", VERSION], report, environment=environment)
        found = [path for command in _installed(places) for path in command if str(places.root) in path]
        return _probe([found[0]]) if status == 0 and found else ""
    except OSError as error:
        report.log(f"uv could not be used: {error}")
        return ""


def _fetch_uv(options: SetupOptions, places: Places, report: Report) -> str:
    """The pinned uv, by pip and from the same sources as everything else, in a small environment of its own."""
    from .pip import source_options

    folder = places.root / "tools"
    uv = python_of(folder).with_name("uv.exe" if os.name == "nt" else "uv")
    if not uv.exists():
        report.progress(0.1, "Fetching uv, which brings a Python")
        run_watched(module_command(sys.executable, "venv", "--clear", str(folder)), report)
        pip = ["install", "--no-input", "--disable-pip-version-check", "--no-deps", *source_options(options), UV_PIN]
        status, _ = run_watched(module_command(python_of(folder), "pip", *pip), report)
        if status != 0 or not uv.exists():
            remove_tree(folder)
            raise OSError("it could not be fetched")
    return str(uv)
