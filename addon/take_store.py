# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the take behind a drawn recovery lies: in a file, so that everything after the network can be done again.

A take is some KB a frame, too much to carry in every .blend and every undo step. It lies in a folder `takes` beside the
.blend; before the .blend has a place, in the user's folder, from where it follows when the file is saved. Its name
holds a hash of its content, so undo finds the take that belongs to what is drawn again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path, PurePath

import bpy

from ..wire.take import Take, TakeError, read_take, write_take
from .errors import SourceError

TAKE = "recover_body_take"
"""Custom property of a recovery's collection: path of its take, relative (//) where it lies beside the .blend."""
_FOLDER = "takes"


def keep_take(take: Take, collection: bpy.types.Collection, notes: list[str]) -> Path | None:
    """Write `take` for the recovery in `collection`. Where there is no room for it, `notes` gets a sentence."""
    blend = bpy.data.filepath
    folder = Path(blend).parent / _FOLDER if blend else _user_folder()
    try:
        path = _write_hashed(take, folder)
    except OSError as error:
        collection.pop(TAKE, None)
        notes.append(f"The take cannot be kept in {folder} ({error.strerror}), so the result cannot be updated later.")
        return None
    point_at(collection, path)
    return path


def point_at(collection: bpy.types.Collection, path: str | Path) -> None:
    """The recovery's take is the file at `path`."""
    blend = bpy.data.filepath
    nearby = bool(blend) and Path(blend).parent in Path(path).parents
    collection[TAKE] = bpy.path.relpath(str(path)) if nearby else str(path)


def take_path(collection: bpy.types.Collection) -> Path | None:
    """Where the recovery's take lies, or lay; None for one that was drawn without."""
    told = str(collection.get(TAKE, ""))
    return Path(bpy.path.abspath(told, library=collection.library)) if told else None


def take_of(collection: bpy.types.Collection) -> Take:
    """The recovery's take. Raises SourceError where it cannot be read."""
    path = take_path(collection)
    if path is None:
        raise SourceError(f"{collection.name} was drawn without a take.", "Recover it again.")
    try:
        return read_take(path)
    except TakeError as error:
        raise SourceError(str(error), "Put the file back, or recover the picture again.") from None


@bpy.app.handlers.persistent
def follow_blend(filepath: str = "", *_) -> None:
    """The .blend is about to be saved as `filepath`: takes that lie in the user's folder, or beside where it was saved
    before, are copied beside it."""
    if not filepath:
        return
    folder = Path(filepath).parent / _FOLDER
    for collection in bpy.data.collections:
        path = take_path(collection) if collection.library is None else None
        if path is None or not path.is_file() or path.parent == folder:
            continue
        if str(collection[TAKE]).startswith("//") or path.parent == _user_folder():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / path.name)
            except OSError:
                collection[TAKE] = str(path)  # it stays where it is, and is still found
                continue
            collection[TAKE] = f"//{_FOLDER}/{path.name}"


def _user_folder() -> Path:
    package = __package__.rpartition(".")[0]
    try:
        return Path(bpy.utils.extension_path_user(package, path=_FOLDER, create=False))
    except ValueError:  # used as a plain package
        return Path(bpy.utils.user_resource("DATAFILES", path=f"recover_body/{_FOLDER}"))


def _write_hashed(take: Take, folder: Path) -> Path:
    temporary = write_take(folder / f"{secrets.token_hex(4)}.part.npz", take)
    try:
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()[:8]
        stem = bpy.path.clean_name(PurePath(take.source).stem) or "take"
        path = folder / f"{stem}.{digest}.take.npz"
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
