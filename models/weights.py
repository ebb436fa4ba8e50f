# SPDX-License-Identifier: GPL-3.0-or-later
"""Which licensed files there are, which of them this user has imported, and how to open those.

    entry = find("tokenhmr")
    state = load_state(entry)          # names as in the checkpoint; NotImported says where to get the file

Imported files live in the user's data folder, one folder per entry: the weights, and a manifest that describes them.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..wire.places import data_folder
from .errors import DamagedFile, ModelsError, NotImported
from .tensor_file import sha256_of

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A file that a user may obtain; the fields are explained at the top of `weights.toml`."""

    id: str
    title: str
    kind: str
    """"network", "body", or "detector" and "landmarks" (exported networks, kept as they are)."""
    files: tuple[str, ...]
    where: str
    licence: str
    commercial: bool
    marks: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    joints: int = 0
    gender: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Installed:
    """An imported file."""

    entry: Entry
    path: Path
    sha256: str
    bytes: int
    tensors: int
    source: str
    """Name of the file it was imported from."""
    imported: str
    """When, ISO 8601, UTC."""


@lru_cache(maxsize=1)
def all_entries() -> tuple[Entry, ...]:
    listed = tomllib.loads(Path(__file__).with_name("weights.toml").read_text("utf-8"))["entry"]
    return tuple(_entry(item) for item in listed)


def _entry(item: dict[str, Any]) -> Entry:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
    return Entry(**fields)


def entries(*, commercial_only: bool = False) -> tuple[Entry, ...]:
    """Everything that could be imported; with `commercial_only`, what may be used in commercial work."""
    return tuple(entry for entry in all_entries() if entry.commercial or not commercial_only)


def find(entry_id: str) -> Entry:
    """The entry of that name. Raises `ModelsError`."""
    for entry in all_entries():
        if entry.id == entry_id:
            return entry
    raise ModelsError(f"There is no {entry_id!r}; there are {', '.join(entry.id for entry in all_entries())}.")


def models_folder() -> Path:
    return data_folder() / "models"


def installed(entry: Entry) -> Installed | None:
    """What was imported for this entry, by its manifest; quick. Raises `DamagedFile` for a broken manifest."""
    folder = models_folder() / entry.id
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        path = folder / Path(manifest["file"]).name
        details = {key: manifest[key] for key in ("sha256", "bytes", "tensors", "source", "imported")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"The imported {entry.id} has lost its manifest.", _import_again(entry)) from error
    return Installed(entry, path, **details)


def require(entry: Entry) -> Installed:
    """As `installed`, but raises `NotImported`, which says where to get the file."""
    found = installed(entry)
    if found is None:
        raise NotImported(
            f"{entry.title} ({entry.id}) has not been imported.",
            f"Get {entry.files[0]} from {entry.where}, then run `recover-body models import FILE`.",
        )
    if not found.path.exists() or found.path.stat().st_size != found.bytes:
        raise DamagedFile(f"The imported {entry.id} is incomplete.", _import_again(entry))
    return found


def load_state(entry: Entry) -> dict[str, Tensor]:
    """The tensors of an imported network by their names, float32, mapped from disk and read when used."""
    from safetensors.torch import load_file

    return load_file(require(entry).path)


def verify(entry: Entry, progress: Callable[[float], None] = lambda fraction: None) -> Installed:
    """Read the whole imported file and compare it with its manifest. Raises `NotImported`, `DamagedFile`."""
    found = require(entry)
    if sha256_of(found.path, progress) != found.sha256:
        raise DamagedFile(f"The imported {entry.id} was altered since its import.", _import_again(entry))
    return found


def remove(entry: Entry) -> bool:
    """Delete the imported file. Returns whether there was one."""
    folder = models_folder() / entry.id
    if not folder.exists():
        return False
    # Renamed first, so that a half-deleted folder is never taken for an import.
    doomed = folder.with_name(f".removing-{entry.id}-{os.getpid()}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _import_again(entry: Entry) -> str:
    return f"Import {entry.files[0]} again with `recover-body models import FILE`."
