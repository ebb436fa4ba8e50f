# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures to .blend files without a window. Two ways in: draw a recovery that was computed elsewhere, or start the
engine here and recover each picture.

Exit codes: 0 done; 1 nobody found, or verdict below --min-iou; 2 wrong usage or unreadable input; 3 something required
is missing.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from ..wire import codec
from ..wire.amass import BACKEND as AMASS
from ..wire.messages import CameraHint, Failure, Progress, RecoverRequest, Recovery, RerunRequest
from ..wire.take import write_take
from . import preferences
from .background import footage_behind
from .client import EngineClient
from .editors import look_through_camera
from .engine_command import engine_command
from .errors import AddonError, SourceError
from .export import FORMATS, export_people
from .key_reduction import reduce_character
from .render import render_over_picture
from .rerunning import read_motion
from .scene import draw_recovery
from .sources import Source, source_from_file
from .take_store import TAKE

_EXAMPLES = """examples:
  %(prog)s photo.jpg --out results
  %(prog)s *.jpg --out results --people largest --render
  %(prog)s shot.take.npz dance_amass.npz --out results --export FBX,BVH --reduce-keys 2
  %(prog)s --recovery photo.recovery --blend photo.blend --image photo.jpg
"""


def main(arguments: Sequence[str], program: str) -> int:
    """Run the command line `arguments`; returns the exit code."""
    parser = _make_parser(program)
    try:
        options = parser.parse_args(list(arguments))
        if bool(options.recovery) == bool(options.inputs):
            parser.error("give either pictures or --recovery FILE")
        if options.recovery and not options.blend:
            parser.error("--recovery needs --blend OUT.blend")
        if options.inputs and not options.out:
            parser.error("pictures need --out DIR")
    except SystemExit as end:  # argparse has printed why; Blender must be ended by whoever started it
        return int(end.code or 0)
    try:
        return _draw_recovery_file(options) if options.recovery else _recover_all(options)
    except AddonError as error:
        return _complain(error.sentence, error.remedy, error.exit_code)


def _make_parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Recover the people in pictures and save each picture as a .blend with rigged characters.",
        epilog=_EXAMPLES % dict(prog=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="pictures to recover people from, takes, or AMASS motion (.npz)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for <name>.blend and <name>.take.npz")
    parser.add_argument("--engine", default="", metavar="COMMAND", help="Python of the engine, or a whole command")
    parser.add_argument("--backend", default="auto", help="auto (default), landmarks, …")
    parser.add_argument("--people", default="all", metavar="all|largest|N", help="whom to recover")
    parser.add_argument("--body", default="neutral", choices=("neutral", "female", "male"))
    parser.add_argument("--focal-mm", type=float, metavar="F", help="focal length in millimetres, with --sensor-mm")
    parser.add_argument("--sensor-mm", type=float, default=36.0, metavar="S", help="sensor along the longer side")
    parser.add_argument("--focal-px", type=float, metavar="F", help="focal length in pixels of the full picture")
    parser.add_argument("--height", type=float, metavar="M", help="height of the largest person in metres")
    parser.add_argument("--min-iou", type=float, default=0.0, metavar="X", help="exit 1 if an overlap is below this")
    parser.add_argument("--render", nargs="?", const="", metavar="OUT.png", help="also render over the picture")
    parser.add_argument(
        "--export",
        type=_formats,
        default=(),
        metavar="KINDS",
        help=f"also write the characters as {', '.join(FORMATS)} (several with commas between)",
    )
    parser.add_argument(
        "--reduce-keys", type=float, metavar="PX", help="keep only the keys needed to stay within PX pixels"
    )
    drawing = parser.add_argument_group("drawing a recovery that was computed elsewhere")
    drawing.add_argument("--recovery", type=Path, metavar="FILE", help="an encoded Recovery message")
    drawing.add_argument("--blend", type=Path, metavar="OUT.blend", help="the file to write")
    drawing.add_argument("--image", metavar="PICTURE", help="the picture behind the camera")
    return parser


def _formats(text: str) -> tuple[str, ...]:
    kinds = tuple(word.strip().upper() for word in text.split(","))
    if unknown := [kind for kind in kinds if kind not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(FORMATS)}")
    return kinds


# ---------------------------------------------------------------------------------------------- the two ways


def _draw_recovery_file(options: argparse.Namespace) -> int:
    try:
        recovery = codec.decode(options.recovery.read_bytes())
    except OSError as error:
        raise SourceError(f"{options.recovery} cannot be read ({error.strerror}).", "Check the file name.") from None
    except codec.WireError as error:
        raise SourceError(f"{options.recovery} is not a recovery ({error}).", "Recover the picture again.") from None
    if not isinstance(recovery, Recovery):
        raise SourceError(f"{options.recovery} is a {type(recovery).__name__}, not a recovery.", "Check the file name.")
    source = options.image or recovery.take.source
    picture = source_from_file(source) if options.image or Path(source).is_file() else None
    _write_blend(recovery, picture, options.blend, Path(options.render) if options.render else None, options)
    return 0


