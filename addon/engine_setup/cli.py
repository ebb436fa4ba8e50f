# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's set-up as a command line: what Blender's preferences start, and what a shell or a farm calls.

Exit codes: 0 done; 1 failed; 2 wrong usage or unusable bundle; 3 something required is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import AddonError
from . import bundle, installer
from .errors import SetupError
from .options import REQUIREMENTS, Accelerator, SetupOptions, detect_accelerator
from .places import Places, engine_places
from .report import Report
from .state import State, look, size_sentence
from .verify import serve_command

_EXAMPLES = """examples:
  %(prog)s install                            what fits this machine; run again to resume or to upgrade
  %(prog)s install --accelerator none         the built-in backend alone, without torch
  %(prog)s install --extra-index-url URL      where a certain build of torch lies
  %(prog)s make-bundle engine.zip             on a machine with network …
  %(prog)s install --bundle engine.zip        … for one of the same kind without
  %(prog)s status --json
"""


def main(arguments: Sequence[str], program: str, places: Places | None = None) -> int:
    """Run the command line `arguments`; returns the exit code."""
    try:
        options = make_parser(program).parse_args(list(arguments))
    except SystemExit as end:  # argparse has printed why; Blender must be ended by whoever started it
        return int(end.code or 0)
    places = places or engine_places()
    voice = _Json() if options.json else _Words()
    try:
        report = Report(places.log, voice.progress)
        if options.watch_stdin:
            _cancel_when_stdin_ends(report)
        status = _VERBS[options.verb](options, places, report, voice)
        voice.notes(report.notes)
        return status
    except AddonError as error:
        voice.failure(error)
        return error.exit_code
    except OSError as error:
        voice.failure(
            SetupError(f"{places.root} cannot be worked in ({error}).", "Check the disk and its permissions.")
        )
        return 1
    except KeyboardInterrupt:
        voice.failure(SetupError("Interrupted.", "Run `install` again: it goes on where it stopped."))
        return 130


