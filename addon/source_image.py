# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the .blend: files, packed, generated, painted on, numbered sequences and movies."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..wire.messages import FrameRange
from .errors import SourceError
from .numbered import pattern_and_number
from .pixels import new_image, read_pixels
from .sources import Source
from .timeline import FrameMap

_REFUSED = {
    "VIEWER": ("is made by Blender as it is looked at.", "Save it as a PNG or JPEG and open that."),
    "TILED": ("consists of tiles (UDIM).", "Save the picture you want as a PNG or JPEG and open that."),
}


def source_from_image(image: bpy.types.Image, user: bpy.types.ImageUser | None = None) -> Source:
    """What the image shows: its file if that holds it, else its bytes. `user` says when a movie plays.

    Raises SourceError.
    """
    if image.source in _REFUSED:
        why, remedy = _REFUSED[image.source]
        raise SourceError(f"{image.name} {why}", remedy)
    if image.source in ("MOVIE", "SEQUENCE"):
        return _moving(image, user)
    key = key_of_image(image)
    if key != image.name:
        return Source(key, None, image.name)
    if image.packed_file is not None and not image.is_dirty:
        return Source(key, bytes(image.packed_file.data), image.name)
    if not image.has_data and not has_pixels(image):
        raise SourceError(
            f"The file of {image.name} is missing or cannot be read.", "Find it with File > External Data."
        )
    return Source(key, _encode(image), image.name)


def key_of_image(image: bpy.types.Image) -> str:
    """A still's `Source.path`: its file if that holds what is shown, else its name. Reads no pixels."""
    path = _path(image)
    in_file = not image.is_dirty and image.packed_file is None and path is not None and path.is_file()
    return str(path.resolve()) if in_file else image.name


def has_pixels(image: bpy.types.Image) -> bool:
    """Whether the image can be shown; asking for its size reads the file."""
    return min(image.size) > 0


def _moving(image: bpy.types.Image, user: bpy.types.ImageUser | None) -> Source:
    """At frame n of the timeline Blender shows n - frame_start + 1 + frame_offset of the file."""
    path = _path(image)
    if image.packed_file is not None or path is None:
        raise SourceError(f"{image.name} is packed into the .blend.", "Unpack it with File > External Data.")
    source, before = str(path.resolve()), 0
    if image.source == "SEQUENCE":
        source, number = pattern_and_number(path)
        before = number - 1
    if not (path.is_file() or (image.source == "SEQUENCE" and path.parent.is_dir())):
        raise SourceError(f"There is no file {path}.", "Find it with File > External Data.")
    start, count, offset = (1, image.frame_duration, before)
    if user is not None:
        start, count, offset = user.frame_start, user.frame_duration, user.frame_offset
    is_plain = (start, offset) == (1, 0) and image.source == "MOVIE"
    return Source(
        source,
        None,
        image.name,
        is_clip=True,
        frames=FrameRange(offset + 1, offset + count) if count > 1 else FrameRange(offset + 1),
        timeline=FrameMap.starting(offset + 1, start, sets_time=is_plain),
    )


def _path(image: bpy.types.Image) -> Path | None:
    return Path(bpy.path.abspath(image.filepath, library=image.library)) if image.filepath else None


def _encode(image: bpy.types.Image) -> bytes:
    """What the image shows now, as PNG bytes."""
    copy = new_image("Recover Body source", read_pixels(image))
    try:
        copy.pack()
        return bytes(copy.packed_file.data)
    finally:
        bpy.data.images.remove(copy)
