# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the picture comes from: a file, an image that lies in the .blend, or one that was painted or generated here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from .errors import SourceError
from .orientation import exif_orientation, upright
from .pixels import new_image, read_pixels

_UPRIGHT_TAG = "recover_body_upright_of"


@dataclass(frozen=True)
class Picture:
    """One picture, ready to be sent."""

    source: str
    """Absolute path, or the image's name where there is no file."""
    data: bytes | None = None
    """The encoded file where the engine cannot read it itself."""
    image_name: str = ""
    """Name of the Blender image it came from; empty for a file."""


def picture_from_file(path: str) -> Picture:
    """A picture on disk. Raises SourceError when there is no such file."""
    absolute = Path(bpy.path.abspath(path)).expanduser()
    if not absolute.is_file():
        raise SourceError(f"There is no file {absolute}.", "Check the name, or choose another picture.")
    return Picture(str(absolute.resolve()))


def picture_from_image(image: bpy.types.Image) -> Picture:
    """An image of the .blend: its file if that holds what is shown, else its bytes. Raises SourceError."""
    if image.source not in ("FILE", "GENERATED"):
        kind = image.source.lower()
        raise SourceError(f"{image.name} is a {kind} image.", "Save the frame you want as a PNG or JPEG and open that.")
    path = Path(bpy.path.abspath(image.filepath, library=image.library)) if image.filepath else None
    if not image.is_dirty:
        if image.packed_file is not None:
            return Picture(image.name, bytes(image.packed_file.data), image.name)
        if path is not None and path.is_file():
            return Picture(str(path.resolve()), None, image.name)
    if not image.has_data and not _load(image):
        raise SourceError(
            f"The file of {image.name} is missing or cannot be read.", "Find it with File > External Data."
        )
    return Picture(image.name, _encode(image), image.name)


def with_bytes(picture: Picture) -> Picture:
    """The same picture, carrying its file's bytes, for an engine on another machine."""
    if picture.data is not None:
        return picture
    return Picture(picture.source, Path(picture.source).read_bytes(), picture.image_name)


def image_behind(picture: Picture, width: int, height: int) -> bpy.types.Image | None:
    """The image for the camera's background, `width` x `height` as the take has it; None if Blender cannot show it.

    Blender ignores the orientation that cameras write into files, the engine obeys it: where the two differ, the
    background is an upright copy, packed into the .blend.
    """
    image = bpy.data.images.get(picture.image_name) if picture.image_name else None
    try:
        if image is None:
            image = bpy.data.images.load(picture.source, check_existing=True)
        is_movie = image.source == "MOVIE"  # which the engine turns upright too, but may be far too large to read here
        orientation = 1 if is_movie else exif_orientation(picture.data or Path(picture.source).read_bytes())
    except (RuntimeError, OSError):
        return None  # moved or deleted in the meantime
    if not _load(image):
        return None
    if orientation > 1:
        image = _upright_copy(image, orientation)
    return image if tuple(image.size) == (width, height) else None


def _load(image: bpy.types.Image) -> bool:
    """Whether the image has pixels; asking for its size reads the file."""
    return min(image.size) > 0


def _encode(image: bpy.types.Image) -> bytes:
    """What the image shows now, as PNG bytes."""
    copy = new_image("Recover Body source", read_pixels(image))
    try:
        copy.pack()
        return bytes(copy.packed_file.data)
    finally:
        bpy.data.images.remove(copy)


def _upright_copy(image: bpy.types.Image, orientation: int) -> bpy.types.Image:
    for existing in bpy.data.images:
        if existing.get(_UPRIGHT_TAG) == image.name:
            return existing
    copy = new_image(f"{image.name} upright", upright(read_pixels(image), orientation))
    copy.pack()
    copy[_UPRIGHT_TAG] = image.name
    return copy
