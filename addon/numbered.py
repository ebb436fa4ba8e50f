# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered pictures: shot_0001.png, shot_0002.png, … No bpy."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import SourceError

_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_MEANS_A_NUMBER = re.compile(r"%0?\d*d|#+")


def pattern_and_number(path: Path) -> tuple[str, int]:
    """shot_0012.png -> (shot_####.png, 12), with the folder. Raises SourceError where the name has no number."""
    if _MEANS_A_NUMBER.search(path.name):
        raise SourceError(f"The name {path.name} has # or %d in it, which stand for numbers.", "Rename the pictures.")
    found = _LAST_NUMBER.search(path.stem)
    if not found:
        raise SourceError(f"{path.name} has no number in its name.", "Number the pictures of the sequence.")
    before, digits, after = path.stem[: found.start()], found.group(), path.stem[found.end() :]
    return str(path.with_name(f"{before}{'#' * len(digits)}{after}{path.suffix}")), int(digits)


def is_pattern(source: str) -> bool:
    """Whether `source` is a pattern rather than a file."""
    path = Path(source)
    return bool(_MEANS_A_NUMBER.search(path.name)) and not path.exists()


def picture_of(pattern: str, number: int) -> Path | None:
    """The picture with that number, of a pattern or of a folder of numbered pictures; None where there is none."""
    return _numbered(Path(pattern)).get(number)


def numbers_of(pattern: str) -> list[int]:
    """All numbers there are, ascending."""
    return sorted(_numbered(Path(pattern)))


def _numbered(path: Path) -> dict[int, Path]:
    if path.is_dir():
        found = ((_LAST_NUMBER.search(each.stem), each) for each in sorted(path.iterdir()))
        return {int(number.group()): each for number, each in found if number}
    if not path.parent.is_dir():
        return {}
    before, after = _MEANS_A_NUMBER.split(path.name, maxsplit=1)
    name = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    return {int(hit[1]): each for each in path.parent.iterdir() if (hit := name.fullmatch(each.name))}
