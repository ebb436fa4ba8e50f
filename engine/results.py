# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one recovery, for every verb that makes one: take, report, verdict, overlay, .blend."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ..wire.messages import Recovery
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
    source: str, recovery: Recovery, wanted: Wanted, told: console.Console, picture: str | None = None
) -> tuple[dict, dict[str, Path]]:
    """Write all files of one recovery, named after `source`, or none; returns the report and name -> path.

    `picture` is where the picture or clip lies, by default `source` itself.
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
            from .overlay import write_overlay, write_overlay_movie

            told.stage(source, "overlay")
            with _timed(seconds, "overlay"):
                if is_clip:
                    movie = staged.path(f"{stem}.overlay.mp4")
                    write_overlay_movie(movie, picture, recovery.take)
                else:
                    drawing = staged.path(f"{stem}.overlay.png")
                    write_overlay(drawing, picture, recovery.take)
        if wanted.blender:
            from .blend_writer import write_blend

            told.stage(source, "blend")
            with _timed(seconds, "blend"):
                behind = Path(picture) if Path(picture).is_file() else None  # a folder or a pattern is none
                blend, take = staged.path(f"{stem}.blend"), f"{stem}.take.npz"
                write_blend(recovery, blend, wanted.blender, behind, take)
        summary = report.make(recovery.take, seconds)
        staged.path(f"{stem}.report.json").write_text(report.to_json(summary), encoding="utf-8")
    return summary, staged.written


class _timed:
    """Adds the seconds that its block takes."""

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = round(time.perf_counter() - self._started, 4)
