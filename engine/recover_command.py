# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body recover`: pictures and clips in, takes, reports, overlays and .blend files out."""

from __future__ import annotations

import argparse
import math
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from ..wire.messages import ALL_FRAMES, CameraHint, FrameRange, RecoverRequest, Recovery
from ..wire.take import write_take
from . import blenders, console, outputs, report
from .blenders import Blender
from .errors import InternalError, RecoverError, as_expected

_DESCRIPTION = """Recover the people in each picture or clip and write, named after it, into the folder of --out:
  NAME.take.npz      everything that was recovered; plain numpy opens it
  NAME.report.json   camera, verdict, seconds and versions
  NAME.overlay.png   with --overlay: the picture with the bodies drawn over it; of a clip a movie, NAME.overlay.mp4
  NAME.verdict.csv   of a clip: the verdict per frame, and as a plot in NAME.verdict.png
  NAME.blend         with --blend: rigged characters and the matched camera
"""
_EPILOG = """exit codes: 0 done; 1 nobody found, or verdict below --min-iou; 2 wrong usage or unreadable input;
3 something required is missing. With several pictures the others go on, and the worst code is returned.
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
    parser.add_argument("--body", default="neutral", choices=("neutral", "female", "male"), help="which body to fit")
    parser.add_argument("--height", type=_number(0.3, 3), metavar="M", help="stature of the largest person in metres")
    clip = parser.add_argument_group("clips")
    clip.add_argument(
        "--frames",
        default=ALL_FRAMES,
        type=_frames,
        metavar="A:B[:STEP]",
        help="only frames A to B, every STEP-th; counted from 1, as on Blender's timeline. Either end may be left out",
    )
    clip.add_argument(
        "--smooth", type=_smoothing, metavar="S", help="smooth motion over S seconds (default 0.05), or off"
    )
    camera = parser.add_argument_group("camera (default: EXIF, else estimated)")
    focal = camera.add_mutually_exclusive_group()
    focal.add_argument("--focal-mm", type=_number(0.5, 5000), metavar="F", help="focal length in mm")
    focal.add_argument("--focal-px", type=_number(1, 1e6), metavar="F", help="focal length in pixels of the picture")
    camera.add_argument(
        "--sensor-mm", type=_number(1, 500), metavar="S", help="sensor's longer side in mm (default 36, full frame)"
    )
    written = parser.add_argument_group("results")
    written.add_argument("--overlay", action="store_true", help="also draw the bodies over the picture")
    written.add_argument("--blend", action="store_true", help="also write a .blend")
    written.add_argument("--blender", metavar="PATH", help="the Blender that writes it (default: looked for)")
    written.add_argument(
        "--min-iou", type=_number(0, 1), metavar="X", help="exit with 1 if anybody's silhouette overlaps less than this"
    )
    written.add_argument("--json", action="store_true", help="print one JSON object per event")
    parser.set_defaults(run=lambda options: run(options, parser))


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Recover every input; returns the worst exit code."""
    if options.sensor_mm and not options.focal_mm:
        parser.error("--sensor-mm needs --focal-mm")
    if options.blender and not options.blend:
        parser.error("--blender needs --blend")
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
    camera: CameraHint
    blender: Blender | None


def _prepare(options: argparse.Namespace) -> _Job:
    """Everything that can fail before work begins fails here."""
    outputs.check_names(options.inputs, options.out, _endings(options))
    blender = blenders.find(options.blender) if options.blend else None
    outputs.check_folder(options.out)
    camera = CameraHint(focal_mm=options.focal_mm, sensor_mm=options.sensor_mm or 36.0, fx_px=options.focal_px)
    return _Job(options, camera, blender)


def _endings(options: argparse.Namespace) -> tuple[str, ...]:
    wanted = {"take.npz": True, "report.json": True, "overlay.png": options.overlay, "blend": options.blend}
    wanted |= {"overlay.mp4": options.overlay, "verdict.csv": True, "verdict.png": True}
    return tuple(ending for ending, asked in wanted.items() if asked)


def _recover_one(source: str, job: _Job, told: console.Console) -> int:
    """Recover one picture and write its files; all of them or none. Returns its exit code."""
    try:
        told.started(source)
        recovery = _recover(source, job, told)
        summary, files = _write(source, recovery, job, told)
    except Exception as error:
        failure = as_expected(error, source)
        if isinstance(failure, InternalError):
            traceback.print_exc()
        told.failed(source, failure)
        return failure.exit_code
    told.done(source, summary, files)
    poor = report.below(summary, job.options.min_iou)
    if poor:
        told.poor(source, poor)
    return 1 if poor else 0


def _recover(source: str, job: _Job, told: console.Console) -> Recovery:
    from .pipeline import recover  # here, so that --help needs no OpenCV

    options = job.options
    request = RecoverRequest(
        request_id=source,
        source=source,
        backend=options.backend,
        people=options.people,
        camera=job.camera,
        height_m=options.height,
        body=options.body,
        frames=options.frames,
        smoothing_s=options.smooth,
        want_rigs=options.blend,
    )
    return recover(request, lambda progress: told.progress(source, progress))


def _write(source: str, recovery: Recovery, job: _Job, told: console.Console) -> tuple[dict, dict[str, Path]]:
    """Write all files of one input; returns the report and name -> path."""
    stem, seconds = Path(source).stem, dict(recovery.take.seconds)
    with outputs.Staged(job.options.out) as staged:
        write_take(staged.path(f"{stem}.take.npz"), recovery.take)
        is_clip = len(recovery.take.frame_numbers) > 1
        if is_clip:
            from . import verdict_files

            verdict_files.write_table(staged.path(f"{stem}.verdict.csv"), recovery.take)
            verdict_files.write_plot(staged.path(f"{stem}.verdict.png"), recovery.take)
        if job.options.overlay:
            from .overlay import write_overlay, write_overlay_movie

            told.stage(source, "overlay")
            with _timed(seconds, "overlay"):
                if is_clip:
                    movie = staged.path(f"{stem}.overlay.mp4")
                    write_overlay_movie(movie, source, recovery.take, job.options.frames)
                else:
                    drawing = staged.path(f"{stem}.overlay.png")
                    write_overlay(drawing, source, recovery.take, wanted=job.options.frames)
        if job.blender:
            from .blend_writer import write_blend

            told.stage(source, "blend")
            with _timed(seconds, "blend"):
                picture = Path(source) if Path(source).is_file() else None  # a folder or a pattern is none
                write_blend(recovery, staged.path(f"{stem}.blend"), job.blender, picture)
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


def _smoothing(text: str) -> float:
    return 0.0 if text == "off" else _number(0, 10)(text)


def _number(low: float, high: float):
    """An argparse type: a finite number from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return parse
