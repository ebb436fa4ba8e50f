# SPDX-License-Identifier: GPL-3.0-or-later
"""What every benchmark says beside its figures: on what, with what, and how to get them again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from ... import __version__
from ..network_runner import device_in_words

ROOT = Path(__file__).resolve().parents[2]


def recipe(**more: object) -> dict[str, object]:
    """Machine, versions and the command; `more` is added."""
    return {
        "device": device_in_words(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads",
        "version": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "command": "recover-body " + " ".join(sys.argv[1:]),
    } | more


def commit() -> str | None:
    """Of the source tree this runs from, if it is one."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def seconds(work: Callable[[], object], at_least: int = 3, at_least_s: float = 1.0, enough_s: float = 30.0) -> float:
    """Median seconds of `work` once it is warm; what it leaves running on a graphics card is waited for."""
    work()
    times: list[float] = []
    while (len(times) < at_least or sum(times) < at_least_s) and sum(times) < enough_s:
        wait()
        started = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def wait() -> None:
    """Until the graphics card, if there is one, has nothing to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_flops(dtype: torch.dtype, where: torch.device) -> float:
    """Operations a second of large matrix products: the most that a network could get from this device."""
    side = 8192 if where.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=where, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, at_least=5)


def peak_bytes() -> int | None:
    """The most memory so far: of the graphics card where there is one, else of this process. None if unknown."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def markdown(rows: Iterable[Mapping[str, object]]) -> str:
    """A table of rows with the same keys."""
    rows = list(rows)
    titles = list(rows[0])
    lines = [titles, ["---:" for _ in titles], *([str(row[title]) for title in titles] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
