# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several verbs share: camera, motion, and what is written."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace

from ..wire.messages import CameraHint, MotionOptions


def add_motion(parser: argparse.ArgumentParser) -> None:
    """What is done to the motion of clips; see `changed_motion`."""
    motion = parser.add_argument_group("motion of clips")
    motion.add_argument(
        "--smooth",
        type=_smoothing,
        metavar="S",
        help="smooth slow motion over S seconds and quick motion over less; off, or auto (default)",
    )
    for name, what in (
        ("fill-gaps", "move evenly through frames in which somebody was not seen for a moment"),
        ("ground", "find one ground for everybody from what touches it"),
        ("foot-lock", "keep feet in place while they touch the ground"),
    ):
        motion.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=what)


def changed_motion(before: MotionOptions, options: argparse.Namespace) -> MotionOptions:
    """`before`, with what was asked for on the command line."""
    asked = {name: getattr(options, name) for name in ("fill_gaps", "ground", "foot_lock")}
    motion = replace(before, **{name: value for name, value in asked.items() if value is not None})
    if options.smooth is None:
        return motion
    return replace(motion, smoothing_s=None if options.smooth == AUTO else options.smooth)


AUTO = "auto"


def add_camera(parser: argparse.ArgumentParser, default: str) -> None:
    """What is known of the camera; see `camera_hint`."""
    camera = parser.add_argument_group(f"camera (default: {default})")
    focal = camera.add_mutually_exclusive_group()
    focal.add_argument("--focal-mm", type=number(0.5, 5000), metavar="F", help="focal length in mm")
    focal.add_argument("--focal-px", type=number(1, 1e6), metavar="F", help="focal length in pixels of the picture")
    camera.add_argument(
        "--sensor-mm", type=number(1, 500), metavar="S", help="sensor's longer side in mm (default 36, full frame)"
    )


def add_camera_way(parser: argparse.ArgumentParser) -> None:
    """Who finds what is not known of the camera."""
    way = parser.add_argument_group("finding the camera")
    way.add_argument(
        "--camera",
        default="auto",
        choices=("auto", "fit", "blade"),
        help="fit: from landmarks and outlines; blade: BLADE's depth network and its camera solver, with the bodies of "
        "any backend; auto (default): blade with --backend blade, else fit",
    )
    way.add_argument(
        "--camera-solver",
        default="own",
        choices=("own", "published"),
        help="with BLADE's camera: own (default), or published, its authors' procedure, for comparison (stills; slow)",
    )


def camera_hint(options: argparse.Namespace) -> CameraHint:
    """What was said of the camera."""
    return CameraHint(focal_mm=options.focal_mm, sensor_mm=options.sensor_mm or 36.0, fx_px=options.focal_px)


def add_written(parser: argparse.ArgumentParser) -> None:
    """Which files are written and what is printed."""
    written = parser.add_argument_group("results")
    written.add_argument("--overlay", action="store_true", help="also draw the bodies over the picture")
    written.add_argument("--blend", action="store_true", help="also write a .blend")
    written.add_argument("--blender", metavar="PATH", help="the Blender that writes it (default: looked for)")
    written.add_argument(
        "--min-iou", type=number(0, 1), metavar="X", help="exit with 1 if anybody's silhouette overlaps less than this"
    )
    written.add_argument("--json", action="store_true", help="print one JSON object per event")


def check_together(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with a usage error where options need others."""
    if options.sensor_mm and not options.focal_mm:
        parser.error("--sensor-mm needs --focal-mm")
    if options.blender and not options.blend:
        parser.error("--blender needs --blend")


def number(low: float, high: float) -> Callable[[str], float]:
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


def _smoothing(text: str) -> float | str:
    return AUTO if text == AUTO else 0.0 if text == "off" else number(0, 10)(text)
