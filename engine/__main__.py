# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `recover-body recover photo.jpg --out results`. Verbs live in modules of their own.

Exit codes: 0 done; 1 nobody found, or verdict below --min-iou; 2 wrong usage or unreadable input; 3 something required
is missing; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence

from .. import __version__
from ..wire.errors import ExpectedFailure
from .errors import as_expected

INTERRUPTED, PIPE_CLOSED, TERMINATED = 130, 141, 143  # 128 + number of the signal, as shells have it

_VERBS = (
    *("recover_command", "rerun_command", "doctor", "models_command", "bench_command"),
    *("train_command", "evaluate_command", "synth_command", "labels_command"),
)
"""Modules in this folder, each of which adds a verb."""

_EXAMPLES = """examples:
  recover-body recover photo.jpg --out results --overlay --blend
  recover-body recover *.jpg --out results --people largest --min-iou 0.6
  recover-body recover photo.jpg --out results --focal-mm 35 --sensor-mm 23.6
  recover-body rerun results/shot.take.npz --out smoother --smooth 0.1 --overlay
  recover-body doctor
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: sys.argv); returns the exit status. Wrong usage raises SystemExit(2)."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        options = make_parser().parse_args(arguments)
        return options.run(options)
    except (ExpectedFailure, ModuleNotFoundError) as error:
        expected = as_expected(error, "the command")
        print(f"recover-body: {expected.sentence}\n{expected.remedy}", file=sys.stderr)
        return expected.exit_code
    except KeyboardInterrupt:
        print("Interrupted. Nothing is half-written.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as in `recover-body doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains once more, when it flushes at its end
        return PIPE_CLOSED


def make_parser() -> argparse.ArgumentParser:
    """All verbs. Needs nothing heavy: `--help` and `serve` answer at once."""
    parser = argparse.ArgumentParser(
        prog="recover-body",
        description="From pictures of people to rigged, camera-matched characters in Blender.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"recover-body {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    serve = verbs.add_parser(
        "serve",
        help="answer requests on stdin and stdout (what Blender starts)",
        description="Answer requests on stdin and stdout until stdin ends. Blender starts this; see docs/wire.md.",
    )
    serve.set_defaults(run=_serve)
    for module in _VERBS:
        if importlib.util.find_spec(f".{module}", __package__):
            importlib.import_module(f".{module}", __package__).add_parser(verbs)
    return parser


def _serve(_: argparse.Namespace) -> int:
    from .server import serve

    return serve()


def _terminate(signal_number: int, _frame: object) -> None:
    raise SystemExit(TERMINATED)  # so that temporary files are removed on the way out


if __name__ == "__main__":
    sys.exit(main())