def make_parser(program: str) -> argparse.ArgumentParser:
    """All verbs."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Install, mend and remove the engine's own Python environment.",
        epilog=_EXAMPLES % dict(prog=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, installs: bool = False) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.add_argument("--json", action="store_true", help="one JSON object per line")
        # What Blender uses: the child of a Blender that has gone must stop too.
        added.add_argument("--watch-stdin", action="store_true", help="cancel when stdin ends")
        if installs:
            _add_sources(added)
        return added

    verb("status", "tell what is installed")
    verb("install", "install, resume an interrupted installation, or upgrade", installs=True)
    verb("verify", "compare every file with its hash, and start the engine once")
    verb("repair", "install again what is damaged", installs=True)
    verb("uninstall", "remove the engine; imported weights stay")
    added = verb(
        "make-bundle", "download everything into one zip or folder, for a machine without network", installs=True
    )
    added.add_argument("target", type=Path, metavar="ZIP_OR_FOLDER")
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    choices = [kind.value for kind in Accelerator]
    parser.add_argument("--accelerator", choices=choices, default="auto", help="what networks run on (default: auto)")
    parser.add_argument("--python", default="", metavar="PATH", help="Python 3.11 to build on (default: looks for one)")
    parser.add_argument("--index-url", default="", metavar="URL", help="package index instead of pip's own")
    parser.add_argument("--extra-index-url", default="", metavar="URL", help="package index beside it")
    parser.add_argument("--find-links", default="", metavar="URL_OR_FOLDER", help="where wheels lie")
    parser.add_argument("--proxy", default="", metavar="URL")
    parser.add_argument("--bundle", default="", metavar="PATH", help="install from this offline bundle")
    parser.add_argument("--offline", action="store_true", help="never use the network (with --find-links)")
    parser.add_argument("--requirements", type=Path, default=REQUIREMENTS, metavar="DIR", help="other pinned lists")


def _setup_options(options: argparse.Namespace) -> SetupOptions:
    return SetupOptions(
        accelerator=Accelerator(options.accelerator),
        python=options.python,
        index_url=options.index_url,
        extra_index_url=options.extra_index_url,
        find_links=options.find_links,
        proxy=options.proxy,
        bundle=options.bundle,
        offline=options.offline,
        requirements=options.requirements.resolve(),
    )


# ---- verbs


def _status(_options, places: Places, _report: Report, voice) -> int:
    status = look(places)
    record = status.record
    voice.say(
        status.sentence,
        event="status",
        state=status.state.value,
        folder=str(status.environment or places.root),
        accelerator=record.accelerator if record else None,
        version=record.version if record else None,
        megabytes=round(record.bytes / 1e6) if record else None,
        command=list(serve_command(status.environment)) if status.environment else None,
        unfinished=status.unfinished.failure or "interrupted" if status.unfinished else None,
    )
    return 0 if status.state in (State.READY, State.OUTDATED) else 3


def _install(options, places: Places, report: Report, voice) -> int:
    chosen = _setup_options(options)
    if not chosen.bundle:
        accelerator = chosen.accelerator
        accelerator = detect_accelerator() if accelerator is Accelerator.AUTO else accelerator
        voice.progress(0.0, f"For {accelerator.value}: {size_sentence(accelerator)}")
    _say_record(installer.install(chosen, places, report), voice, "installed")
    return 0


def _verify(_options, places: Places, report: Report, voice) -> int:
    _say_record(installer.verify(places, report), voice, "as it was installed, and it answers")
    return 0


def _repair(options, places: Places, report: Report, voice) -> int:
    _say_record(installer.repair(_setup_options(options), places, report), voice, "whole again")
    return 0


def _uninstall(_options, places: Places, report: Report, voice) -> int:
    freed_mb = installer.uninstall(places, report)
    voice.say(f"The engine was removed, {freed_mb} MB are free again; imported weights stay.", event="done")
    return 0


def _make_bundle(options, places: Places, report: Report, voice) -> int:
    chosen = _setup_options(options)
    accelerator = chosen.accelerator
    accelerator = detect_accelerator() if accelerator is Accelerator.AUTO else accelerator
    made = bundle.make_bundle(options.target.resolve(), accelerator, chosen, places, report)
    voice.say(f"{made} is an offline bundle for {accelerator.value}.", event="done", path=str(made))
    return 0


_VERBS = {
    "status": _status,
    "install": _install,
    "verify": _verify,
    "repair": _repair,
    "uninstall": _uninstall,
    "make-bundle": _make_bundle,
}


def _say_record(record, voice, what: str) -> None:
    text = f"The engine is {what} ({record.accelerator}, {record.bytes / 1e6:.0f} MB)."
    voice.say(text, event="done", accelerator=record.accelerator, megabytes=round(record.bytes / 1e6))


def _cancel_when_stdin_ends(report: Report) -> None:
    def watch() -> None:
        os.read(0, 1)
        report.cancelled.set()

    threading.Thread(target=watch, daemon=True).start()


# ---- voices


class _Json:
    """One object per line."""

    def __init__(self) -> None:
        self._last = ""

    def progress(self, fraction: float, text: str) -> None:
        if text != self._last:
            self.say(text, event="progress", fraction=round(fraction, 3))
        self._last = text

    def say(self, text: str, **fields: object) -> None:
        try:
            print(json.dumps({**fields, "text": text}), flush=True)
        except OSError:  # whoever listened has gone; the work is stopped by `_cancel_when_stdin_ends`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115

    def notes(self, notes: list[str]) -> None:
        for note in notes:
            self.say(note, event="note")

    def failure(self, error: AddonError) -> None:
        self.say(error.sentence, event="failure", code=error.code, remedy=error.remedy, exit_code=error.exit_code)


class _Words:
    """For people: one line that is rewritten on a terminal, single lines in a pipe."""

    def __init__(self) -> None:
        self._terminal, self._stage, self._open = sys.stderr.isatty(), "", False

    def progress(self, fraction: float, text: str) -> None:
        stage = text.partition(":")[0]
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + f"{fraction:4.0%} {text}"[:width].ljust(width), end="", file=sys.stderr, flush=True)
            self._open = True
        elif stage != self._stage:
            print(text, file=sys.stderr, flush=True)
        self._stage = stage

    def say(self, text: str, **_fields: object) -> None:
        self._end_line()
        print(text)

    def notes(self, notes: list[str]) -> None:
        self._end_line()
        print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)

    def failure(self, error: AddonError) -> None:
        self._end_line()
        print(f"{error.sentence}\n{error.remedy}", file=sys.stderr)

    def _end_line(self) -> None:
        if self._open:
            print(file=sys.stderr)
            self._open = False
