# SPDX-License-Identifier: GPL-3.0-or-later
"""Where results go: checked before work begins, and written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .errors import BadRequest, OutputNotWritable

TAKE_ENDING = ".take.npz"


def stem(source: str) -> str:
    """What results are named after: an input's file name without its ending."""
    name = Path(source).name
    return name[: -len(TAKE_ENDING)] if name.endswith(TAKE_ENDING) else Path(source).stem


def check_names(inputs: Sequence[str], out: Path, endings: Sequence[str]) -> None:
    """Raise BadRequest if two inputs would write the same files, or a result would replace an input."""
    # Without regard to case, as the file systems of Windows and macOS have it.
    stems = Counter(Path(source).stem.casefold() for source in inputs)
    for source in inputs:
        stem = Path(source).stem
        if stems[stem.casefold()] > 1:
            raise BadRequest(
                f"Several inputs are called {stem}: their results would replace each other.",
                "Recover them one by one into different folders, or rename them.",
            )
    written = {out.resolve() / f"{Path(source).stem}.{ending}" for source in inputs for ending in endings}
    for source in inputs:
        if Path(source).resolve() in written:
            raise BadRequest(f"A result would replace the input {source}.", "Choose another folder with --out.")


def check_folder(out: Path) -> None:
    """Make the folder and try to write in it. Raises OutputNotWritable."""
    probe = out / f".{secrets.token_hex(4)}.probe"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputNotWritable(f"Nothing can be written into {out} ({error.strerror or error}).") from None


class Staged:
    """A context in which files are written beside their places; they move there together when it ends without error.

    Hidden names in the same folder, not a folder of their own: a .blend keeps relative paths to its pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_hex(4)
        self._names: list[str] = []
        self.written: dict[str, Path] = {}
        """Name -> path, once the context has ended well."""

    def path(self, name: str) -> Path:
        """Where to write what is to be called `name`."""
        self._names.append(name)
        return self._temporary(name)

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                self._move_into_place()
            elif isinstance(error, OSError):  # from writing: the disk is full, or has gone
                raise self._not_writable(error) from None
        finally:
            for name in self._names:
                self._temporary(name).unlink(missing_ok=True)

    def _move_into_place(self) -> None:
        for name in self._names:
            try:
                os.replace(self._temporary(name), self._folder / name)
            except OSError as error:
                raise self._not_writable(error) from None
            self.written[name] = self._folder / name

    def _temporary(self, name: str) -> Path:
        return self._folder / f".{self._token}.{name}"

    def _not_writable(self, error: OSError) -> OutputNotWritable:
        return OutputNotWritable(f"The results cannot be written into {self._folder} ({error.strerror or error}).")
