# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: seconds of each, from the command line; what is frozen stays, what was interrupted goes on exactly."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("accelerate", reason="Training needs accelerate: run `python dev.py setup`.")

from safetensors.torch import load_file

from recover_body.engine.__main__ import main
from recover_body.engine.training.data.shards import ShardWriter
from recover_body.tests.engine import training_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return training_samples.write(tmp_path_factory.mktemp("painted"), 3, 72)


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    """Six clips that wave and bow, in our layout."""
    random = np.random.default_rng(0)
    phase = np.linspace(0, 2 * np.pi, 20)[:, None, None]
    clips = [0.3 * np.sin(phase + random.uniform(0, 6, (22, 3))) * random.random((22, 3)) for _ in range(6)]
    path = tmp_path_factory.mktemp("motions") / "clips.npz"
    names = [f"wave_{n}" for n in range(6)]
    np.savez(path, poses=np.concatenate(clips), clip_start=np.arange(7) * 20, clip_name=names)
    return path


@pytest.fixture(scope="module")
def tokenizer(motions, tmp_path_factory):
    """Folder of a finished run."""
    folder = tmp_path_factory.mktemp("tokenizer") / "run"
    assert run("tokenizer", folder, "--data", motions, "--steps", 8) == 0
    return folder


def run(recipe: str, out, *options: object) -> int:
    common = ("--preset", "tiny", "--device", "cpu", "--log-every", 2)
    return main(["train", recipe, "--out", str(out), *map(str, common), *map(str, options)])


def test_a_run_leaves_log_curves_checkpoint_and_weights(tokenizer):
    rows = list(csv.DictReader((tokenizer / "log.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4", "6", "8"]
    assert float(rows[-1]["val_mpjpe_mm"]) > 0 and 0 < float(rows[-1]["val_used_codes"]) <= 1
    assert json.loads((tokenizer / "log.json").read_text())[-1]["step"] == 8
    assert (tokenizer / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tokenizer / "checkpoints").iterdir()] == ["step-00000008"]
    assert json.loads((tokenizer / "run.json").read_text())["choices"]["loss"] == "paper"
    assert {"encoder", "decoder", "quantizer"} == {
        name.split(".")[0] for name in load_file(tokenizer / "best.safetensors")
    }


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(motions, tokenizer, tmp_path):
    assert run("tokenizer", tmp_path / "run", "--data", motions, "--steps", 3) == 0
    assert run("tokenizer", tmp_path / "run", "--data", motions, "--steps", 8, "--resume") == 0
    whole, resumed = load_file(tokenizer / "weights.safetensors"), load_file(tmp_path / "run" / "weights.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=1e-6)
    state = [max((folder / "checkpoints").iterdir()) for folder in (tokenizer, tmp_path / "run")]
    counts = [load_file(path / "model.safetensors")["vocabulary.counts"] for path in state]
    torch.testing.assert_close(*counts, rtol=0, atol=1e-6)


def test_a_run_is_not_overwritten_nor_resumed_with_other_choices(motions, tokenizer, capsys, tmp_path):
    assert run("tokenizer", tokenizer, "--data", motions) == 2
    assert "--resume" in capsys.readouterr().err
    assert run("tokenizer", tokenizer, "--data", motions, "--steps", 20, "--resume", "--rate", 0.5) == 2
    assert "choices.rate was 0.002, is 0.5" in capsys.readouterr().err
    assert run("tokenizer", tmp_path / "new", "--data", motions, "--resume") == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_the_released_quirks_stop_the_vocabulary_and_the_noise(motions):
    from dataclasses import replace

    from recover_body.engine.training import tokenizer as recipe
    from recover_body.engine.training.data.motions import read_sets
    from recover_body.models.body_model import load_body

    choices = replace(recipe.PRESETS["tiny"], quirks=True, noise=((0, 5.0),))
    made = recipe.TokenizerRecipe(choices, read_sets(motions), [], load_body("neutral"), 0, 10)
    assert made.rate(0) == made.rate(9) == pytest.approx(2 / 3)
    batch = next(made.batches(0, 4, recipe.Place(0, 1))).batch
    made.begin_step(0)
    made.model(batch, 0)
    made.begin_step(2500)
    before = made.model.tokenizer.quantizer.codebook.clone()
    torch.testing.assert_close(made.model(batch, 2500)["loss"], made.model(batch, 2500)["loss"])  # no noise
    assert torch.equal(made.model.tokenizer.quantizer.codebook, before)


def test_noise_touches_one_part_of_half_of_the_bodies():
    from recover_body.engine.training.tokenizer import PARTS, randomised

    torch.manual_seed(0)
    moved = (randomised(torch.zeros(400, 21, 6), 1.0) != 0).any(-1)
    assert 0.4 < moved.any(1).float().mean() < 0.6
    assert {tuple(row.nonzero().flatten().tolist()) for row in moved if row.any()} == {tuple(sorted(p)) for p in PARTS}


def test_tokenhmr_learns_everything_but_the_words(samples, tokenizer, tmp_path):
    words = ("--tokenizer", tokenizer / "weights.safetensors")
    data = ("--data", samples, "--val", samples)
    assert run("tokenhmr", tmp_path / "whole", *data, *words, "--steps", 4) == 0
    assert run("tokenhmr", tmp_path / "parts", *data, *words, "--steps", 2) == 0
    assert run("tokenhmr", tmp_path / "parts", *data, *words, "--steps", 4, "--resume") == 0
    whole, parts = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert {name.split(".")[0] for name in whole} == {"backbone", "smpl_head"}
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=0, atol=1e-6)
    saved = load_file(next((tmp_path / "whole" / "checkpoints").iterdir()) / "model.safetensors")
    before = load_file(tokenizer / "weights.safetensors")
    assert all(torch.equal(saved[f"network.tokenizer.{name}"], tensor) for name, tensor in before.items())
    begun = tmp_path / "from"
    assert (
        run(
            "tokenhmr",
            begun,
            *data,
            *words,
            "--steps",
            1,
            "--rate",
            1e-9,
            "--init",
            tmp_path / "whole" / "weights.safetensors",
        )
        == 0
    )
    torch.testing.assert_close(load_file(begun / "weights.safetensors"), whole, rtol=0, atol=1e-5)


def test_half_precision_and_accumulated_batches(samples, tokenizer, tmp_path, capsys):
    words = ("--tokenizer", tokenizer / "weights.safetensors")
    options = ("--data", samples, *words, "--steps", 1, "--precision", "bf16", "--accumulate", 2)
    assert run("tokenhmr", tmp_path / "run", *options) == 0
    (row,) = json.loads((tmp_path / "run" / "log.json").read_text())
    assert np.isfinite(row["loss"])
    assert run("tokenhmr", tmp_path / "half", "--data", samples, *words, "--precision", "fp16") == 2
    assert "do not train in fp16" in capsys.readouterr().err


def test_the_command_line_names_the_presets_there_are():
    from recover_body.engine.train_command import PRESET_NAMES
    from recover_body.engine.training.command import PRESETS

    assert {recipe: tuple(presets) for recipe, presets in PRESETS.items()} == PRESET_NAMES


def test_gradients_reach_the_words_through_the_frozen_decoder(tokenizer):
    from recover_body.engine.training import tokenhmr as recipe
    from recover_body.engine.training.bodies import open_body
    from recover_body.engine.training.tokenizer import read_tokenizer

    model = recipe.TokenHmrModel(recipe.PRESETS["tiny"], read_tokenizer(tokenizer / "best.safetensors"), open_body())
    model.predicted(torch.randn(2, 3, 256, 256)).body_pose[:, 5].sum().backward()
    assert model.network.smpl_head.decpose.class_pred_layer.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.network.tokenizer.parameters())


