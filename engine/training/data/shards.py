# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar files of samples, as WebDataset lays them out: files of one name and several suffixes are one sample.

Two kinds are read: ours (`KEY.png` or `.jpg`, `KEY.people.npz`, perhaps `KEY.mask.png`) and the released training data
of HMR2.0 and TokenHMR (`KEY.jpg`, `KEY.data.pyd`, perhaps `KEY.detection.npz`). A tar is gone through once for the
places of its members and then read where needed, so that any sample can be had at any time and in any order.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from .bad_data import BadSample, Where
from .layout import PeopleLabels

PICTURES = ("png", "jpg", "jpeg")
LABELS = ("people.npz", "data.pyd")
MASK = "mask.png"
_BLOCK = 512


@dataclass(frozen=True)
class Member:
    offset: int
    size: int


@dataclass(frozen=True)
class TarSample:
    where: Where
    members: dict[str, Member]
    """By suffix: everything behind the first dot of the file's name."""

    def read(self, suffix: str) -> bytes:
        member = self.members[suffix]
        with self.where.file.open("rb") as stream:
            stream.seek(member.offset)
            return stream.read(member.size)

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises `BadSample`."""
        return decoded(self.read(self.suffix(PICTURES, "a picture")), self.where)

    def suffix(self, wanted: Sequence[str], what: str) -> str:
        found = next((suffix for suffix in wanted if suffix in self.members), None)
        if found is None:
            raise self.where.bad(f"{what} is missing (.{' or .'.join(wanted)})")
        return found


@dataclass(frozen=True)
class TarIndex:
    samples: list[TarSample]
    problems: list[BadSample] = field(default_factory=list)


def read_index(path: Path) -> TarIndex:
    """The complete samples of a tar, in its order, and what is wrong with the rest."""
    files: dict[str, dict[str, Member]] = {}
    problems = []
    size = path.stat().st_size
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                folder, _, name = info.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                end = info.offset_data + -(-info.size // _BLOCK) * _BLOCK
                if info.offset_data + info.size > size:
                    problems.append(Where(path, key).bad(f"the tar ends within its .{suffix}"))
                    files.pop(key, None)
                    break
                files.setdefault(key, {})[suffix.lower()] = Member(info.offset_data, info.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        problems.append(Where(path).bad(f"it is no tar that can be read ({error})"))
    else:
        if not problems and not _ends_properly(path, end):
            last = next(reversed(files), "")
            problems.append(Where(path).bad(f"the tar is cut short after {last or 'its beginning'}"))
    return TarIndex([TarSample(Where(path, key), members) for key, members in files.items()], problems)


def _ends_properly(path: Path, end: int) -> bool:
    """A tar ends with an empty block; one that was cut between two members does not."""
    with path.open("rb") as stream:
        stream.seek(end)
        return stream.read(_BLOCK) == bytes(_BLOCK)


def decoded(raw: bytes, where: Where) -> np.ndarray:
    """A picture file's bytes -> (H, W, 3) uint8 RGB, EXIF orientation ignored as in the networks' training."""
    image = (
        cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if raw else None
    )
    if image is None:
        raise where.bad("its picture cannot be decoded")
    return np.ascontiguousarray(image[..., ::-1])


class ShardWriter:
    """Writes our samples into `FOLDER/NAME-000000.tar`, …, each of which appears when it is whole.

    with ShardWriter(folder, "synth") as shards:
        shards.add("000000", image_rgb, labels, mask)
    """

    def __init__(self, folder: Path, name: str, samples_per_shard: int = 1000) -> None:
        self._folder, self._name, self._full = folder, name, samples_per_shard
        self._shard, self._count = 0, 0
        self._tar: tarfile.TarFile | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def add(
        self, key: str, image_rgb: np.ndarray, people: PeopleLabels, mask: np.ndarray | None = None, suffix: str = "png"
    ) -> None:
        """A sample: (H, W, 3) uint8, its labels, and (H, W) uint8 mask, 0 background, n + 1 where person n is seen.

        The key names the sample; it may have no dot. `suffix` png or jpg.
        """
        if "." in key:
            raise ValueError(f"A sample's key may have no dot: {key}")
        if self._tar is None:
            self._tar = tarfile.open(self._path.with_suffix(".part"), "w")  # noqa: SIM115 (closed in _close)
        self._put(f"{key}.{suffix}", _encoded(image_rgb[..., ::-1], suffix))
        self._put(f"{key}.people.npz", people.to_npz())
        if mask is not None:
            self._put(f"{key}.{MASK}", _encoded(mask.astype(np.uint8), "png"))
        self._count += 1
        if self._count == self._full:
            self._close()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}-{self._shard:06}.tar"

    def _put(self, name: str, raw: bytes) -> None:
        assert self._tar is not None
        info = tarfile.TarInfo(name)
        info.size = len(raw)
        self._tar.addfile(info, io.BytesIO(raw))

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            os.replace(self._path.with_suffix(".part"), self._path)
            self._tar, self._count, self._shard = None, 0, self._shard + 1

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()
        elif self._tar is not None:
            self._tar.close()
            self._path.with_suffix(".part").unlink()


def _encoded(image: np.ndarray, suffix: str) -> bytes:
    done, raw = cv2.imencode(f".{suffix}", image)
    assert done
    return raw.tobytes()
