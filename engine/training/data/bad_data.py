# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad data names its file and its sample, and then stops the training or is counted and passed over, as asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput


class BadSample(BadInput):
    """A training sample cannot be used: something is missing, not finite, of another shape, or cut short."""

    remedy = "Repair or remove it, or pass over such samples with --bad-data skip, which counts them."


@dataclass(frozen=True)
class Where:
    """Which sample: a file, and its name in the file (empty for the file as a whole)."""

    file: Path
    sample: str = ""

    def __str__(self) -> str:
        return f"{self.file}, sample {self.sample}" if self.sample else str(self.file)

    def bad(self, what: str) -> BadSample:
        return BadSample(f"{self}: {what}.")


@dataclass
class Tally:
    """What was passed over, each bad sample once."""

    sentences: dict[str, int] = field(default_factory=dict)
    """What is wrong with whom -> how often it was drawn."""

    def add(self, sentence: str) -> None:
        self.sentences[sentence] = self.sentences.get(sentence, 0) + 1

    def __len__(self) -> int:
        return len(self.sentences)


_NEEDED = object()


@dataclass
class Rows:
    """The arrays of a file that has a row per sample. What is not finite spoils its row, not the file."""

    fields: Mapping[str, Any]
    count: int
    where: Where
    """The file."""
    spoilt: dict[int, str] = field(default_factory=dict)
    """Row -> what is wrong with it."""

    def array(self, name: str, shape: tuple[int | None, ...], default: Any = None) -> np.ndarray:
        """(count, *shape), zeros in spoilt rows; a `default` where it is not there. Raises `BadSample`."""
        wanted = _NEEDED if default is None else default
        return self.sound(name, array_of(self.fields, name, (self.count, *shape), self.where, wanted, finite=False))

    def sound(self, name: str, values: np.ndarray) -> np.ndarray:
        """(count, …) with zeros in place of rows that are not finite, which are noted."""
        good = np.isfinite(values).reshape(self.count, -1).all(1)
        for row in np.flatnonzero(~good).tolist():
            self.spoilt.setdefault(row, f"{name} has numbers that are not finite")
        return np.where(good.reshape(-1, *[1] * (values.ndim - 1)), values, 0).astype(values.dtype)

    def check(self, row: int, sample: str) -> None:
        """Raises `BadSample` for a spoilt row."""
        if row in self.spoilt:
            raise Where(self.where.file, sample).bad(self.spoilt[row])


def array_of(
    fields: Mapping[str, Any],
    name: str,
    shape: tuple[int | None, ...],
    where: Where,
    default: Any = _NEEDED,
    dtype: type = np.float32,
    *,
    finite: bool = True,
) -> np.ndarray:
    """`fields[name]` as an array of `shape` (None: any length), all `finite`; the default where it is not there.

    Raises `BadSample`.
    """
    value = fields.get(name)
    if value is None:
        if default is _NEEDED:
            raise where.bad(f"{name} is missing")
        return np.broadcast_to(np.asarray(default, dtype), [size or 1 for size in shape]).copy()
    try:
        value = np.asarray(value, dtype)
    except (TypeError, ValueError) as error:
        raise where.bad(f"{name} is not an array of numbers ({error})") from error
    if value.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, value.shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise where.bad(f"{name} has the shape {value.shape}, where ({wanted}) is needed")
    if finite and not np.isfinite(value).all():
        raise where.bad(f"{name} has numbers that are not finite")
    return value