def _recover_all(options: argparse.Namespace) -> int:
    """Every picture, even if an earlier one fails; returns the worst exit code."""
    try:
        camera = CameraHint(options.focal_mm, options.sensor_mm, options.focal_px)
    except ValueError as error:
        return _complain(f"{error}.", "Check the options.", 2)
    names = [Path(source).stem for source in options.inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return _complain(f"Several pictures are called {twice[0]}.", "Rename one, or give them different --out.", 2)
    codes = []
    with EngineClient(engine_command(options.engine or preferences.told_engine())) as client:
        for number, source in enumerate(options.inputs):
            try:
                codes.append(_recover_one(client, str(number), source, camera, options))
            except AddonError as error:
                codes.append(_complain(error.sentence, error.remedy, error.exit_code))
    return max(codes)


def _recover_one(
    client: EngineClient, request_id: str, source: str, camera: CameraHint, options: argparse.Namespace
) -> int:
    if source.endswith(".npz"):
        take, picture, path = read_motion(source), None, source.removesuffix(".npz").removesuffix(".take")
        client.submit(RerunRequest(request_id, take, camera=camera))
        if Path(take.source).is_file() and take.backend != AMASS:
            picture = source_from_file(take.source)
    else:
        picture = source_from_file(source)
        path = picture.path
        client.submit(
            RecoverRequest(
                request_id,
                path,
                backend=options.backend,
                people=options.people,
                camera=camera,
                height_m=options.height,
                body=options.body,
            )
        )
    print(f"{source}: recovering", flush=True)
    answer = client.wait(request_id, on_progress=_Lines(source))
    if isinstance(answer, Failure):
        return _complain(f"{source}: {answer.sentence}", answer.remedy, answer.exit_code)
    stem = Path(path).name if source.endswith(".npz") else Path(path).stem
    render = None
    if options.render is not None:
        render = Path(options.render) if options.render else options.out / f"{stem}.render.png"
    try:
        write_take(options.out / f"{stem}.take.npz", answer.take)
    except OSError as error:
        return _complain(f"{options.out} cannot be written ({error.strerror}).", "Choose another --out.", 2)
    _write_blend(answer, picture, options.out / f"{stem}.blend", render, options)
    overlaps = [float(np.nanmin(p.overlay_iou)) for p in answer.take.people if np.isfinite(p.overlay_iou).any()]
    return 1 if overlaps and min(overlaps) < options.min_iou else 0


# ---------------------------------------------------------------------------------------------- the file


def _write_blend(
    recovery: Recovery, picture: Source | None, path: Path, render: Path | None, options: argparse.Namespace
) -> None:
    """Draw into an empty file and save it; the file is whole or absent. Raises AddonError."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    camera = recovery.take.camera
    image = footage_behind(picture, camera.width, camera.height) if picture else None
    if picture and image is None:
        print(f"Blender cannot show {picture.path}, so the camera has no background.", file=sys.stderr)
    drawing = draw_recovery(recovery, image, scene)
    drawing.collection[TAKE] = f"//{path.stem}.take.npz"
    _light(scene)
    rigs = [body.rig for body in drawing.bodies]
    if options.reduce_keys is not None and drawing.camera is not None and len(recovery.take.frame_numbers) > 2:
        for rig in rigs:
            done = reduce_character(rig, drawing.camera, scene, options.reduce_keys)
            print(f"{rig.name}: {done.keys_before} keys became {done.keys_after}, {done.error_px:.2f} px", flush=True)
    for screen in bpy.data.screens:
        look_through_camera(screen)
    if image is not None and image.packed_file is None:
        _point_nearby(image, path)
    _save(path)
    print(f"Saved {path}: {len(drawing.bodies)} people", flush=True)
    for kind in options.export:
        for written in export_people(rigs, path, kind, scene):
            print(f"Wrote {written}", flush=True)
    if render is not None:
        render_over_picture(scene, image, render)
        print(f"Rendered {render}", flush=True)


def _light(scene: bpy.types.Scene) -> None:
    """A sun over the photographer's shoulder, and a grey sky: enough for a first render."""
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle = 3.0, math.radians(10)
    sun.rotation_euler = (math.radians(50), 0.0, math.radians(-30))
    scene.collection.objects.link(sun)
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.3, 0.3, 0.3)


def _point_nearby(image: bpy.types.Image, blend: Path) -> None:
    """A picture beside the .blend is named relative to it, so that the folder can be moved as a whole."""
    picture, folder = Path(bpy.path.abspath(image.filepath)).resolve(), blend.resolve().parent
    image.filepath = f"//{picture.name}" if picture.parent == folder else str(picture)


def _save(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".blend", dir=path.parent)
        os.close(handle)
        try:
            bpy.ops.wm.save_as_mainfile(
                filepath=temporary, copy=True, relative_remap=False, compress=True, check_existing=False
            )
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
            Path(f"{temporary}1").unlink(missing_ok=True)  # Blender's backup of the empty temporary file
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{path} cannot be written ({error}).", "Choose another folder.") from None


# ---------------------------------------------------------------------------------------------- words


class _Lines:
    """A line for every new stage."""

    def __init__(self, source: str) -> None:
        self._source, self._stage = source, ""

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage = progress.stage
            print(f"{self._source}: {progress.stage} {progress.fraction:.0%} {progress.detail}".rstrip(), flush=True)


def _complain(sentence: str, remedy: str, exit_code: int) -> int:
    print(f"{sentence}\n{remedy}", file=sys.stderr, flush=True)
    return exit_code
