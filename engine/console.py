# SPDX-License-Identifier: GPL-3.0-or-later
"""What `recover-body recover` prints: a bar on a terminal, single lines in a pipe, JSON objects with --json.

Results go to stdout, errors to stderr. What libraries print is kept back, and shown when something unexpected happens.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from ..wire.messages import Progress
from . import report
from .doubts import in_cm
from .errors import InternalError, RecoverError
from .streams import hushed_libraries


class Console(Protocol):
    """Everything that is told about a run. `source` is the input as it was typed, or "" for the run as a whole."""

    def started(self, source: str) -> None: ...

    def progress(self, source: str, progress: Progress) -> None: ...

    def stage(self, source: str, name: str) -> None:
        """Something that takes a while after the recovery itself."""

    def done(self, source: str, summary: dict, files: dict[str, Path]) -> None: ...

    def poor(self, source: str, sentences: list[str]) -> None:
        """The verdict is below what was asked for."""

    def failed(self, source: str, error: RecoverError) -> None: ...

    def kept(self, source: str) -> None:
        """Interrupted; the same command goes on from here."""

    def end(self, exit_code: int) -> None: ...


@contextmanager
def open_console(as_json: bool) -> Iterator[Console]:
    """The right console for this stdout."""
    with hushed_libraries() as (stdout, library_words):
        if as_json:
            yield JsonEvents(stdout, library_words)
        else:
            kind = Bar if stdout.isatty() else Lines
            yield kind(stdout, library_words)


class JsonEvents:
    """One JSON object per line; `event` is started, progress, done, poor, failed or end."""

    def __init__(self, stdout: TextIO, library_words: Callable[[], str]) -> None:
        self._stdout = stdout
        self._library_words = library_words

    def _say(self, event: str, **fields: object) -> None:
        self._stdout.write(report.to_json({"event": event, **fields}, indent=None) + "\n")

    def started(self, source: str) -> None:
        self._say("started", source=source)

    def progress(self, source: str, progress: Progress) -> None:
        self._say(
            "progress",
            source=source,
            stage=progress.stage,
            fraction=round(progress.fraction, 4),
            eta_s=progress.eta_s,
            detail=progress.detail,
        )

    def stage(self, source: str, name: str) -> None:
        self._say("progress", source=source, stage=name, fraction=1.0, eta_s=None, detail="")

    def done(self, source: str, summary: dict, files: dict[str, Path]) -> None:
        self._say("done", source=source, files=[str(path) for path in files.values()], report=summary)

    def poor(self, source: str, sentences: list[str]) -> None:
        self._say("poor", source=source, sentences=sentences)

    def failed(self, source: str, error: RecoverError) -> None:
        _show_log(error, self._library_words)
        self._say(
            "failed",
            source=source,
            code=error.code,
            sentence=error.sentence,
            remedy=error.remedy,
            exit_code=error.exit_code,
        )

    def kept(self, source: str) -> None:
        self._say("kept", source=source)

    def end(self, exit_code: int) -> None:
        self._say("end", exit_code=exit_code)


class Lines:
    """For pipes and logs: a line per stage, and now and then one while it lasts."""

    _EVERY_S = 10.0

    def __init__(self, stdout: TextIO, library_words: Callable[[], str]) -> None:
        self._stdout = stdout
        self._library_words = library_words
        self._stage = ""
        self._said = time.monotonic()

    def started(self, source: str) -> None:
        self._stage = ""

    def progress(self, source: str, progress: Progress) -> None:
        if progress.stage != self._stage:
            self.stage(source, progress.stage)
        elif time.monotonic() - self._said > self._EVERY_S:
            self._said = time.monotonic()
            self._stdout.write(f"{source}: {progress.fraction:.0%}, {_where(progress)}\n")
            self._stdout.flush()

    def stage(self, source: str, name: str) -> None:
        self._stage, self._said = name, time.monotonic()
        self._stdout.write(f"{source}: {name}\n")

    def done(self, source: str, summary: dict, files: dict[str, Path]) -> None:
        self._stdout.write(f"{source}: {_in_words(summary)}\n")
        for path in files.values():
            self._stdout.write(f"  {path}\n")
        for note in summary["notes"]:
            self._stdout.write(f"  {note}\n")

    def poor(self, source: str, sentences: list[str]) -> None:
        print(*(f"{source}: {sentence}" for sentence in sentences), sep="\n", file=sys.stderr)

    def failed(self, source: str, error: RecoverError) -> None:
        _show_log(error, self._library_words)
        self._stdout.flush()
        print(f"{source}: {error.sentence}" if source else error.sentence, file=sys.stderr)
        print(f"  {error.remedy}", file=sys.stderr)

    def kept(self, source: str) -> None:
        self._stdout.flush()
        print(f"{source}: what has been done is kept; the same command goes on from there.", file=sys.stderr)

    def end(self, exit_code: int) -> None:
        pass


class Bar(Lines):
    """For people: one line that fills."""

    _WIDTH = 24

    def progress(self, source: str, progress: Progress) -> None:
        self._draw(progress.fraction, f"{Path(source).name}  {_where(progress)}")

    def stage(self, source: str, name: str) -> None:
        self._draw(1.0, f"{Path(source).name}  {name}")

    def done(self, source: str, summary: dict, files: dict[str, Path]) -> None:
        self._clear()
        super().done(source, summary, files)

    def failed(self, source: str, error: RecoverError) -> None:
        self._clear()
        super().failed(source, error)

    def kept(self, source: str) -> None:
        self._clear()
        super().kept(source)

    def end(self, exit_code: int) -> None:
        self._clear()

    def _draw(self, fraction: float, words: str) -> None:
        full = round(fraction * self._WIDTH)
        line = f"[{'#' * full}{'-' * (self._WIDTH - full)}] {fraction:4.0%}  {words}"
        columns = shutil.get_terminal_size().columns - 1
        self._stdout.write("\r" + line[:columns].ljust(columns))
        self._stdout.flush()

    def _clear(self) -> None:
        self._stdout.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        self._stdout.flush()


def _where(progress: Progress) -> str:
    words = progress.detail or progress.stage
    if progress.eta_s is None:
        return words
    minutes, seconds = divmod(round(progress.eta_s), 60)
    return f"{words}, {minutes}:{seconds:02} to go"


def _show_log(error: RecoverError, library_words: Callable[[], str]) -> None:
    if isinstance(error, InternalError):
        print(library_words(), end="", file=sys.stderr)


def _in_words(summary: dict) -> str:
    people, camera = summary["people"], summary["camera"]
    focal_mm = camera["fx_px"] / max(camera["width"], camera["height"]) * 36
    verdicts = "; ".join(_verdict_in_words(person) for person in people)
    count = "1 person" if len(people) == 1 else f"{len(people)} people"
    return f"{count} in {summary['seconds']['total']:.1f} s; {verdicts}; camera {focal_mm:.0f} mm ({camera['source']})"


def _verdict_in_words(person: dict) -> str:
    overlap, error_px, error_percent = (
        person[name] for name in ("overlay_iou", "reprojection_px", "reprojection_percent")
    )
    words = "no mask to compare with" if math.isnan(overlap) else f"IoU {overlap:.2f}"
    if not math.isnan(error_px):
        words += f", reprojection {error_px:.1f} px ({error_percent:.1f} %)"
    if not math.isnan(person["expected_error_mm"]):
        words += f", expected error {in_cm(person['expected_error_mm'])}"
    return f"{person['name']} {words}"
