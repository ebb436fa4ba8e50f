# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body rerun`: takes in, takes with other motion, lens, people or names out, without any network."""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path

from ..wire.messages import RerunRequest
from ..wire.take import Take, TakeError, read_take
from . import blenders, console, outputs, report
from .errors import InternalError, RecoverError, UnreadableTake, as_expected
from .options import add_camera, add_motion, add_written, camera_hint, changed_motion, check_together
from .results import Wanted, write_results

_DESCRIPTION = """Do everything after the network again, in seconds: motion, ground, lens, names, verdict.
Each TAKE is a NAME.take.npz that `recover` or an earlier `rerun` wrote; the results are named after it. What is not
given stays as the take has it. Nothing is lost, even in the folder of the take itself: takes keep what was seen, and a
later rerun can take every choice back.
"""
_EPILOG = """examples:
  recover-body rerun results/shot.take.npz --out smoother --smooth 0.1 --overlay
  recover-body rerun results/shot.take.npz --out matched --focal-mm 35 --sensor-mm 23.6 --blend
  recover-body rerun results/*.take.npz --out raw --smooth off --no-foot-lock --no-ground
  recover-body rerun results/shot.take.npz --out two --people 1,3 --name 1=Ada --name 3=Grace

exit codes: 0 done; 1 verdict below --min-iou; 2 wrong usage or unreadable take; 3 something required is missing.
"""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "rerun",
        help="other motion, lens, people or names for a take, in seconds",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="TAKE", help="NAME.take.npz")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results; made if absent")
    parser.add_argument(
        "--people", type=_numbers, metavar="N[,N]", help="keep these people, numbered from 1 as in their first names"
    )
    parser.add_argument(
        "--name", action="append", default=[], type=_name, metavar="N=NAME", help="what person N is called"
    )
    parser.add_argument(
        "--source", metavar="FILE", help="where the picture or clip lies now, for --overlay and --blend"
    )
    add_motion(parser)
    add_camera(parser, "the take's")
    add_written(parser)
    parser.set_defaults(run=lambda options: run(options, parser))


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Work on every take; returns the worst exit code."""
    check_together(options, parser)
    if options.source and len(options.inputs) > 1:
        parser.error("--source is for one TAKE")
    with console.open_console(options.json) as told:
        try:
            endings = [ending[1:] for ending in (outputs.TAKE_ENDING, ".report.json", ".overlay.png", ".overlay.mp4")]
            outputs.check_names(options.inputs, options.out, [*endings, "blend", "verdict.csv", "verdict.png"])
            blender = blenders.find(options.blender) if options.blend else None
            outputs.check_folder(options.out)
        except RecoverError as error:
            told.failed("", error)
            worst = error.exit_code
        else:
            wanted = Wanted(options.out, options.overlay, blender)
            worst = max(_rerun_one(source, options, wanted, told) for source in options.inputs)
        told.end(worst)
        return worst


def _rerun_one(source: str, options: argparse.Namespace, wanted: Wanted, told: console.Console) -> int:
    """Work on one take and write its files; all of them or none. Returns its exit code."""
    from .rerun import rerun  # here, so that --help needs no OpenCV

    try:
        told.started(source)
        recovery = rerun(_request(source, _read(source), options), lambda progress: told.progress(source, progress))
        picture = options.source or _beside(source, recovery.take)
        summary, files = write_results(source, recovery, wanted, told, picture)
    except Exception as error:
        failure = as_expected(error, source)
        if isinstance(failure, InternalError):
            traceback.print_exc()
        told.failed(source, failure)
        return failure.exit_code
    told.done(source, summary, files)
    poor = report.below(summary, options.min_iou)
    if poor:
        told.poor(source, poor)
    return 1 if poor else 0


def _read(source: str) -> Take:
    try:
        return read_take(source)
    except TakeError as error:
        raise UnreadableTake(str(error)) from None


def _request(source: str, take: Take, options: argparse.Namespace) -> RerunRequest:
    return RerunRequest(
        request_id=source,
        take=take,
        motion=changed_motion(take.motion, options),
        camera=camera_hint(options),
        people=None if options.people is None else tuple(number - 1 for number in options.people),
        names={str(number - 1): name for number, name in options.name},
        want_rigs=options.blend,
    )


def _beside(source: str, take: Take) -> str:
    """The take's picture; if it was moved together with the take, the one that lies there now."""
    moved = Path(source).parent / Path(take.source).name
    return str(moved) if not Path(take.source).exists() and moved.exists() else take.source


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        return tuple(int(part) for part in parts)
    raise argparse.ArgumentTypeError(f"{text!r} is no list of people such as 1,3")


def _name(text: str) -> tuple[int, str]:
    number, _, name = text.partition("=")
    if number.isascii() and number.isdigit() and int(number) > 0 and name.strip():
        return int(number), name.strip()
    raise argparse.ArgumentTypeError(f"{text!r} is no name such as 1=Ada")
