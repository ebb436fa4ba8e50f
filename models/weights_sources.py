# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, folders and archives that a user brings, opened one file after the other and never trusted."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from .errors import DamagedFile, ModelsError, UnknownFile, UnsafeArchive
from .safe_pickle import is_torch_file

# What may be worth opening in a folder or an archive; the rest is passed by.
SUFFIXES = (".ckpt", ".pth", ".pt", ".pkl", ".npz", ".onnx", ".tflite", ".yaml", ".yml", ".zip", ".tar", ".gz", ".tgz")

# What the standard library raises for archives that are damaged, cut short, encrypted or packed in unknown ways.
_BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    *(RuntimeError, NotImplementedError),
)

Member = tuple[str, Callable[[Path], None]]
"""Name of a file in an archive, and the function that copies it to a path of ours."""


@dataclass(frozen=True)
class Brought:
    """A file to look at: where it is, and what the user knows it as."""

    path: Path
    name: str
    asked_for: bool
    """The user named this very file; it is an error if it is of no use."""


def everything(sources: list[Path], staging: Path, skipped: list[ModelsError]) -> Iterator[Brought]:
    """All files worth a look. Members of archives are unpacked into `staging` and deleted after their turn.

    Errors about a file that the user named are raised, others go to `skipped`.
    """
    for source in sources:
        if source.is_dir():
            for path in sorted(source.rglob("*")):
                if path.is_file() and path.suffix.lower() in SUFFIXES:
                    try:
                        yield from _opened(Brought(path, path.name, asked_for=False), staging)
                    except DamagedFile as error:
                        skipped.append(error)
        elif source.is_file():
            yield from _opened(Brought(source, source.name, asked_for=True), staging)
        else:
            raise UnknownFile(f"There is no file or folder {source}.", "Check the name.")


def _opened(brought: Brought, staging: Path) -> Iterator[Brought]:
    """The file itself, or, of an archive, the members that may be of use, unpacked one after the other."""
    members = _members(brought)
    if members is None:
        yield brought
        return
    for count, (name, copy) in enumerate(members):
        if PurePosixPath(name).suffix.lower() in SUFFIXES:
            # A name of our own: what the archive calls its members decides nothing on this disk.
            unpacked = staging / f"member-{count:05}{PurePosixPath(name).suffix.lower()}"
            _copied(brought, name, copy, unpacked)
            yield Brought(unpacked, PurePosixPath(name).name, asked_for=False)
            unpacked.unlink()


def _members(brought: Brought) -> Iterator[Member] | None:
    """Names and copying functions of an archive's files; None for what is no archive. Raises `UnsafeArchive`."""
    with brought.path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        try:
            archive = zipfile.ZipFile(brought.path)
        except _BROKEN_ARCHIVE as error:
            raise DamagedFile(f"{brought.name} is cut short or damaged ({error}).") from error
        names = archive.namelist()
        if is_torch_file(archive) or any(name.endswith(".npy") for name in names):
            archive.close()
            return None
        _refuse_escapes(brought, names)
        return _zip_members(archive)
    if start[:2] == b"\x1f\x8b" or tarfile.is_tarfile(brought.path):
        return _tar_members(brought)
    return None


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    def copy(info: zipfile.ZipInfo, target: Path) -> None:
        with archive.open(info) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 22)

    with archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, partial(copy, info)


def _tar_members(brought: Brought) -> Iterator[Member]:
    def copy(member: tarfile.TarInfo, target: Path) -> None:
        source = archive.extractfile(member)
        assert source is not None, "regular files only"
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 22)

    try:
        with tarfile.open(brought.path, "r:*") as archive:
            for member in archive:
                _refuse_escapes(brought, [member.name])
                if member.isfile():
                    yield member.name, partial(copy, member)
    except _BROKEN_ARCHIVE as error:
        raise DamagedFile(f"{brought.name} is cut short or damaged ({error}).") from error


def _copied(brought: Brought, name: str, copy: Callable[[Path], None], target: Path) -> None:
    try:
        copy(target)
    except _BROKEN_ARCHIVE as error:
        raise DamagedFile(f"{name} in {brought.name} cannot be unpacked ({error}).") from error


def _refuse_escapes(brought: Brought, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
            raise UnsafeArchive(f"{brought.name} wants to write outside its folder, to {name!r}. Nothing was unpacked.")
