# SPDX-License-Identifier: GPL-3.0-or-later
"""Trainings that take minutes; skipped unless asked for."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("accelerate", reason="Training needs accelerate: run `python dev.py setup`.")

from recover_body.engine.__main__ import main
from recover_body.tests.benchmarks.overfit import RECIPES, Overfit


@pytest.mark.slow
def test_the_small_tokenizer_speaks_of_motions_it_has_not_seen(shared, tmp_path):
    options = ("--data", str(shared("data/mocap")), "--out", str(tmp_path / "run"), "--device", "cpu")
    assert main(["train", "tokenizer", *options, "--preset", "small"]) == 0
    rows = [row for row in json.loads((tmp_path / "run" / "log.json").read_text()) if "val_mpjpe_mm" in row]
    errors = [row["val_mpjpe_mm"] for row in rows]
    assert errors[-1] <= 25 and errors[-1] < errors[len(errors) // 2] < errors[0]
    assert rows[-1]["val_used_codes"] >= 0.5


@pytest.fixture(scope="module")
def overfit(tmp_path_factory):
    return Overfit(tmp_path_factory.mktemp("overfit"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_learns_32_pictures_by_heart(recipe, overfit):
    """Minutes each, from random weights: whatever is frozen by mistake, not normalised or cut off would show."""
    learnt = overfit(recipe)
    print(f"{recipe}: {learnt}")
    assert learnt.fall >= 0.9
    if recipe == "blade-depth":
        assert learnt.held_out["relative_error"] <= 0.03
