# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one recovery, for every verb that makes one: take, report, verdict, overlay, .blend."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..wire.messages import Progress, Recovery
from ..wire.take import write_take
from . import console, outputs, report
from .blenders import Blender


@dataclass(frozen=True)
class Wanted:
    """Which files are wanted beside take and report, and where."""

    out: Path
    overlay: bool = False
    blender: Blender | None = None
    """The Blender that writes the .blend; None for no .blend."""


def write_results(
    source: str,
    recovery: Recovery,
    wanted: Wanted,
    told: console.Console,
    picture: str | None = None,
    keep_in: Path | None = None,
) -> tuple[dict, dict[str, Path]]:
    """Write all files of one recovery, named after `source`, or none; returns the report and name -> path.

    `picture` is where the picture or clip lies, by default `source` itself. Unfinished work is kept in `keep_in`.
    """
    stem, picture, seconds = outputs.stem(source), picture or source, dict(recovery.take.seconds)
    with outputs.Staged(wanted.out) as staged:
        write_take(staged.path(f"{stem}.take.npz"), recovery.take)
        is_clip = len(recovery.take.frame_numbers) > 1
        if is_clip:
            from . import verdict_files

            verdict_files.write_table(staged.path(f"{stem}.verdict.csv"), recovery.take)
            verdict_files.write_plot(staged.path(f"{stem}.verdict.png"), recovery.take)
        if wanted.overlay:
            from .overlay import write_overlay
            from .overlay_movie import write_overlay_movie

            told.stage(source, "overlay")
            with _timed(seconds, "overlay"):
                if is_clip:
                    movie = staged.path(f"{stem}.overlay.mp4")
                    progress = _frames_told(source, len(recovery.take.frame_numbers), told)
                    write_overlay_movie(movie, picture, recovery.take, progress, keep_in)
                else:
                    drawing = staged.path(f"{stem}.overlay.png")
                    write_overlay(drawing, picture, recovery.take)
        if wanted.blender:
            from .blend_writer import write_blend
            from .sequences import is_sequence

            told.stage(source, "blend")
            with _timed(seconds, "blend"):
                behind = Path(picture) if Path(picture).exists() or is_sequence(picture) else None
                blend, take = staged.path(f"{stem}.blend"), f"{stem}.take.npz"
                write_blend(recovery, blend, wanted.blender, behind, take)
        summary = report.make(recovery.take, seconds)
        staged.path(f"{stem}.report.json").write_text(report.to_json(summary), encoding="utf-8")
    return summary, staged.written


def _frames_told(source: str, count: int, told: console.Console) -> Callable[[int], None]:
    """Tells how many of `count` frames are drawn, how fast, and when the rest will be."""
    started, first = time.perf_counter(), -1

    def tell(done: int) -> None:
        nonlocal first
        first = done if first < 0 else first  # not 0 where an interrupted run goes on
        rate = (done - first) / max(time.perf_counter() - started, 1e-3)
        words = f"frame {done} of {count}" + (f", {rate:.1f} frames/s" if rate else "")
        eta_s = (count - done) / rate if rate else None
        told.progress(source, Progress(source, "overlay", done / count, eta_s, words))

    return tell


class _timed:
    """Adds the seconds that its block takes."""

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = round(time.perf_counter() - self._started, 4)
