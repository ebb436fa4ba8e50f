# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body recover`: pictures and clips in, takes, reports, overlays and .blend files out."""

from __future__ import annotations

import argparse
import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path

from ..wire.messages import ALL_FRAMES, CameraHint, FrameRange, GivenCamera, MotionOptions, RecoverRequest, Recovery
from . import blenders, console, outputs, report
from .errors import InternalError, RecoverError, as_expected
from .options import (
    add_camera,
    add_camera_way,
    add_motion,
    add_written,
    camera_hint,
    changed_motion,
    check_together,
    number,
)
from .results import Wanted, write_results
from .streams import end_with_stdin

_DESCRIPTION = """Recover the people in each picture or clip and write, named after it, into the folder of --out:
  NAME.take.npz      everything that was recovered; plain numpy opens it
  NAME.report.json   camera, verdict, seconds and versions
  NAME.overlay.png   with --overlay: the picture with the bodies drawn over it; of a clip a movie, NAME.overlay.mp4
  NAME.verdict.csv   of a clip: the verdict per frame, and as a plot in NAME.verdict.png
  NAME.blend         with --blend: rigged characters and the matched camera
"""
_EPILOG = """exit codes: 0 done; 1 nobody found, or verdict below --min-iou; 2 wrong usage or unreadable input;
3 something required is missing. With several pictures the others go on, and the worst code is returned. After Ctrl-C
in the middle of a clip the same command goes on from there.
"""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "recover",
        help="recover the people in pictures",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="picture (JPEG, PNG, WebP, TIFF; HEIC where installed), movie (MP4, MOV, MKV, AVI, …), folder of numbered "
        "pictures, or pattern (shot_%%04d.png)",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results; made if absent")
    parser.add_argument("--backend", default="auto", metavar="NAME", help="auto (default) or one that `doctor` lists")
    parser.add_argument(
        "--people", default="all", type=_people, metavar="WHO", help="all (default), largest or a number"
    )
    parser.add_argument(
        "--body",
        default="neutral",
        metavar="BODY",
        help="which body to fit: neutral (default), female, male, an imported SMPL-X (smplx-neutral, …) or its file",
    )
    parser.add_argument("--height", type=number(0.3, 3), metavar="M", help="stature of the largest person in metres")
    clip = parser.add_argument_group("clips")
    clip.add_argument(
        "--frames",
        default=ALL_FRAMES,
        type=_frames,
        metavar="A:B[:STEP]",
        help="only frames A to B, every STEP-th; counted from 1, as on Blender's timeline. Either end may be left out",
    )
    clip.add_argument(
        "--fresh", action="store_true", help="begin anew, also where an interrupted run of this clip can be continued"
    )
    add_motion(parser)
    add_camera(parser, "EXIF, else estimated")
    clip.add_argument(
        "--camera-track",
        type=Path,
        metavar="FILE",
        help="a camera that was solved or animated elsewhere, .npz or .json: lens and place in every frame",
    )
    add_camera_way(parser)
    add_written(parser)
    parser.add_argument("--watch-stdin", action="store_true", help="end when stdin ends: for programs that start this")
    parser.set_defaults(run=lambda options: run(options, parser))


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Recover every input; returns the worst exit code."""
    check_together(options, parser)
    if options.watch_stdin:
        end_with_stdin()
    if options.camera_track and (options.focal_mm or options.focal_px):
        parser.error("--camera-track tells the focal length already")
    with console.open_console(options.json) as told:
        try:
            job = _prepare(options)
        except RecoverError as error:
            told.failed("", error)
            worst = error.exit_code
        else:
            worst = max(_recover_one(source, job, told) for source in options.inputs)
        told.end(worst)
        return worst


@dataclass(frozen=True)
class _Job:
    """What is the same for all inputs."""

    options: argparse.Namespace
    body: str
    camera: CameraHint
    given_camera: GivenCamera | None
    wanted: Wanted


def _prepare(options: argparse.Namespace) -> _Job:
    """Everything that can fail before work begins fails here."""
    outputs.check_names(options.inputs, options.out, _endings(options))
    from . import bodies  # here, so that --help needs no numpy

    body, given = bodies.name_of(options.body), None
    if options.camera_track is not None:
        from . import given_camera

        given = given_camera.read(options.camera_track)
    blender = blenders.find(options.blender) if options.blend else None
    outputs.check_folder(options.out)
    return _Job(options, body, camera_hint(options), given, Wanted(options.out, options.overlay, blender))


def _endings(options: argparse.Namespace) -> tuple[str, ...]:
    wanted = {"take.npz": True, "report.json": True, "overlay.png": options.overlay, "blend": options.blend}
    wanted |= {"overlay.mp4": options.overlay, "verdict.csv": True, "verdict.png": True}
    return tuple(ending for ending, asked in wanted.items() if asked)


def _recover_one(source: str, job: _Job, told: console.Console) -> int:
    """Recover one picture and write its files; all of them or none. Returns its exit code."""
    unfinished = job.options.out / f".{outputs.stem(source)}.unfinished"
    if job.options.fresh:
        shutil.rmtree(unfinished, ignore_errors=True)
    try:
        told.started(source)
        recovery = _recover(source, job, told, unfinished)
        summary, files = write_results(source, recovery, job.wanted, told, keep_in=unfinished)
    except KeyboardInterrupt:
        if unfinished.is_dir():
            told.kept(source)
        raise
    except Exception as error:
        failure = as_expected(error, source)
        if isinstance(failure, InternalError):
            traceback.print_exc()
        told.failed(source, failure)
        return failure.exit_code
    shutil.rmtree(unfinished, ignore_errors=True)
    told.done(source, summary, files)
    poor = report.below(summary, job.options.min_iou)
    if poor:
        told.poor(source, poor)
    return 1 if poor else 0


def _recover(source: str, job: _Job, told: console.Console, unfinished: Path) -> Recovery:
    from .pipeline import recover  # here, so that --help needs no OpenCV

    options = job.options
    request = RecoverRequest(
        request_id=source,
        source=source,
        backend=options.backend,
        people=options.people,
        camera=job.camera,
        given_camera=job.given_camera,
        camera_from=options.camera,
        camera_solver=options.camera_solver,
        height_m=options.height,
        body=job.body,
        frames=options.frames,
        motion=changed_motion(MotionOptions(), options),
        want_rigs=options.blend,
    )
    return recover(request, lambda progress: told.progress(source, progress), unfinished)


def _people(text: str) -> str:
    if text in ("all", "largest") or (text.isascii() and text.isdigit() and int(text) > 0):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is neither all, largest nor a number from 1")


def _frames(text: str) -> FrameRange:
    first, _, rest = text.partition(":")
    last, _, step = rest.partition(":")
    try:
        wanted = FrameRange(int(first or 1), int(last) if last else None, int(step or 1))
    except ValueError:
        wanted = None
    if (
        wanted is None
        or ":" not in text
        or wanted.first < 0
        or (wanted.last is not None and wanted.last < wanted.first)
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of frames such as 10:200 or 10:200:2")
    return wanted
