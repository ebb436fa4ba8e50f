# SPDX-License-Identifier: GPL-3.0-or-later
"""Options to shards: picture by picture, each of which depends on the seed and its number alone."""

from __future__ import annotations

import argparse
import json
import sys
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


def make(options: argparse.Namespace) -> dict:
    """Write the shards, a sheet to look at and the recipe. Raises `BadRequest`, `OutputNotWritable`, `BadSample`."""
    outputs.check_folder(options.out)
    if any(options.out.glob("*.tar")):
        raise BadRequest(f"There are .tar files in {options.out} already.", "Name another folder, or empty this one.")
    poses = _poses(options.motions)
    console = (Bar if sys.stderr.isatty() else Lines)(sys.stderr, lambda: "")
    clock = Clock(NAME, lambda progress: console.progress(str(options.out), progress), {"draw": (0.0, 1.0)})
    people, shown = 0, []
    with clock.stage("draw"), ShardWriter(options.out, NAME, options.per_shard) as shards:
        for number in range(options.count):
            one = sample(options.seed, number, options.size, poses, options.close_ups)
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
