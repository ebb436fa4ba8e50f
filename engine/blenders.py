# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the Blender that writes .blend files: an installed one, else the `bpy` package in this Python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import BlenderNotFound

MINIMUM = (4, 2)
VARIABLE = "RECOVER_BODY_BLENDER"


@dataclass(frozen=True)
class Blender:
    """A Blender that can be started."""

    command: tuple[str, ...]
    """What to start; a Python script and its arguments are to follow `script_option`."""
    version: tuple[int, ...]
    """E.g. (4, 5, 3)."""
    is_module: bool
    """Whether it is the bpy package rather than the application."""

    @property
    def title(self) -> str:
        """For people: name, version and place."""
        number = ".".join(map(str, self.version))
        return f"bpy {number} (Python package)" if self.is_module else f"Blender {number} ({self.command[0]})"

    def run_script(self, script: Path, *arguments: str | Path) -> list[str]:
        """The command line that runs `script` without a window; it fails when the script does."""
        if self.is_module:
            before = [*self.command, str(script)]
        else:
            before = [*self.command, "--background", "--factory-startup", "--python-exit-code", "1"]
            before += ["--python", str(script)]
        return [*before, "--", *map(str, arguments)]


def find(named: str | None = None) -> Blender:
    """The Blender called `named`, else of RECOVER_BODY_BLENDER, on PATH, in the usual places (newest first), or bpy.

    Raises BlenderNotFound.
    """
    for path, origin in ((named, "--blender"), (os.environ.get(VARIABLE), VARIABLE)):
        if path:
            return _named(path, origin)
    on_path = shutil.which("blender")
    usual = sorted(set(_usual_places()), key=_numbers_in, reverse=True)
    for candidate in ([Path(on_path)] if on_path else []) + usual:
        version = version_of(candidate)
        if version is not None and version >= MINIMUM:
            return Blender((str(candidate),), version, is_module=False)
    module = _module()
    if module is None:
        raise BlenderNotFound(f"No Blender of version {_dotted(MINIMUM)} or newer was found to write the .blend with.")
    return module


def version_of(executable: Path) -> tuple[int, ...] | None:
    """What the program says its version is; None if it is no Blender or does not start."""
    try:
        told = subprocess.run(
            [str(executable), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Blender (\d+)\.(\d+)(?:\.(\d+))?", told.stdout, re.MULTILINE)
    return tuple(int(number) for number in match.groups() if number) if match else None


def _named(path: str, origin: str) -> Blender:
    executable = Path(path)
    if executable.suffix == ".app":
        executable = executable / "Contents" / "MacOS" / "Blender"
    found = shutil.which(str(executable)) or str(executable)
    is_module = Path(found).stem.lower().startswith("python")
    version = _module_version(found) if is_module else version_of(Path(found))
    if version is None:
        raise BlenderNotFound(f"{path}, named by {origin}, is not a Blender that starts, nor a Python with bpy.")
    if version < MINIMUM:
        raise BlenderNotFound(f"{path} is Blender {_dotted(version)}; at least {_dotted(MINIMUM)} is needed.")
    return Blender((found,), version, is_module)


def _module_version(python: str) -> tuple[int, ...] | None:
    """Of the bpy package of another Python; None if it has none."""
    ask = "import importlib.metadata as m; print(m.version('bpy'))"
    try:
        told = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60, check=False)
        return tuple(int(number) for number in told.stdout.split(".")[:3])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _module() -> Blender | None:
    from importlib import metadata  # here, because it is slow to import and `serve` passes this module

    if importlib.util.find_spec("bpy") is None:
        return None
    try:
        version = tuple(int(number) for number in metadata.version("bpy").split(".")[:3])
    except (metadata.PackageNotFoundError, ValueError):
        return None
    return Blender((sys.executable,), version, is_module=True) if version >= MINIMUM else None


def _usual_places() -> Iterator[Path]:
    home = Path.home()
    if sys.platform == "win32":
        for variable in ("PROGRAMFILES", "PROGRAMW6432"):
            folder = os.environ.get(variable)
            if folder:
                yield from Path(folder).glob("Blender Foundation/Blender*/blender.exe")
                yield from Path(folder).glob("Steam/steamapps/common/Blender/blender.exe")
    elif sys.platform == "darwin":
        for applications in (Path("/Applications"), home / "Applications"):
            yield from applications.glob("Blender*.app/Contents/MacOS/Blender")
    else:
        for folder in (Path("/opt"), home, home / "Applications", home / "bin", home / "Downloads", Path("/usr/local")):
            yield from folder.glob("blender*/blender")
        for path in (Path("/usr/bin/blender"), Path("/snap/bin/blender")):
            if path.exists():
                yield path


def _numbers_in(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(path.parent)))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