def test_hmr_and_its_judge_learn(samples, motions, tmp_path):
    assert run("hmr", tmp_path / "run", "--data", samples, "--motions", motions, "--steps", 1, "--accumulate", 2) == 0
    names = load_file(tmp_path / "run" / "weights.safetensors")
    assert "regressor.fc1.weight" in names and "discriminator.D_conv1.weight" in names


@pytest.mark.parametrize("recipe", ["hmr", "blade-depth", "blade-pose"])
def test_every_recipe_goes_on_exactly(samples, motions, tmp_path, recipe):
    """With everything that is random: variation, pictures' sizes, the judge's real bodies; and running statistics."""
    options = ("--data", samples, *(("--motions", motions) if recipe == "hmr" else ()))
    assert run(recipe, tmp_path / "whole", *options, "--steps", 3) == 0
    assert run(recipe, tmp_path / "parts", *options, "--steps", 2) == 0
    assert run(recipe, tmp_path / "parts", *options, "--steps", 3, "--resume") == 0
    whole, parts = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)


def test_two_processes_train_together(samples, tokenizer, tmp_path):
    options = ("--preset", "tiny", "--device", "cpu", "--data", samples, "--steps", "2", "--out", tmp_path / "run")
    words = ("--tokenizer", tokenizer / "weights.safetensors", "--accumulate", "2")
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = (*launch, "-m", "recover_body.engine", "train", "tokenhmr", *options, *words)
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["processes"] == 2
    assert ended.stdout.count("Done at step 2") == 1  # one speaks for both


def test_a_tokenizer_is_also_learnt_from_labelled_pictures(samples, tmp_path):
    assert run("tokenizer", tmp_path / "run", "--data", samples, "--val", samples, "--steps", 2, "--no-augment") == 0
    choices = json.loads((tmp_path / "run" / "run.json").read_text())["choices"]
    assert choices["frames"] == {"painted-000000": 3} and choices["noise"] == [] and not choices["mirror"]


