# SPDX-License-Identifier: GPL-3.0-or-later
"""A network as ONNX answers as it does in torch, and the engine runs it; with the small configuration."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from recover_body.engine.__main__ import main
from recover_body.engine.backends.hmr2 import Hmr2Backend
from recover_body.engine.backends.tokenhmr import TokenHmrBackend
from recover_body.engine.benchmarks import crop_networks_work
from recover_body.engine.errors import MissingPackage
from recover_body.engine.importer import import_files
from recover_body.models.errors import NotImported
from recover_body.tests.models.weight_files import checkpoint

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="run `python dev.py setup onnx`"
)
CROPS = np.random.default_rng(2).standard_normal((5, 3, 256, 256)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A data folder with TokenHMR imported and exported, in 32 and in 8 bits."""
    files, data = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOVER_BODY_DATA", str(data))
        import_files([checkpoint(files / "m.ckpt"), checkpoint(files / "tokenizer.pth", "tokenizer")])
        for arguments in (["--onnx"], ["--onnx", "--int8"]):
            assert main(["models", "export", "tokenhmr", *arguments]) == 0
    return data


@pytest.fixture
def data(exported, monkeypatch) -> Path:
    monkeypatch.setenv("RECOVER_BODY_DATA", str(exported))
    monkeypatch.delenv("RECOVER_BODY_RUNTIME", raising=False)
    return exported


@needs_onnx
def test_it_answers_as_torch_does(data, monkeypatch):
    exact = TokenHmrBackend().answer(CROPS)
    monkeypatch.setenv("RECOVER_BODY_RUNTIME", "onnx")
    backend = TokenHmrBackend()
    assert "onnxruntime" in backend.runner().name
    for count in (5, 1):
        answer = backend.answer(CROPS[:count])
        for name in ("rotations", "betas", "crop_camera"):
            np.testing.assert_allclose(getattr(answer, name), getattr(exact, name)[:count], atol=1e-4)


@needs_onnx
def test_8_bits_are_smaller_and_near(data, monkeypatch):
    exact = TokenHmrBackend().answer(CROPS)
    monkeypatch.setenv("RECOVER_BODY_RUNTIME", "onnx-int8")
    answer = TokenHmrBackend().answer(CROPS)
    assert 1e-4 < np.abs(answer.rotations - exact.rotations).mean() < 0.015
    assert np.abs(answer.crop_camera - exact.crop_camera).max() < 0.02
    small, large = (data / "models" / "exported" / f"tokenhmr{kind}.onnx.data" for kind in ("-int8", ""))
    assert small.stat().st_size < large.stat().st_size


@needs_onnx
def test_to_another_place(data, tmp_path, capsys):
    """In 8 bits, from the export that is there already."""
    assert main(["models", "export", "tokenhmr", "--onnx", str(tmp_path / "mine.onnx"), "--int8"]) == 0
    told = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.onnx", "mine.onnx.data"]
    assert "exported tokenhmr to" in told and "mine.onnx.data" in told and "non-commercial" in told


@needs_onnx
def test_the_benchmark_runs_it(data):
    found = crop_networks_work.measure("tokenhmr", (1,), runtime="onnx-int8")
    assert "onnxruntime" in found["recipe"]["runtime"] and found["against fp32"]["vertex mm"] > 0


@needs_onnx
def test_an_export_of_other_weights_is_refused(data, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_RUNTIME", "onnx")
    monkeypatch.setattr(TokenHmrBackend, "checksums", lambda self: {"tokenhmr": "of another import"})
    with pytest.raises(NotImported, match="other weights") as caught:
        TokenHmrBackend().runner()
    assert "models export tokenhmr --onnx" in caught.value.remedy


@needs_onnx
def test_without_an_export_it_says_how_to_make_one(data, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_RUNTIME", "onnx-int8")
    (missing,) = (sentence for sentence in Hmr2Backend().missing() if "imported" in sentence)
    assert "hmr2" in missing
    monkeypatch.setattr(Hmr2Backend, "checksums", lambda self: {})
    with pytest.raises(NotImported, match="no exported network") as caught:
        Hmr2Backend().runner()
    assert "models export hmr2 --onnx --int8" in caught.value.remedy


def test_without_the_packages_it_says_which(monkeypatch, tmp_path):
    from recover_body.engine import onnx_export, onnx_runner

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="onnx"):
        onnx_export.export(TokenHmrBackend(), tmp_path / "x.onnx", int8=False)
    with pytest.raises(MissingPackage, match="onnxruntime"):
        onnx_runner.OnnxRunner(tmp_path / "x.onnx", {})
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_nothing_imported_is_3(monkeypatch, tmp_path):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    assert main(["models", "export", "hmr2", "--onnx", str(tmp_path / "out.onnx")]) == 3
    assert list(tmp_path.iterdir()) == []
