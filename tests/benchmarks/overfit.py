# SPDX-License-Identifier: GPL-3.0-or-later
"""How well does each recipe learn 32 painted pictures by heart? Prints first and last loss, and what was measured.

    python dev.py bench overfit [tokenizer | tokenhmr | hmr | blade-depth | blade-pose]… [--steps N]

The `small` presets, from random weights, nothing varied. Minutes on a processor core for each recipe; with
OMP_NUM_THREADS=1 on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recover_body.engine.__main__ import main as recover_body
from recover_body.engine.training.data.tar_set import TarSet
from recover_body.tests.engine import training_samples

RECIPES = ("tokenizer", "tokenhmr", "hmr", "blade-depth", "blade-pose")
COUNT, SIDE_PX = 32, 128
JUDGED = {"hmr": "recovery"}
"""The term that should fall where the loss has an opponent's part too."""


@dataclass(frozen=True)
class Learnt:
    """What became of a loss."""

    name: str
    first: float
    """Before anything was learnt."""
    last: float
    """Mean over the last ten steps."""
    steps: int
    seconds: float
    held_out: dict[str, float]
    """Of the same pictures, as whoever uses the network sees them."""

    @property
    def fall(self) -> float:
        return 1 - self.last / self.first

    def __str__(self) -> str:
        held_out = ", ".join(f"{name} {value:.4g}" for name, value in self.held_out.items())
        fell = f"{self.name} {self.first:.4g} -> {self.last:.4g} ({self.fall:.1%} less)"
        return f"{fell} in {self.steps} steps, {self.seconds:.0f} s; {held_out}"


class Overfit:
    """Pictures with their poses in a folder, and the recipes that learn them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._samples = training_samples.write(folder / "pictures", COUNT, SIDE_PX)
        self._poses = folder / "shown.npz"
        dataset = TarSet(self._samples)
        shown = [dataset.people(n)[0].camera.pose[1:22] for n in range(len(dataset))]
        np.savez(self._poses, pose_body=np.reshape(shown, (len(shown), 63)))

    def __call__(self, recipe: str, *more: object) -> Learnt:
        options: tuple[object, ...] = ("--data", self._samples, "--val", self._samples)
        if recipe == "tokenizer":
            options = ("--data", self._poses, "--val", self._poses, "--steps", 1_500, "--batch", COUNT)
        elif recipe == "tokenhmr":
            words = self._folder / "tokenizer" / "weights.safetensors"
            if not words.exists():
                self("tokenizer")
            options += ("--tokenizer", words)
        elif recipe == "hmr":
            options += ("--motions", self._poses)
        rows = self._trained(recipe, *options, *more)
        name = JUDGED.get(recipe, "loss")
        held_out = {key.removeprefix("val_"): value for key, value in rows[-1].items() if key.startswith("val_")}
        held_out.pop("score")
        last = float(np.mean([row[name] for row in rows[-10:]]))
        return Learnt(name, rows[0][name], last, int(rows[-1]["step"]), rows[-1]["seconds"], held_out)

    def _trained(self, recipe: str, *options: object) -> list[dict[str, float]]:
        """The rows of the log."""
        out = self._folder / recipe
        common = ("--preset", "small", "--device", "cpu", "--no-augment", "--log-every", 1, "--evaluate-every", 10_000)
        status = recover_body(["train", recipe, "--out", str(out), *map(str, common), *map(str, options)])
        if status:
            raise SystemExit(status)
        return json.loads((out / "log.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--steps", type=int, help="default: the preset's")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overfit = Overfit(Path(folder))
        for recipe in given.recipes:
            learnt = overfit(recipe, *(("--steps", given.steps) if given.steps else ()))
            print(f"{recipe}: {learnt}", flush=True)


if __name__ == "__main__":
    main()
