# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body bench NAME`: how fast the heavy parts run on this machine, with all that is needed to repeat it.

Benchmarks live in `benchmarks/`, a module each, which adds its own names and options.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util

_EXAMPLES = """examples:
  recover-body bench tokenhmr
  recover-body bench tokenhmr --batch 1,8,64 --dtype bf16 --json
  recover-body bench hmr2 --weights generated --runtime compile
"""

_MODULES = ("crop_networks", "blade", "camera")
"""In `benchmarks/`; each has `add_parsers(names)`."""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and every benchmark's own options. Nothing heavy is loaded."""
    parser = verbs.add_parser(
        "bench",
        help="measure how fast this machine is",
        description="Measure how fast the networks run on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for module in _MODULES:
        if importlib.util.find_spec(f".benchmarks.{module}", __package__):
            importlib.import_module(f".benchmarks.{module}", __package__).add_parsers(names)
