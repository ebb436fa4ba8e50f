# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body bench blade`: seconds and memory of BLADE's networks, and of the whole way for a person."""

from __future__ import annotations

import argparse
import json

from .crop_networks import batches


def add_parsers(names: argparse._SubParsersAction) -> None:
    """Add the benchmark and its options."""
    parser = names.add_parser(
        "blade",
        help="BLADE: depth, pose, camera and the whole, ms per person, memory",
        description="Measure BLADE on this machine, at full size: the depth network on 518 px, the pose network (AiOS "
        "twice) on 400 px, the camera solver, and all three one after the other.",
    )
    parser.add_argument("--batch", type=batches, default=(1, 4), metavar="N,N", help="people at a time (1,4)")
    parser.add_argument(
        "--weights",
        choices=("imported", "generated"),
        help="generated: random numbers, as fast as real ones (default: imported where they are, else generated)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from . import blade_work

    found = blade_work.measure(options.batch, options.weights)
    print(json.dumps(found, indent=2) if options.json else blade_work.in_words(found))
    return 0
