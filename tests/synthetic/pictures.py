# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of synthetic pictures: made once per seed and size, in a Blender process that is ended when it is done."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from .scenes import BUCKETS_M

ROOT = Path(__file__).resolve().parents[2]
MOTIONS = ROOT.parent / "shared" / "data" / "mocap"
CACHE = ROOT / ".cache" / "synthetic"
VERSION = 4
"""Raise it whenever the same seed gives other pictures or labels: the old ones are then left alone.

Pictures also depend on the shipped body files. Those made with earlier ones stay true, because labels lie beside them;
delete the folder to have them made anew.
"""


@dataclass(frozen=True)
class Picture:
    """One rendered picture and what is true of it."""

    path: Path

    @cached_property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return cv2.cvtColor(cv2.imread(str(self.path)), cv2.COLOR_BGR2RGB)

    @cached_property
    def truth(self) -> dict[str, np.ndarray]:
        """See `scenes.labels`."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as data:
            return {name: data[name] for name in data.files}

    def bucket(self, person: int) -> str:
        """near, mid or far, by the depth of the person's pelvis."""
        depth_m = self.truth["joints_cam"][person, 0, 2]
        return next((name for name, (_, high) in BUCKETS_M.items() if depth_m < high), "far")


def folder_of(seed: int, size_px: int) -> Path:
    return CACHE / hashlib.sha256(f"{VERSION} {seed} {size_px}".encode()).hexdigest()[:12]


def pictures(count: int, seed: int, size_px: int, limit_s: float = 3600) -> list[Picture]:
    """The first `count` pictures of a seed, longer side `size_px`; those that are missing are rendered first.

    Raises FileNotFoundError without the motion data, CalledProcessError when Blender fails.
    """
    folder = folder_of(seed, size_px)
    paths = [folder / f"{number:04}.png" for number in range(count)]
    if not all(path.exists() for path in paths):
        if not MOTIONS.exists():
            raise FileNotFoundError(f"Synthetic people need the motion data in {MOTIONS.relative_to(ROOT.parent)}.")
        render(folder, count, seed, size_px, limit_s)
    return [Picture(path) for path in paths]


def render(folder: Path, count: int, seed: int, size_px: int, limit_s: float, *options: str) -> None:
    """Fill a folder; what lies in it is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-m", f"{__package__}.render", str(folder), "--motions", str(MOTIONS)]
    numbers = ["--seed", str(seed), "--count", str(count), "--size", str(size_px)]
    # Blender and its libraries write of things that do not matter here; a failure is shown.
    log = folder / "blender.log"
    with log.open("w") as errors:
        status = subprocess.run([*program, *numbers, *options], stderr=errors, timeout=limit_s, env=_variables())
    if status.returncode:
        print(log.read_text()[-3000:], file=sys.stderr)
        status.check_returncode()


def _variables() -> dict[str, str]:
    """Small linear algebra is quicker without threads, which the renderer needs."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
