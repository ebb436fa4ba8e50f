# SPDX-License-Identifier: GPL-3.0-or-later
"""Options to shards: picture by picture, each of which depends on the seed and its number alone."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2

from ... import __version__
from .. import outputs
from ..console import Bar, Lines
from ..errors import BadRequest
from ..pipeline import Clock
from ..synth_command import SHEET
from ..training.data.bad_data import Tally
from ..training.data.motions import read_sets
from ..training.data.shards import ShardWriter
from .pictures import Sample, sample, sheet
from .poses import Poses

NAME = "synth"
_AT_ONCE = 32


def make(options: argparse.Namespace) -> dict:
    """Write the shards, a sheet to look at and the recipe. Raises `BadRequest`, `OutputNotWritable`, `BadSample`."""
    outputs.check_folder(options.out)
    if any(options.out.glob("*.tar")):
        raise BadRequest(f"There are .tar files in {options.out} already.", "Name another folder, or empty this one.")
    poses = _poses(options.motions)
    console = (Bar if sys.stderr.isatty() else Lines)(sys.stderr, lambda: "")
    clock = Clock(NAME, lambda progress: console.progress(str(options.out), progress), {"draw": (0.0, 1.0)})
    people, shown = 0, []
    draw = partial(sample, options.seed, longer_px=options.size, poses=poses, close_up_share=options.close_ups)
    with clock.stage("draw"), ShardWriter(options.out, NAME, options.per_shard) as shards:
        for number, one in enumerate(_in_turn(draw, options.count, options.workers)):
            shards.add(f"{number:06}", one.image_rgb, one.labels, one.mask)
            people += len(one.labels)
            if len(shown) < SHEET:
                shown.append(one)
            clock.report("draw", (number + 1) / options.count, f"picture {number + 1} of {options.count}")
    console.end(0)
    extra = _written(options, shown)
    files = [*sorted(options.out.glob(f"{NAME}-*.tar")), *extra]
    return {
        "folder": str(options.out),
        "pictures": options.count,
        "people": people,
        "files": [str(path) for path in files],
    }


def _in_turn(draw: Callable[[int], Sample], count: int, workers: int) -> Iterator[Sample]:
    """Pictures 0 … count - 1, drawn by several processes where asked to; the same ones in any case."""
    if workers <= 1:
        yield from map(draw, range(count))
        return
    # Spawned, because libraries with threads of their own do not survive a fork; and some at a time, to bound memory.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for begin in range(0, count, _AT_ONCE * workers):
            yield from pool.map(draw, range(begin, min(begin + _AT_ONCE * workers, count)), chunksize=4)


def _poses(motions: Path | None) -> Poses:
    if motions is None:
        return Poses()
    if not motions.exists():
        raise BadRequest(
            f"There is no {motions}.", "Name a folder or an .npz of motions; docs/training.md lists layouts."
        )
    return Poses(tuple(read_sets(motions, "stop", Tally())))


def _written(options: argparse.Namespace, shown: list[Sample]) -> list[Path]:
    recipe = {
        "seed": options.seed,
        "count": options.count,
        "size": options.size,
        "close_ups": options.close_ups,
        "motions": None if options.motions is None else options.motions.name,
        "version": __version__,
    }
    with outputs.Staged(options.out) as staged:
        staged.path("recipe.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        done, png = cv2.imencode(".png", sheet(shown)[..., ::-1])
        assert done
        staged.path("sheet.png").write_bytes(png.tobytes())
    return list(staged.written.values())