def test_the_depth_network_learns_with_a_frozen_backbone(samples, tmp_path):
    data = ("--data", samples, "--val", samples)
    assert run("blade-depth", tmp_path / "run", *data, "--steps", 2, "--save-every", 1) == 0
    one, two = (load_file(path / "model.safetensors") for path in sorted((tmp_path / "run" / "checkpoints").iterdir()))
    changed = {name.split(".")[1] for name in one if not torch.equal(one[name], two[name])}
    assert changed == {"depth_interface", "depth_head"}
    depth = tmp_path / "run" / "weights.safetensors"
    assert run("blade-pose", tmp_path / "pose", *data, "--depth", depth, "--steps", 1) == 0
    assert json.loads((tmp_path / "pose" / "run.json").read_text())["choices"]["depth"] == "network"


def test_the_control_branch_begins_as_a_copy_and_alone_learns():
    from recover_body.engine.training import blade_pose as recipe
    from recover_body.models.blade import PoseNet
    from recover_body.models.body_model import load_body

    made = recipe.PoseModel(recipe.PRESETS["tiny"], load_body("neutral"), None)
    made.freeze()
    network, pictures = made.train().network, torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        near, far = (network.groups(pictures, torch.full((2,), depth_m)) for depth_m in (1.0, 5.0))
    torch.testing.assert_close(near[0].decoded.tokens, near[1].tokens)
    torch.testing.assert_close(near[1].tokens, far[1].tokens)  # the depth says nothing yet
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {
        *("control", "map_shifts", "position_shifts")
    }
    people = network(pictures, torch.tensor([1.0, 2.0]))
    people.body_rotations.square().sum().backward()
    assert network.map_shifts.linear[0].weight.grad.abs().sum() > 0
    read = PoseNet.from_state(network.published_state(), candidates=1, groups=1)
    with torch.no_grad():
        again = read(pictures, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(again.body_rotations, people.body_rotations.detach(), rtol=0, atol=1e-3)


def test_bad_data_stops_or_is_counted(samples, tmp_path, capsys):
    whole = (samples / "painted-000000.tar").read_bytes()
    data = tmp_path / "cut"
    data.mkdir()
    (data / "cut-000000.tar").write_bytes(whole[: len(whole) * 2 // 3])
    assert run("blade-depth", tmp_path / "stop", "--data", data) == 2
    said = capsys.readouterr().err
    assert re.search(r"cut-000000\.tar, sample 00000\d: the tar ends within", said) and "--bad-data skip" in said
    image, labels, _ = training_samples.sample(np.random.default_rng(0), 72)
    with ShardWriter(data, "nan") as shards:
        shards.add("good", image, labels)
        shards.add("bad", image, replace(labels, betas=np.full((1, 10), np.nan)))
    given = ("--data", data, "--val", data, "--bad-data", "skip", "--steps", 1, "--json")
    assert run("blade-depth", tmp_path / "skip", *given) == 0
    skipped = sorted(json.loads(capsys.readouterr().out)["skipped"])
    assert len(skipped) == 2 and "cut-000000.tar" in skipped[0]
    assert "nan-000000.tar, sample bad: betas has numbers that are not finite" in skipped[1]  # seen when measuring


@pytest.mark.parametrize(
    "options, words",
    [
        (("--data", "nowhere"), "There is no nowhere"),
        (("--data", "{samples}", "--steps", 0), "--steps must be at least 1"),
        (("--data", "{samples}=0"), "must be above 0"),
    ],
)
def test_wrong_options_are_explained(samples, tmp_path, capsys, options, words):
    given = [str(option).format(samples=samples) for option in options]
    assert run("blade-depth", tmp_path / "run", *given) == 2
    assert words in capsys.readouterr().err


def test_a_tokenizer_that_is_none_is_explained(samples, tokenizer, tmp_path, capsys):
    wrong = tokenizer / "run.json"
    assert run("tokenhmr", tmp_path / "run", "--data", samples, "--tokenizer", wrong) == 2
    assert "no checkpoint that can be read" in capsys.readouterr().err


def test_small_weights_are_read_back_as_the_networks_that_were_trained():
    """Heads leave no trace in the tensors, so that presets must have as many as the readers assume."""
    from recover_body.engine.training import blade_depth, tokenhmr
    from recover_body.engine.training.bodies import open_body
    from recover_body.models.depth_anything import DepthAnything, DepthAnythingConfig
    from recover_body.models.pose_tokens import PoseTokenizer, TokenizerConfig
    from recover_body.models.tokenhmr import TokenHmrConfig

    words = PoseTokenizer(TokenizerConfig(width=8, codes=8, code_width=4, doublings=1, shrinkings=1))
    for preset in ("small", "tiny"):
        network = DepthAnything(blade_depth.PRESETS[preset].backbone)
        assert DepthAnythingConfig.from_state(network.state_dict()) == network.config
        made = tokenhmr.TokenHmrModel(tokenhmr.PRESETS[preset], words, open_body()).network
        state = {name: t for name, t in made.state_dict().items() if not name.startswith("tokenizer.")}
        assert TokenHmrConfig.from_states(state, words.state_dict()) == made.config
