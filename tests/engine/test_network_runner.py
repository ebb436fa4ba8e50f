# SPDX-License-Identifier: GPL-3.0-or-later
"""Number formats and ways of running, and `recover-body bench` around them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recover_body.engine import network_runner
from recover_body.engine.__main__ import main
from recover_body.engine.benchmarks import crop_networks_work
from recover_body.engine.errors import BadRequest
from recover_body.engine.network_runner import NumbersOverflowed, Settings, TorchRunner
from recover_body.models.hmr2 import PREFIXES, Hmr2, Hmr2Config
from recover_body.models.tokenhmr import TokenHmr, TokenHmrConfig
from recover_body.tests.models.test_inference import network
from recover_body.tests.models.weight_files import small_state

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
CROPS = np.random.default_rng(2).standard_normal((3, 3, 256, 256)).astype(np.float32)


def test_what_the_environment_asks_for(monkeypatch):
    for variable in ("RECOVER_BODY_DTYPE", "RECOVER_BODY_RUNTIME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(network_runner, "torch_device", lambda: CPU)
    assert Settings.from_environment() == Settings(CPU, "fp32", "torch")
    monkeypatch.setattr(network_runner, "torch_device", lambda: torch.device("cuda"))
    assert Settings.from_environment().dtype == "fp16"
    monkeypatch.setenv("RECOVER_BODY_DTYPE", "bf16")
    monkeypatch.setenv("RECOVER_BODY_RUNTIME", "compile")
    assert Settings.from_environment() == Settings(torch.device("cuda"), "bf16", "compile")
    monkeypatch.setenv("RECOVER_BODY_DTYPE", "int4")
    with pytest.raises(BadRequest, match="fp32, bf16, fp16"):
        Settings.from_environment()


def test_the_runner_answers_as_the_network_does():
    exact = network("tokenhmr")
    with torch.inference_mode():
        wanted = exact(torch.from_numpy(CROPS))
    for crops in (CROPS, torch.from_numpy(CROPS)):
        rotations, betas, crop_camera = TorchRunner(exact, Settings(CPU))(crops)
        np.testing.assert_allclose(rotations, wanted.rotations, atol=2e-5)
        np.testing.assert_allclose(betas, wanted.betas, atol=2e-5)
        np.testing.assert_allclose(crop_camera, wanted.crop_camera, atol=2e-5)


def test_graphs_fall_back_where_there_is_no_card():
    runner = TorchRunner(network("hmr2"), Settings(CPU, runtime="graphs"))
    assert "NVIDIA" in runner.note and runner.name.endswith("fp32")
    assert len(runner(CROPS)[1]) == 3


def test_a_compiler_that_fails_is_done_without(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fails)
    runner = TorchRunner(network("hmr2"), Settings(CPU, runtime="compile"))
    assert "compile" in runner.name
    plain = TorchRunner(network("hmr2"), Settings(CPU))(CROPS)
    for ours, theirs in zip(runner(CROPS), plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "compile failed: RuntimeError" in runner.note and "compile" not in runner.name


@pytest.mark.parametrize("count", [1, 3])
def test_batches_are_filled_up_to_buckets_and_cut_again(count, monkeypatch):
    seen = []

    def compiled(function, **_):
        return lambda crops: seen.append(len(crops)) or function(crops)

    monkeypatch.setattr(torch, "compile", compiled)
    made = network("hmr2")
    answer = TorchRunner(made, Settings(CPU, runtime="compile"))(CROPS[:count])
    assert seen == [{1: 1, 3: 4}[count]]
    for ours, theirs in zip(answer, TorchRunner(made, Settings(CPU))(CROPS[:count]), strict=True):
        assert len(ours) == count
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card and a CUDA build of torch")
@pytest.mark.parametrize("runtime", ["torch", "graphs", "compile"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_on_a_card_it_answers_as_on_the_processor(runtime, dtype):
    made = network("tokenhmr")
    wanted = TorchRunner(made, Settings(CPU))(CROPS)
    runner = TorchRunner(made, Settings(torch.device("cuda"), dtype, runtime))
    for crops in (CROPS, CROPS, CROPS[:1]):
        answer = runner(crops)
        for ours, theirs in zip(answer, wanted, strict=True):
            np.testing.assert_allclose(
                ours, theirs[: len(crops)], atol={"fp32": 1e-3, "bf16": 0.2, "fp16": 0.02}[dtype]
            )
    assert not runner.note


def test_an_overflow_is_told():
    made = network("hmr2")
    layer = made.backbone.blocks[0].mlp.fc1
    layer.weight = torch.nn.Parameter(1e6 * layer.weight, requires_grad=False)  # the cached one stays as it is
    with pytest.raises(NumbersOverflowed, match="fp16"):
        TorchRunner(made, Settings(CPU, "fp16"))(CROPS[:1])


# ---- recover-body bench ----


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Benchmarks of the small network, nothing imported."""
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    config = TokenHmrConfig.from_states(small_state("tokenhmr"), small_state("tokenizer"))
    monkeypatch.setitem(crop_networks_work._BUILT, "tokenhmr", lambda: TokenHmr(config))
    state = {name: t for name, t in small_state("hmr2").items() if name.startswith(PREFIXES)}
    monkeypatch.setitem(crop_networks_work._BUILT, "hmr2", lambda: Hmr2(Hmr2Config.from_state(state)))


def test_the_benchmark_tells_what_was_measured(small):
    found = crop_networks_work.measure("tokenhmr", (1, 2))
    assert [row["batch"] for row in found["rows"]] == [1, 2] and "against fp32" not in found
    for row in found["rows"]:
        assert row["crops/s"] == pytest.approx(1e3 / row["ms per crop"], rel=0.02)
        assert row["ms per batch"] == pytest.approx(row["batch"] * row["ms per crop"], rel=0.02)
        assert row["roofline"] == pytest.approx(row["TFLOP/s"] / found["roofline TFLOP/s"], rel=0.05)
    assert {"device", "commit", "torch", "weights", "runtime", "command"} <= set(found["recipe"])
    json.dumps(found, allow_nan=False)
    told = crop_networks_work.in_words(found)
    assert "generated weights" in told and "| batch |" in told


@pytest.mark.parametrize("name", ["tokenhmr", "hmr2"])
def test_the_benchmark_compares_16_bits_with_32(small, name):
    off = {}
    for dtype in ("bf16", "fp16"):
        found = crop_networks_work.measure(name, (1,), dtype=dtype, accuracy="only")
        off[dtype] = found["against fp32"]["vertex mm"]
        assert "rows" not in found and "Against fp32" in crop_networks_work.in_words(found)
    assert 0 < 4 * off["fp16"] < off["bf16"] < 20  # eight times as fine


@pytest.mark.parametrize("options", [["--weights", "imported"], ["--runtime", "onnx"]])
def test_imported_weights_that_are_not_there_are_3(small, options, capsys):
    assert main(["bench", "tokenhmr", "--batch", "1", *options]) == 3
    told = capsys.readouterr().err
    assert "has not been imported" in told and "https://tokenhmr.is.tue.mpg.de" in told


@pytest.mark.parametrize(
    ("arguments", "told"), [(["tokenhmr", "--batch", "0"], "batch sizes"), (["nothing"], "tokenhmr")]
)
def test_wrong_usage_is_2(arguments, told):
    command = [sys.executable, ROOT / "engine" / "launch.py", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and told in done.stderr


def test_help_says_how():
    command = [sys.executable, ROOT / "engine" / "launch.py", "bench", "--help"]
    assert "bench tokenhmr --batch 1,8,64" in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
