# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a clip that are done, kept on disk, so that an interrupted run need not do them again.

A step is named, and believed only for the very inputs that it was made from: a digest of them is kept with it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__

Arrays = dict[str, np.ndarray]


class KeptSteps:
    """A folder of finished steps; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def arrays(self, name: str, inputs: Iterable[Any], make: Callable[[], Arrays]) -> Arrays:
        """What `make` gave for these inputs the last time, or gives now."""
        if self._folder is None:
            return make()
        key = digest(inputs)
        kept = self._load(name, key)
        if kept is None:
            kept = make()
            self._save(name, key, kept)
        return kept

    def file(self, name: str, inputs: Iterable[Any], make: Callable[[Path], None]) -> Path | None:
        """The file that `make` wrote for these inputs, now or the last time; None where nothing is kept."""
        if self._folder is None:
            return None
        stem, ending = name.rsplit(".", 1)
        path = self._folder / f"{stem}.{digest(inputs)[:16]}.{ending}"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished = self._folder / f".{secrets.token_hex(4)}.tmp"
            try:
                make(unfinished)
                os.replace(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
        return path

    def _load(self, name: str, key: str) -> Arrays | None:
        assert self._folder is not None
        try:
            with np.load(self._folder / f"{name}.step.npz", allow_pickle=False) as stored:
                arrays = dict(stored)
        except (OSError, ValueError, KeyError, EOFError):
            return None  # nothing there, or damaged by something else than us
        return arrays if str(arrays.pop("key", "")) == key else None

    def _save(self, name: str, key: str, arrays: Arrays) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f".{secrets.token_hex(4)}.tmp"
        try:
            with open(unfinished, "wb") as stream:
                np.savez(stream, key=np.array(key), **arrays)
            os.replace(unfinished, self._folder / f"{name}.step.npz")
        finally:
            unfinished.unlink(missing_ok=True)


def digest(inputs: Any) -> str:
    """Of arrays, numbers, words, dataclasses and sequences of such, and of this package's version."""
    running = hashlib.sha256(__version__.encode())
    _add(running, inputs)
    return running.hexdigest()


def _add(running, one: Any) -> None:
    running.update(type(one).__name__.encode())
    if isinstance(one, np.ndarray):
        running.update(f"{one.dtype}{one.shape}".encode())
        running.update(np.ascontiguousarray(one).tobytes())
    elif isinstance(one, bytes):
        running.update(one)
    elif is_dataclass(one):
        for each in fields(one):
            running.update(each.name.encode())
            _add(running, getattr(one, each.name))
    elif isinstance(one, (str, int, float, np.generic, type(None))):
        running.update(repr(one).encode())
    elif isinstance(one, dict):
        _add(running, sorted(one.items()))
    else:
        for each in one:
            _add(running, each)
        running.update(b"end")
