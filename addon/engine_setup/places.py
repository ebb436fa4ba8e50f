# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an installed engine lies, and the two small files that say what is there.

<data folder>/engine/
    engine.json             which environment is in use; replaced in one step, once a new one is proven
    environments/<name>/    virtual environments: the one in use, and one that is being made
        recover-body.json   its record, "incomplete" from the first moment to the last
    python/, tools/         a Python 3.11 that uv brought, and uv itself
    cache/, incoming/       what was downloaded, until the installation is complete
    setup.log               what was done, and pip's own words
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ...wire.places import data_folder
from .errors import SetupBusy

INCOMPLETE, COMPLETE = "incomplete", "complete"
_RECORD = "recover-body.json"


@dataclass(frozen=True)
class Record:
    """What is known of one environment."""

    state: str = INCOMPLETE
    """"incomplete" until everything is installed and proven."""
    version: str = ""
    """Version of the add-on that made it."""
    digest: str = ""
    """Of the pinned lists it was made from; another digest means that an upgrade is due."""
    accelerator: str = ""
    """What torch was installed for: cuda, mps, cpu, or none without torch."""
    python: str = ""
    """The Python it was made with, and depends on."""
    layers: tuple[str, ...] = ()
    """Layers that are completely installed."""
    distributions: dict[str, str] = field(default_factory=dict)
    """Folder of each package's metadata -> sha256 of its RECORD, which in turn has the hash of every file."""
    bytes: int = 0
    """What it takes on disk."""
    failure: str = ""
    """Why it is incomplete, where that was heard."""
    damage: tuple[str, ...] = ()
    """What the last verification found wrong, a sentence each."""


@dataclass(frozen=True)
class Places:
    """The folders and files of one engine."""

    root: Path

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def log(self) -> Path:
        return self.root / "setup.log"

    # ---- which environment is in use

    def current(self) -> Path | None:
        """The environment in use, or None."""
        told = _read_json(self.root / "engine.json").get("environment")
        folder = self.environments / Path(str(told)).name if told else None
        return folder if folder is not None and folder.is_dir() else None

    def use(self, environment: Path) -> None:
        """Make `environment` the one in use, in one step."""
        _write_json(self.root / "engine.json", {"environment": environment.name})

    def others(self) -> list[Path]:
        """Environments that are not in use: unfinished ones, and those that an upgrade left behind."""
        current = self.current()
        found = sorted(self.environments.iterdir()) if self.environments.is_dir() else []
        return [folder for folder in found if folder.is_dir() and folder != current]


def engine_places() -> Places:
    """The places of this user's engine."""
    return Places(data_folder() / "engine")


def python_of(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(environment: Path) -> Path:
    """The folder with an environment's packages."""
    if os.name == "nt":
        return environment / "Lib" / "site-packages"
    return next(iter(sorted(environment.glob("lib/python3*/site-packages"))), environment / "lib")


def read_record(environment: Path) -> Record:
    """The record of an environment; an empty, incomplete one where it cannot be read."""
    told = _read_json(environment / _RECORD)
    known = {key: value for key, value in told.items() if key in Record.__dataclass_fields__}
    for key in ("layers", "damage"):
        known[key] = tuple(known.get(key) or ())
    return Record(**known)


def write_record(environment: Path, record: Record) -> Record:
    """Write the record whole or not at all; returns it."""
    environment.mkdir(parents=True, exist_ok=True)
    _write_json(environment / _RECORD, asdict(record))
    return record


def change_record(environment: Path, **changes) -> Record:
    """Read, change, write."""
    return write_record(environment, replace(read_record(environment), **changes))


def remove_tree(folder: Path) -> bool:
    """Remove a folder; what is in use (Windows) stays until the next time. Returns whether it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def tree_bytes(folder: Path) -> int:
    """What the files of a folder take, links not followed; files that vanish meanwhile do not count."""
    total, todo = 0, [str(folder)]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
    return total


@contextlib.contextmanager
def locked(places: Places) -> Iterator[None]:
    """One set-up at a time. The system gives the lock back when the process ends, however it ends."""
    places.root.mkdir(parents=True, exist_ok=True)
    with (places.root / "lock").open("a+b") as file:
        if not _lock(file):
            raise SetupBusy("Another set-up of the engine is under way.")
        yield


def is_locked(places: Places) -> bool:
    """Whether a set-up is under way, in whichever process."""
    try:
        with (places.root / "lock").open("r+b") as file:
            return not _lock(file)
    except OSError:
        return False


def _lock(file) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_json(path: Path) -> dict:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _write_json(path: Path, content: dict) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
    os.replace(temporary, path)
