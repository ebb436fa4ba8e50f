# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a user's downloaded weights and body files into the data folder: completely, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..models import errors as model_errors
from ..models import weights
from ..models.errors import ImporterDied, ModelsError, NoRoom, UnknownFile

Progress = Callable[[str, float], None]
"""progress(what is being done, fraction 0..1)"""

# EFBIG is what a file-size limit says where a full disk says ENOSPC.
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

_START_CHILD = (
    "import runpy, sys; runpy.run_path(sys.argv[1])['load_package'](); "
    "from recover_body.engine.import_child import main; sys.exit(main())"
)


def import_files(sources: list[Path], progress: Progress = lambda what, fraction: None) -> list[weights.Installed]:
    """Recognise, check and convert files, archives and folders; what was imported before under that name is replaced.

    Everything useful in `sources` is imported together or nothing is. Raises a `ModelsError`.
    """
    for source in sources:
        if not source.exists():
            raise UnknownFile(f"There is no file or folder {source}.", "Check the name.")
    target = weights.models_folder()
    try:
        target.mkdir(parents=True, exist_ok=True)
        _refuse_without_room(sources, target)
        # Beside the target, so that moving into place is a rename within one disk.
        staging = Path(tempfile.mkdtemp(prefix=".importing-", dir=target))
    except OSError as error:
        raise _as_no_room(error, target) from error
    try:
        made = _ask_child(sources, staging, progress)
        for entry_id in made:
            _move_into_place(staging / entry_id, target / entry_id, staging)
    except OSError as error:
        raise _as_no_room(error, target) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [weights.require(weights.find(entry_id)) for entry_id in made]


def _refuse_without_room(sources: list[Path], target: Path) -> None:
    """The converted file is about as large as the original; an archive's member lies beside it for a while."""
    needed = sum(2 * source.stat().st_size for source in sources if source.is_file())
    free = shutil.disk_usage(target).free
    if needed > free:
        raise NoRoom(f"Importing needs up to {needed / 1e9:.1f} GB in {target}, where {free / 1e9:.1f} GB are free.")


def _ask_child(sources: list[Path], staging: Path, progress: Progress) -> list[str]:
    """Let the locked-down process do the work. Returns the ids of the entries it made in `staging`."""
    job = {
        "sources": [str(source.resolve()) for source in sources],
        "staging": str(staging.resolve()),
        "python_path": [part for part in sys.path if part],
    }
    log = staging / "log.txt"
    with log.open("wb") as errors_file:
        process = subprocess.Popen(
            # Isolated: neither variables nor files of the working folder change what runs.
            [sys.executable, "-I", "-X", "utf8", "-c", _START_CHILD, str(Path(__file__).with_name("launch.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors_file,
            text=True,
            encoding="utf-8",
        )
        with process:
            assert process.stdin and process.stdout
            answer: dict = {}
            try:
                process.stdin.write(json.dumps(job))
                process.stdin.close()
                for line in process.stdout:
                    message = json.loads(line)
                    if message["kind"] == "progress":
                        progress(message["what"], message["fraction"])
                    else:
                        answer = message
            except BrokenPipeError:
                pass  # it died early; its status tells
            except BaseException:
                process.kill()
                raise
    return _entries_of(answer, process.returncode, log)


def _entries_of(answer: dict, status: int, log: Path) -> list[str]:
    kind = answer.get("kind")
    if kind == "done":
        return answer["entries"]
    if kind == "error":
        error_class = getattr(model_errors, answer["error"], None) or model_errors.WrongTensors
        raise error_class(answer["sentence"], answer["remedy"])
    if kind == "os_error":
        raise OSError(answer["errno"], answer["sentence"])
    last_lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    reason = last_lines[-1] if last_lines else f"status {status}"
    raise ImporterDied(f"The importing process ended without an answer ({reason}).")


def _move_into_place(made: Path, target: Path, staging: Path) -> None:
    """Rename `made` to `target`; an older import is put aside first and put back should the renaming fail."""
    previous = staging / f"previous-{target.name}"
    if target.exists():
        target.rename(previous)
    try:
        made.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise


def _as_no_room(error: OSError, target: Path) -> ModelsError:
    if error.errno in _FULL:
        return NoRoom(f"The disk of {target} is full; nothing was imported.")
    if isinstance(error, PermissionError) or error.errno in (errno.EACCES, errno.EROFS):
        return NoRoom(f"{target} cannot be written ({os.strerror(error.errno or errno.EACCES)}).")
    return ImporterDied(f"Importing failed: {error}.")
