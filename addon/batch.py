# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command recover_body`: the engine's own command line, with the .blend written by this Blender.

The options, what is printed, the files and the exit codes are those of `recover-body recover`, because it is what runs.
What only a Blender can make (other files for characters, fewer keys, a render) is made afterwards, from the .blend.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bpy

from . import preferences
from .client import EngineClient
from .draw_file import Extras, add_to_blend, draw_file
from .engine_command import engine_command
from .engine_process import clean_environment
from .errors import AddonError, EngineNotFound
from .export import FORMATS
from .motion_files import draw_motion

_HELP = """usage: {program} INPUT ... --out DIR [options]

Recover the people in pictures and clips, and save each as a .blend with rigged characters, beside take and report.
An INPUT may also be a take (NAME.take.npz) or AMASS motion (.npz): it is drawn as it is.

examples:
  {program} photo.jpg --out results
  {program} *.jpg --out results --people largest --overlay
  {program} shot.mp4 --out results --frames 10:200 --json
  {program} shot_%04d.png --out results --focal-mm 35 --sensor-mm 23.6 --min-iou 0.6
  {program} shot.take.npz dance_amass.npz --out results --export FBX,BVH --reduce-keys 2

options of this Blender:
  --engine COMMAND      the engine's Python or a whole command, instead of what the preferences say
  --export KINDS        also write the characters as {kinds} (several with commas between)
  --reduce-keys PX      keep only the keys needed to stay within PX pixels
  --render              also render the characters over the picture, as NAME.render.png

All other options are those of `recover-body recover`, which this runs; a .blend is always written:
"""


def main(arguments: Sequence[str], program: str) -> int:
    """Run the command line `arguments`; returns the exit code."""
    parser = _own_options(program)
    try:
        options, others = parser.parse_known_args(list(arguments))
        if options.recovery and (others or not options.save):
            parser.error("--recovery needs --save OUT.blend, and takes no pictures")
        motion = [word for word in others if word.endswith(".npz") and not word.startswith("-")]
        if motion and (motion != others or options.out is None):
            parser.error("takes and motion files need --out DIR, and no pictures or options of recoveries beside them")
    except SystemExit as end:  # argparse has printed why; Blender must be ended by whoever started it
        return int(end.code or 0)
    extras = Extras(options.export, options.reduce_keys, Path("render") if options.render else None)
    try:
        if options.recovery:
            draw_file(options.recovery, options.save, options.image, options.take)
            return 0
        told = options.engine or preferences.told_engine()
        if motion:
            return _draw_all(told, motion, options.out, extras)
        if {"-h", "--help"} & set(others):
            print(_HELP.format(program=program, kinds=", ".join(FORMATS)), flush=True)
            return _run_engine(told, others)
        return _recover_all(told, others, options.out, extras)
    except AddonError as error:
        return _complain(error)


def _own_options(program: str) -> argparse.ArgumentParser:
    """The options in `_HELP`, and what the engine asks of a Blender: to draw what it computed."""
    parser = argparse.ArgumentParser(prog=program, add_help=False, allow_abbrev=False, usage=f"{program} --help")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--engine", default="")
    parser.add_argument("--export", type=_kinds, default=())
    parser.add_argument("--reduce-keys", type=float)
    parser.add_argument("--render", action="store_true")
    for name, kind in (("--recovery", Path), ("--save", Path), ("--image", str), ("--take", str)):
        parser.add_argument(name, type=kind, default=None if kind is Path else "")
    return parser


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(word.strip().upper() for word in text.split(","))
    if unknown := [kind for kind in kinds if kind not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(FORMATS)}")
    return kinds


def _draw_all(told: str, motion: list[str], out: Path, extras: Extras) -> int:
    """Every file, even if an earlier one fails; returns the worst exit code."""
    worst = 0
    with EngineClient(engine_command(told)) as client:
        for path in motion:
            try:
                draw_motion(client, path, out, extras)
            except AddonError as error:
                worst = max(worst, _complain(error))
    return worst


def _recover_all(told: str, arguments: list[str], out: Path | None, extras: Extras) -> int:
    """The engine's command line, and the extras for each .blend that it wrote; returns the worst exit code."""
    started = time.time()
    where = [] if out is None else ["--out", str(out)]
    worst = _run_engine(told, [*arguments, *where, *([] if "--blend" in arguments else ["--blend"])])
    if out is None or not extras.any:
        return worst
    for word in arguments:
        blend = out / f"{Path(word).stem}.blend"  # of the inputs, these are the ones that were written just now
        if blend.is_file() and blend.stat().st_mtime >= started - 2:
            try:
                add_to_blend(blend, extras)
            except AddonError as error:
                worst = max(worst, _complain(error))
    return worst


def _complain(error: AddonError) -> int:
    print(f"{error.sentence}\n{error.remedy}", file=sys.stderr, flush=True)
    return error.exit_code


def _run_engine(told: str, arguments: list[str]) -> int:
    """`recover-body recover` with these arguments, as a child that prints where this process prints.

    It watches its stdin, which ends with this process, however that ends.
    """
    *command, last = engine_command(told)
    if last != "serve":
        raise EngineNotFound(
            f"The engine's command ends with {last!r} instead of 'serve', so it cannot be asked to recover.",
            "Name the Python of the engine's environment, or its command, with --engine.",
        )
    command += ["recover", "--watch-stdin", *arguments]
    this_blender = {"RECOVER_BODY_BLENDER": bpy.app.binary_path or sys.executable}
    sys.stdout.flush()
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, env=clean_environment(this_blender))
    except OSError as error:
        sentence = f"The engine could not be started: {command[0]} ({error.strerror or error})."
        raise EngineNotFound(sentence) from None
    try:
        return _shell_code(_wait(child))
    finally:
        child.kill()  # if this process was told to end


def _wait(child: subprocess.Popen) -> int:
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the child heard it too, and ends by itself
            continue


def _shell_code(status: int) -> int:
    """What a shell would call it: 128 + n for a process that was ended by the signal n."""
    return status if status >= 0 else 128 - status
