# SPDX-License-Identifier: GPL-3.0-or-later
"""A zip for those who can help: what the doctor found, the set-up's log, and the last failure. Nothing of the work.

What goes in is chosen here, piece by piece, and every piece passes the redactor: no picture, no take, no scene, no
names of people, machines, projects or files.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from pathlib import Path

import bpy

from . import jobs
from .doctor import Findings
from .engine_command import PACKAGE_ROOT
from .engine_setup.places import engine_places
from .errors import AddonError
from .preferences import preferences
from .redact import Redactor

_LOG_END_BYTES = 200_000
_PREFERENCES = ("tab", "send_pictures", "accelerator")
_ONLY_WHETHER = ("engine", "bundle", "python", "index_url", "extra_index_url", "find_links", "proxy")
"""Of these it is told whether they are filled in, and not with what."""

_PLAIN_WORDS = {"recover-body", "serve", "python", "python3", "python3.11"}
"""Of an engine's command."""

_READ_ME = """This is a bug report of Recover Body. It was made on your machine and sent to nobody: you decide.

Look into the files before you pass them on. They are plain text. Names of people, machines, addresses, projects and
files were taken out; there is no picture and nothing of your scene in it.
"""


class ReportNotWritten(AddonError):
    """The report cannot be written there."""

    remedy = "Choose another folder."
    exit_code = 2


def pieces(findings: Findings) -> dict[str, str]:
    """Name of each file -> its redacted text."""
    redact = _redactor()
    found = {
        "doctor.txt": findings.text,
        "last-failure.txt": _last_failure(),
        "preferences.txt": _preferences(),
        "set-up.log": _end_of(engine_places().log),
    }
    return {"READ ME.txt": _READ_ME} | {name: redact(text) for name, text in found.items() if text}


def write(path: Path, findings: Findings) -> Path:
    """Write the zip, whole or not at all. Raises ReportNotWritten."""
    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".zip", dir=path.parent)
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in pieces(findings).items():
                archive.writestr(name, text)
        os.replace(temporary, path)
    except OSError as error:
        if handle is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ReportNotWritten(f"{path} cannot be written ({error.strerror or error}).") from None
    return path


def _redactor() -> Redactor:
    """Knows our folders, and the names of what is being worked on."""
    folders = {
        "add-on": PACKAGE_ROOT,
        "engine": engine_places().root,
        "blender": Path(bpy.app.binary_path).parent if bpy.app.binary_path else Path(sys.prefix),
    }
    worked_on = {bpy.data.filepath, *(image.filepath for image in bpy.data.images)}
    worked_on |= {clip.filepath for clip in bpy.data.movieclips}
    job = jobs.last_done()
    if job is not None:
        worked_on |= {job.title, getattr(job.request, "source", "")}
    found = preferences()
    told = {getattr(found, name) for name in _ONLY_WHETHER} if found else set()
    told |= {word for text in told for word in text.split() if word not in _PLAIN_WORDS}
    stems = {os.path.splitext(os.path.basename(text))[0] for text in worked_on}
    names = {os.path.basename(text) for text in worked_on}
    return Redactor(folders, {text for text in worked_on | told | names | stems if len(text) > 3})


def _last_failure() -> str:
    job = jobs.last_done()
    if job is None or job.failure is None:
        return ""
    failure = job.failure
    return f"{failure.code} (exit code {failure.exit_code})\n{failure.sentence}\n{failure.remedy}\n" + "\n".join(
        job.notes
    )


def _preferences() -> str:
    found = preferences()
    if found is None:
        return ""
    lines = [f"{name} = {getattr(found, name)}" for name in _PREFERENCES]
    lines += [f"{name}: {'filled in' if getattr(found, name) else 'empty'}" for name in _ONLY_WHETHER]
    return "\n".join(lines) + "\n"


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
