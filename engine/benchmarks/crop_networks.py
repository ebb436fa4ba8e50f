# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body bench tokenhmr | hmr2`: crops a second, memory, and what 16 bits change in the body."""

from __future__ import annotations

import argparse
import json

FLOP_PER_CROP = 252e9
"""Of ViT-H/16 at 256 x 192 and the head: multiplications and additions."""
BATCHES = (1, 8, 64)
COMPARED = {"cuda": 64, "mps": 8, "cpu": 4}
"""Crops on which number formats are compared."""


def add_parsers(names: argparse._SubParsersAction) -> None:
    """Add both networks."""
    for name, title in (("tokenhmr", "TokenHMR"), ("hmr2", "HMR2.0")):
        parser = names.add_parser(
            name,
            help=f"{title}: ms per crop, crops/s, share of the roofline, memory, accuracy in 16 bits",
            description=f"Measure {title} on this machine, at full size.",
        )
        parser.add_argument("--batch", type=batches, default=BATCHES, metavar="N,N", help="batch sizes (1,8,64)")
        parser.add_argument(
            "--weights",
            choices=("imported", "generated"),
            help="generated: random numbers, as fast as real ones (default: imported where they are, else generated)",
        )
        parser.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), help="number format (default: the engine's)")
        parser.add_argument("--runtime", choices=("torch", "graphs", "compile", "onnx", "onnx-int8"), help="see docs")
        parser.add_argument("--compile", dest="runtime", action="store_const", const="compile", help="torch.compile")
        parser.add_argument("--accuracy", choices=("no", "only"), help="without, or only, comparing 16 bits with fp32")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.set_defaults(run=run, network=name)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from . import crop_networks_work

    found = crop_networks_work.measure(
        options.network, options.batch, options.weights, options.dtype, options.runtime, options.accuracy
    )
    print(json.dumps(found, indent=2) if options.json else crop_networks_work.in_words(found))
    return 0


def batches(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1 or max(sizes) > 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of batch sizes such as 1,8,64")
    return sizes
