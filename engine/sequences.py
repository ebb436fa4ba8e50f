# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered pictures as a clip: a folder of them, or a pattern such as shot_%04d.png. The numbers are frame numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..wire.messages import ALL_FRAMES, FrameRange
from . import frames
from .clips import ahead
from .errors import BadRequest, UnreadableImage
from .frames import STILL_FPS, Footage

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".tga", ".ppm")
_PATTERN = re.compile(r"%0?\d*d|#+")
_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def is_sequence(source: str) -> bool:
    """Whether `source` names numbered pictures: a folder that holds some, or a pattern."""
    path = Path(source)
    if _PATTERN.search(path.name):
        return not path.exists()
    try:
        return path.is_dir() and bool(_numbered(path))
    except (OSError, ValueError):
        return False


def read(source: str, wanted: FrameRange = ALL_FRAMES) -> Footage:
    """The pictures, not decoded yet. Raises errors.UnreadableImage or one of its kinds, BadRequest for the range."""
    path = Path(source)
    found = _numbered(path) if path.is_dir() else _matching(path)
    last = max(found, default=0) if wanted.last is None else wanted.last
    chosen = [number for number in sorted(found) if wanted.first <= number <= last]
    if wanted.first == 1 and 0 in found:  # sequences from another program may count from 0
        chosen.insert(0, 0)
    chosen = chosen[:: wanted.step]
    if not found:
        raise UnreadableImage(f"There are no pictures {source}.", "Check the spelling and the folder.")
    if not chosen:
        raise BadRequest(f"{source} has no frames {wanted.first} to {last}.", "Choose other frames.")
    first = _first_readable([found[number] for number in chosen])
    size = (first.width, first.height)
    images = SequenceImages([found[number] for number in chosen], size)
    return Footage(path.name, images, np.array(chosen), STILL_FPS, first.exif_focal_36mm, *size)


class SequenceImages:
    """The pictures, decoded anew in each iteration; None for one that is damaged or of another size."""

    def __init__(self, paths: list[Path], size: tuple[int, int]) -> None:
        self._paths, self._size = paths, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, rows: slice) -> SequenceImages:
        return SequenceImages(self._paths[rows], self._size)

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return ahead(self._picture(path) for path in self._paths)

    def _picture(self, path: Path) -> np.ndarray | None:
        try:
            still = frames.read(str(path))
        except UnreadableImage:
            return None
        return next(iter(still.images)) if (still.width, still.height) == self._size else None


def _first_readable(paths: list[Path]) -> Footage:
    """Raises what the first one raises where none can be read."""
    for path in paths:
        try:
            return frames.read(str(path))
        except UnreadableImage:
            continue
    return frames.read(str(paths[0]))


def _numbered(folder: Path) -> dict[int, Path]:
    """Frame number -> path, for the pictures of a folder that share a name but for their number."""
    by_name: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        number = _LAST_NUMBER.search(path.stem)
        if number and path.suffix.lower() in _SUFFIXES:
            name = path.stem[: number.start()] + "#" + path.stem[number.end() :] + path.suffix
            by_name.setdefault(name, {})[int(number.group())] = path
    return max(by_name.values(), key=len, default={})


def _matching(pattern: Path) -> dict[int, Path]:
    before, after = _PATTERN.split(pattern.name, maxsplit=1)
    name = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    if not pattern.parent.is_dir():
        return {}
    return {int(hit.group(1)): path for path in pattern.parent.iterdir() if (hit := name.fullmatch(path.name))}
