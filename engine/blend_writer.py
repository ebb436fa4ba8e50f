# SPDX-License-Identifier: GPL-3.0-or-later
"""Has Blender, as a child process, draw a recovery and save it. The drawing itself is the add-on's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..wire import codec
from ..wire.messages import Recovery
from .blenders import Blender
from .errors import BlendNotWritten, MissingPackage

SCRIPT = Path(__file__).resolve().parent.parent / "blender_scripts" / "recover_batch.py"
TIMEOUT_S = 600
"""Drawing takes a second; a first start from a cold network disk can take minutes."""

# What Blender's Linux builds expect of the system, by the tool that installs it.
_INSTALL_LINES = {
    "apt-get": "sudo apt-get install -y --no-install-recommends libx11-6 libxrender1 libxxf86vm1 libxfixes3 libxi6 "
    "libxkbcommon0 libgomp1 libsm6 libgl1 libegl1",
    "dnf": "sudo dnf install -y libX11 libXrender libXxf86vm libXfixes libXi libxkbcommon libgomp libSM mesa-libGL "
    "mesa-libEGL",
    "pacman": "sudo pacman -S --needed libx11 libxrender libxxf86vm libxfixes libxi libxkbcommon gcc-libs libsm "
    "libglvnd",
    "zypper": "sudo zypper install -y libX11-6 libXrender1 libXxf86vm1 libXfixes3 libXi6 libxkbcommon0 libgomp1 libSM6 "
    "Mesa-libGL1 Mesa-libEGL1",
}


def write_blend(recovery: Recovery, blend: Path, blender: Blender, picture: Path | None = None, take: str = "") -> None:
    """Save `recovery` as the file `blend`, with `picture` behind the camera; `take` is the name of the take's
    file beside it.

    Raises BlendNotWritten; MissingPackage when Blender lacks a library of the system.
    """
    with tempfile.TemporaryDirectory(prefix="recover-body-") as folder:
        message = Path(folder, "recovery.bin")
        message.write_bytes(codec.encode(recovery))
        arguments: list[str | Path] = ["--recovery", message, "--save", blend.absolute()]
        if take:
            arguments += ["--take", take]
        if picture is not None:
            arguments += ["--image", picture.absolute()]
        # Its own settings folder: the artist's start-up file and add-ons are neither used nor changed.
        environment = {**os.environ, "BLENDER_USER_RESOURCES": folder}
        words = _run(blender.run_script(SCRIPT, *arguments), environment, blender)
    if not blend.exists():
        print(words, file=sys.stderr)
        raise BlendNotWritten(f"{blender.title} ended without writing the .blend.")


def _run(command: list[str], environment: dict[str, str], blender: Blender) -> str:
    """Run to the end; returns all that was printed."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BlendNotWritten(f"{blender.title} took more than {TIMEOUT_S // 60} minutes and was ended.") from None
    except OSError as error:
        raise BlendNotWritten(f"{blender.title} does not start ({error}).") from None
    if done.returncode != 0:
        library = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", done.stdout)
        if library:
            raise MissingPackage(
                f"{blender.title} cannot start: the system library {library.group(1)} is missing.",
                f"Run: {install_line()}",
            )
        print(done.stdout, file=sys.stderr)
        raise BlendNotWritten(f"{blender.title} failed to write the .blend (exit status {done.returncode}).")
    return done.stdout


def install_line() -> str:
    """The command that installs the system libraries Blender needs, for this system's package tool."""
    for tool, line in _INSTALL_LINES.items():
        if shutil.which(tool):
            return line
    return _INSTALL_LINES["apt-get"]
