# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body bench camera`: the camera solver beside the published procedure, on bodies whose camera is known."""

from __future__ import annotations

import argparse
import json


def add_parsers(names: argparse._SubParsersAction) -> None:
    """Add the benchmark and its options."""
    parser = names.add_parser(
        "camera",
        help="the camera solver beside the published procedure: errors, overlap, seconds",
        description="Solve cameras of drawn bodies (the shipped one in random poses, exact masks, keypoints a little "
        "off), by our solver and by BLADE's published procedure, in one run.",
    )
    parser.add_argument("--count", type=int, default=20, help="bodies (default: %(default)s)")
    parser.add_argument(
        "--published", type=int, default=2, help="on how many of them the published procedure runs too; a minute each"
    )
    parser.add_argument("--batch", type=int, default=16, help="bodies solved together (default: %(default)s)")
    parser.add_argument("--noise-px", type=float, default=2.0, help="how far keypoints are off (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from . import camera_work

    found = camera_work.measure(options.count, options.published, options.batch, options.noise_px, options.seed)
    print(json.dumps(found, indent=2) if options.json else camera_work.in_words(found))
    return 0
