# SPDX-License-Identifier: GPL-3.0-or-later
"""How well does each recipe learn 32 painted pictures by heart? Prints first and last loss, and what was measured.

    python dev.py bench overfit [tokenhmr | hmr | blade-depth | blade-pose]… [--steps N]

Minutes on a processor core for each recipe.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from recover_body.engine.__main__ import main as recover_body
from recover_body.engine.training.data.tar_set import TarSet
from recover_body.tests.engine import training_samples

RECIPES = ("tokenhmr", "hmr", "blade-depth", "blade-pose")
JUDGED = {"hmr": "recovery"}
"""The term that should fall where the loss has an opponent's part too."""


def run(recipe: str, out: Path, *options: object) -> list[dict[str, float]]:
    """The rows of the log."""
    common = ("--preset", "small", "--device", "cpu", "--log-every", 10, "--evaluate-every", 100)
    status = recover_body(["train", recipe, "--out", str(out), *map(str, common), *map(str, options)])
    if status:
        raise SystemExit(status)
    return json.loads((out / "log.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--steps", type=int, help="default: the preset's")
    given = parser.parse_args()
    steps = ("--steps", given.steps) if given.steps else ()
    with tempfile.TemporaryDirectory() as folder:
        samples, poses = training_samples.write(Path(folder) / "pictures", 32, 128), Path(folder) / "shown.npz"
        dataset = TarSet(samples)
        shown = [dataset.people(n)[0].camera.pose[1:22] for n in range(len(dataset))]
        np.savez(poses, pose_body=np.reshape(shown, (len(shown), 63)))
        for recipe in given.recipes:
            options: tuple[object, ...] = ("--data", samples, "--val", samples, "--no-augment", *steps)
            if recipe == "tokenhmr":
                run("tokenizer", Path(folder) / "words", "--data", poses, "--val", poses, "--steps", 600)
                options += ("--tokenizer", Path(folder) / "words" / "weights.safetensors")
            elif recipe == "hmr":
                options += ("--motions", poses)
            rows = run(recipe, Path(folder) / recipe, *options)
            name = JUDGED.get(recipe, "loss")
            held = {key: round(value, 4) for key, value in rows[-1].items() if key.startswith("val_")}
            fall = 1 - rows[-1][name] / rows[0][name]
            print(f"{recipe}: {name} {rows[0][name]:.4g} -> {rows[-1][name]:.4g} in {rows[-1]['step']} steps")
            print(f"  ({fall:.0%} less); {held}", flush=True)


if __name__ == "__main__":
    main()
