# SPDX-License-Identifier: GPL-3.0-or-later
"""Each recipe can learn 32 pictures by heart. Minutes on a processor core each; skipped unless asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("accelerate", reason="Training needs accelerate: run `python dev.py setup`.")

from recover_body.engine.__main__ import main
from recover_body.engine.training.data.tar_set import TarSet
from recover_body.tests.engine import training_samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return training_samples.write(tmp_path_factory.mktemp("painted"), 32, 128)


@pytest.fixture(scope="module")
def motions(samples, tmp_path_factory):
    """The poses that the pictures show: words for others are of no use here."""
    path, dataset = tmp_path_factory.mktemp("motions") / "shown.npz", TarSet(samples)
    poses = [dataset.people(n)[0].camera.pose[1:22] for n in range(len(dataset))]
    np.savez(path, pose_body=np.reshape(poses, (len(poses), 63)))
    return path


def log_of(recipe: str, out, *options: object) -> list[dict[str, float]]:
    common = ("--preset", "small", "--device", "cpu", "--log-every", 10)
    assert main(["train", recipe, "--out", str(out), *map(str, common), *map(str, options)]) == 0
    return json.loads((out / "log.json").read_text())


def fall(rows: list[dict[str, float]], name: str = "loss") -> float:
    """By which share a term fell from the first steps to the last."""
    return 1 - rows[-1][name] / rows[0][name]


def test_tokenhmr(samples, motions, tmp_path):
    log_of("tokenizer", tmp_path / "words", "--data", motions, "--val", motions, "--steps", 600)
    words = tmp_path / "words" / "weights.safetensors"
    rows = log_of("tokenhmr", tmp_path / "run", "--data", samples, "--tokenizer", words, "--no-augment")
    assert fall(rows) >= 0.9


def test_hmr(samples, motions, tmp_path):
    rows = log_of("hmr", tmp_path / "run", "--data", samples, "--motions", motions, "--no-augment")
    assert fall(rows, "recovery") >= 0.9


def test_blade_depth(samples, tmp_path):
    rows = log_of("blade-depth", tmp_path / "run", "--data", samples, "--val", samples, "--no-augment")
    assert fall(rows) >= 0.9
    assert rows[-1]["val_relative_error"] <= 0.03


def test_blade_pose(samples, tmp_path):
    rows = log_of("blade-pose", tmp_path / "run", "--data", samples, "--no-augment")
    assert fall(rows) >= 0.9
