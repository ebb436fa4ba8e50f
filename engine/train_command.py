# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body train tokenizer | tokenhmr | hmr | blade-depth | blade-pose`: the methods of the papers, trained.

Only the options live here; `engine/training` does the work, and is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from ..models.body_files import BodyFileError
from ..models.errors import ModelsError
from .errors import BadRequest, Missing

EXAMPLES = """\
examples:
  recover-body train tokenizer --data data/motions --out runs/tokenizer --preset small
  recover-body train tokenizer --data data/motions --out runs/tokenizer --preset small --resume
  recover-body train tokenhmr --data data/synth --tokenizer runs/tokenizer/best.safetensors \\
                              --out runs/tokenhmr --preset small
  recover-body train hmr --data data/synth --motions data/motions --out runs/hmr --preset small
  recover-body train blade-depth --data data/synth --out runs/depth --preset small
  recover-body train blade-pose --data data/synth --out runs/pose --preset small
  torchrun --nproc_per_node 4 -m recover_body.engine train tokenhmr …        # four GPUs

docs/training.md tells what data look like, and what every recipe does.
"""

PRESET_NAMES = {
    "tokenizer": ("paper", "paper-amass", "released", "released-quirks", "small", "tiny"),
    "tokenhmr": ("paper", "paper-config", "released", "small", "tiny"),
    "hmr": ("paper", "small", "tiny"),
    "blade-depth": ("paper", "small", "tiny"),
    "blade-pose": ("paper", "small", "tiny"),
}
_HELP = {
    "tokenizer": "the pose tokenizer of TokenHMR, from motion capture",
    "tokenhmr": "TokenHMR, from labelled pictures and a tokenizer",
    "hmr": "HMR (2018), the baseline, from labelled pictures and motion capture",
    "blade-depth": "BLADE's first stage: how far away a person is",
    "blade-pose": "BLADE's second stage: the pose that the distance makes plausible",
}


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `train` to the engine's command line."""
    parser = subparsers.add_parser(
        "train",
        help="train the networks of the papers",
        description="Train the networks of the papers, on your data or on synthetic ones.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipes = parser.add_subparsers(dest="recipe", required=True, metavar="RECIPE")
    for name, text in _HELP.items():
        recipe = recipes.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        _add_common(recipe, name)
        _add_own(recipe, name)
        recipe.set_defaults(run=run)
    return parser


def _add_common(parser: argparse.ArgumentParser, recipe: str) -> None:
    what = (
        "folder or .npz of motions" if recipe == "tokenizer" else "folder of .tar shards, .tar, or .npz; =W its weight"
    )
    many = recipe != "tokenizer"
    add = parser.add_argument
    add("--data", nargs="+" if many else None, required=True, metavar="PATH[=W]" if many else "PATH", help=what)
    add("--val", nargs="+" if many else None, metavar="PATH", help="held-out data of the same kind")
    add("--out", type=Path, required=True, metavar="DIR", help="where log, curves, checkpoints and weights go")
    add(
        "--preset", choices=PRESET_NAMES[recipe], default="released" if recipe in ("tokenizer", "tokenhmr") else "paper"
    )
    add("--resume", action="store_true", help="go on from the last checkpoint in --out")
    add("--steps", type=int, help="steps of the optimizer (default: the preset's)")
    add("--batch", type=int, help="samples per step and process (default: the preset's)")
    add("--accumulate", type=int, default=1, metavar="N", help="add up N batches per step")
    add("--rate", type=float, help="learning rate (default: the preset's)")
    add("--precision", choices=("no", "bf16", "fp16"), default="no", help="mixed precision")
    add("--seed", type=int, default=0)
    add("--device", choices=("auto", "cpu"), default="auto")
    add("--workers", type=int, default=0, help="processes that read pictures")
    add("--bad-data", choices=("stop", "skip"), default="stop", help="at samples that cannot be used (default: stop)")
    add("--minutes", type=float, default=math.inf, help="stop after so long, with a checkpoint to resume from")
    add("--log-every", type=int, default=20, metavar="N", help="steps per line of the log")
    add("--evaluate-every", type=int, default=500, metavar="N")
    add("--save-every", type=int, default=500, metavar="N", help="steps per checkpoint")
    add("--body", default="neutral", help="neutral, female, male, or a licensed body file")
    add("--json", action="store_true", help="print the outcome as one JSON object")


def _add_own(parser: argparse.ArgumentParser, recipe: str) -> None:
    add = parser.add_argument
    add("--no-augment", action="store_true", help="show the samples as they are, for instance to overfit a few")
    if recipe == "tokenizer":
        return
    add("--pictures", type=Path, metavar="DIR", help="where the pictures lie that an annotation file names")
    add("--plausible", type=Path, metavar="PATH", help="motion capture; fitted poses unlike any in it are no labels")
    add("--regressor", type=Path, metavar="FILE", help="SMPL_to_J19.pkl, with SMPL's body file")
    if recipe == "tokenhmr":
        add("--tokenizer", required=True, metavar="FILE|ID", help="a trained tokenizer, or tokenhmr-tokenizer")
        add("--init", metavar="FILE|ID", help="checkpoint to begin with: HMR2.0, ViTPose, TokenHMR")
    elif recipe == "hmr":
        add("--motions", type=Path, required=True, metavar="PATH", help="motion capture that the prior takes for real")
    elif recipe == "blade-depth":
        add("--init", metavar="FILE|ID", help="Depth Anything V2 or BLADE, to begin with")
    elif recipe == "blade-pose":
        add("--init", metavar="FILE|ID", help="AiOS or BLADE, to begin with")
        add("--depth", metavar="FILE|ID", help="BLADE's trained first stage (default: the labelled depth)")


def run(options: argparse.Namespace) -> int:
    """Train as asked. Returns 0 when the last step was reached, or --minutes were over."""
    try:
        from .training import command
    except ModuleNotFoundError as error:
        raise Missing(
            f"Training needs the Python package {error.name}.",
            "Run `python dev.py setup`, or `pip install recover-body[train]`.",
        ) from error
    for name in ("steps", "batch", "accumulate", "log_every", "evaluate_every", "save_every"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise BadRequest(f"--{name.replace('_', '-')} must be at least 1.")
    if options.rate is not None and not options.rate > 0:
        raise BadRequest("--rate must be above 0.")
    try:
        outcome = command.train(options)
    except (ModelsError, BodyFileError) as error:  # weights or bodies that were named and do not fit
        raise BadRequest(str(error), error.remedy) from error
    if outcome.is_main:
        print(json.dumps(outcome.as_dict()) if options.json else outcome.in_words())
    return 0
