# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture or clip behind the camera: what was recovered from, as Blender can show it."""

from __future__ import annotations

from pathlib import Path

import bpy

from .errors import SourceError
from .numbered import picture_of
from .orientation import exif_orientation, upright
from .pixels import new_image, read_pixels
from .source_image import has_pixels
from .sources import Source

_UPRIGHT_TAG, _SEQUENCE_TAG = "recover_body_upright_of", "recover_body_sequence_of"


def footage_behind(
    source: Source, width: int, height: int, turned: bytes = b""
) -> bpy.types.Image | bpy.types.MovieClip | None:
    """What to show behind the camera, `width` x `height` as the take has it; None if Blender cannot show it.

    Blender ignores the orientation that cameras write into files, the engine obeys it: where the two differ, the
    background is an upright copy, packed into the .blend: `turned` if the engine sent one (`Recovery.upright`).
    """
    if clip := bpy.data.movieclips.get(source.clip_name):
        return clip if tuple(clip.size) == (width, height) else None
    image = bpy.data.images.get(source.image_name) if source.image_name else None
    try:
        if image is None and source.is_clip and not Path(source.path).is_file():
            return _sequence(source, (width, height))
        if image is None:
            image = bpy.data.images.load(source.path, check_existing=True)
        # Clips are turned upright by the engine too, but may be far too large to read here.
        moves = image.source in ("MOVIE", "SEQUENCE")
        orientation = 1 if moves else exif_orientation(source.data or Path(source.path).read_bytes())
    except (RuntimeError, OSError):
        return None  # moved or deleted in the meantime
    if not has_pixels(image):
        return None
    if orientation > 1:
        image = _upright_copy(image, orientation, turned)
    return image if tuple(image.size) == (width, height) else None


def footage_size(source: Source) -> tuple[int, int]:
    """Width and height of the footage, upright, in pixels. Raises SourceError."""
    if clip := bpy.data.movieclips.get(source.clip_name):
        return tuple(clip.size)
    if image := bpy.data.images.get(source.image_name):
        size = tuple(image.size)
    else:
        path = source.path if Path(source.path).is_file() else picture_of(source.path, source.frames.first)
        try:
            image = bpy.data.images.load(str(path))
        except RuntimeError:
            raise SourceError(f"{source.title} cannot be read.", "Choose another picture.") from None
        size = tuple(image.size)
        bpy.data.images.remove(image)
    if not source.is_clip:
        data = source.data or Path(source.path).read_bytes()
        size = size[::-1] if exif_orientation(data) > 4 else size  # type: ignore[assignment]
    return size


def _sequence(source: Source, size: tuple[int, int]) -> bpy.types.Image | None:
    """An image of our own: one that the artist loaded as a still must not start to move."""
    for existing in bpy.data.images:
        if existing.get(_SEQUENCE_TAG) == source.path:
            return existing
    first = picture_of(source.path, source.frames.first) or picture_of(source.path, 0)
    if first is None:
        return None
    image = bpy.data.images.load(str(first))
    # Asked now: once it is a sequence, Blender measures picture 1, which may not exist.
    if tuple(image.size) != size:
        bpy.data.images.remove(image)
        return None
    image.source, image[_SEQUENCE_TAG] = "SEQUENCE", source.path
    return image


def _upright_copy(image: bpy.types.Image, orientation: int, encoded: bytes) -> bpy.types.Image:
    for existing in bpy.data.images:
        if existing.get(_UPRIGHT_TAG) == image.name:
            return existing
    name = f"{image.name} upright"
    if encoded:
        copy = bpy.data.images.new(name, 1, 1)
        copy.pack(data=encoded, data_len=len(encoded))
        copy.source = "FILE"
    else:  # seconds for a phone's picture, so that the engine is asked for it where one is at work
        copy = new_image(name, upright(read_pixels(image), orientation))
        copy.pack()
    copy[_UPRIGHT_TAG] = image.name
    return copy
