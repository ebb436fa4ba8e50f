# SPDX-License-Identifier: GPL-3.0-or-later
"""What a parity check says: one finding per quantity, gathered per fixture file."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ABSOLUTE = 1e-4
"""Tolerance of everything that comes out of a network, unless a check says otherwise."""

COMMITTED = Path(__file__).parent.parent / "fixtures"


@dataclass(frozen=True)
class Finding:
    quantity: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # a NaN is never ok

    @property
    def severity(self) -> float:
        """1 is just within the tolerance."""
        if np.isnan(self.error) or (self.error and not self.tolerance):
            return np.inf
        return self.error / (self.tolerance or 1)


class Fixture:
    """One fixture file: its arrays, what `meta_json` says, and the findings about it."""

    def __init__(self, path: Path):
        self.path = path
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.meta = json.loads(str(self.arrays.pop("meta_json", "{}")))
        self.findings: list[Finding] = []
        self.compared: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def compare(self, quantity: str, ours, tolerance: float = ABSOLUTE, *, relative: bool = False) -> None:
        """Note the largest difference from the stored array, thinned out as that one is."""
        theirs = self.arrays[quantity]
        self.compared.add(quantity)
        ours = thinned(as_numpy(ours), theirs.shape)
        if ours.shape != theirs.shape:
            self.note(f"{quantity} has shape {ours.shape}, not {theirs.shape}", np.inf, tolerance)
            return
        difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0)
        if relative:
            difference /= np.abs(theirs).max()
        self.note(quantity, difference, tolerance)

    def note(self, quantity: str, error: float, tolerance: float = ABSOLUTE) -> None:
        self.findings.append(Finding(quantity, float(error), tolerance))

    def keys(self, name: str):
        """A list of tensor names and shapes beside the file, or else the committed one of the same name."""
        folder = self.path.parent
        path = folder / name if (folder / name).exists() else COMMITTED / folder.name / name
        return json.loads(gzip.decompress(path.read_bytes()))


def thinned(ours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Every n-th entry along each axis, with the steps that give `shape`; fixtures keep part of what is large."""
    if ours.ndim != len(shape):
        return ours
    steps = [
        next((step for step in range(1, full + 1) if -(-full // step) == kept), 1)
        for full, kept in zip(ours.shape, shape, strict=True)
    ]
    return ours[tuple(slice(None, None, step) for step in steps)]


def as_numpy(values) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
