# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body synth`: labelled pictures of the free bodies, for training and evaluation without any licensed file.

Only the options live here; `engine/synth` does the work, and is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .errors import BadRequest, Missing

SHEET = 24
"""Pictures on the sheet for looking at."""

_EXAMPLES = """\
examples:
  recover-body synth --out data/synth --count 1000
  recover-body synth --out data/close --count 500 --close-ups --seed 1
  recover-body synth --out data/moving --count 2000 --motions data/motions
  recover-body train blade-depth --data data/synth --out runs/depth --preset small
  recover-body evaluate --dataset synth --data data/synth --backend landmarks

Pictures are drawn by the engine's own rasteriser in about a second each: a shaded, clothed body before a made-up room,
with exact labels. They show a network what it needs to run; they are no photographs.
docs/training.md describes the layout.
"""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the engine's command line."""
    parser = verbs.add_parser(
        "synth",
        help="make labelled pictures for training and evaluation",
        description="Make labelled pictures of the free bodies: random shape, pose, clothes, light, room and camera "
        "(18-85 mm, 0.5-8 m), in the layout that training and evaluation read.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="a folder without .tar files")
    add("--count", type=int, required=True, metavar="N", help="how many pictures")
    add("--seed", type=int, default=0, help="the same seed makes the same pictures (default: 0)")
    add("--size", type=int, default=512, metavar="PX", help="longer side of the pictures (default: 512)")
    add("--motions", type=Path, metavar="PATH", help="motion data for the poses (default: the shipped pose prior)")
    add(
        "--close-ups",
        type=float,
        nargs="?",
        const=1.0,
        default=0.2,
        metavar="SHARE",
        help="share of close-ups as in PDHUMAN: 0.5-1.2 m, 18-35 mm, limbs towards the camera (default: 0.2; "
        "without a number all)",
    )
    add("--workers", type=int, default=1, metavar="N", help="processes that draw; the pictures are the same")
    add("--per-shard", type=int, default=1000, metavar="N", help="pictures per .tar (default: 1000)")
    add("--json", action="store_true", help="print the outcome as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the pictures. 0 done; 2 usage; 3 a package is missing."""
    for name, least in (("count", 1), ("size", 64), ("per_shard", 1), ("workers", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise BadRequest(f"--{name.replace('_', '-')} must be at least {least}.")
    if not 0 <= options.close_ups <= 1:
        raise BadRequest("--close-ups is a share from 0 to 1.")
    try:
        from .synth import command
    except ModuleNotFoundError as error:
        raise Missing(
            f"Making pictures needs the Python package {error.name}.",
            "Run `python dev.py setup`, or `pip install recover-body[train]`.",
        ) from error
    made = command.make(options)
    if options.json:
        print(json.dumps(made))
    else:
        print(f"{made['pictures']} pictures of {made['people']} people in {made['folder']}", file=sys.stdout)
        print(*made["files"], sep="\n")
    return 0
