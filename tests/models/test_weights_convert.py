# SPDX-License-Identifier: GPL-3.0-or-later
"""What users bring: recognised by content, taken completely or refused with a sentence, and never run."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recover_body.models import errors, safe_pickle, tensor_file, weights_convert
from recover_body.models.body_model import load_body
from recover_body.models.weights import entries, find
from recover_body.models.weights_convert import convert
from recover_body.tests.models.weight_files import Payload, checkpoint, small_state, smpl_pickle


@pytest.fixture
def bring(tmp_path):
    """bring(path, …) converts files into a fresh staging folder and returns it."""

    def bringing(*paths: Path) -> Path:
        staging = tmp_path / "staging"
        staging.mkdir()
        convert(list(paths), staging, lambda what, fraction: None)
        return staging

    return bringing


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_keeps_every_number(bring, tmp_path):
    staging = bring(checkpoint(tmp_path / "any name.ckpt"))
    assert names_in(staging) == ["tokenhmr"]
    written, original = load_file(staging / "tokenhmr" / "weights.safetensors"), small_state("tokenhmr")
    assert written.keys() == {name for name in original if name.startswith(("backbone.", "smpl_head."))}
    assert all(torch.equal(values, original[name]) for name, values in written.items())
    manifest = json.loads((staging / "tokenhmr" / "manifest.json").read_text())
    assert manifest["sha256"] == tensor_file.sha256_of(staging / "tokenhmr" / "weights.safetensors")
    assert (manifest["source"], manifest["tensors"]) == ("any name.ckpt", len(written))


@pytest.mark.parametrize(("network", "entry"), [("tokenizer", "tokenhmr-tokenizer"), ("hmr2", "hmr2")])
def test_networks_are_told_apart_by_their_tensors(bring, tmp_path, network, entry):
    assert names_in(bring(checkpoint(tmp_path / "model.pt", network))) == [entry]


def test_half_precision_is_widened(bring, tmp_path):
    bias = torch.tensor([1.5, -2.25, 3.0])
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        path = checkpoint(tmp_path / f"{dtype}.ckpt", smpl_head__deccam__bias=bias.to(dtype))
        staging = tmp_path / "staging"
        assert torch.equal(load_file(bring(path) / "tokenhmr" / "weights.safetensors")["smpl_head.deccam.bias"], bias)
        staging.rename(tmp_path / f"done-{dtype}")


def test_views_into_a_larger_storage_are_read_as_pytorch_sees_them(bring, tmp_path):
    wide = torch.randn(1024, 9)
    path = checkpoint(tmp_path / "model.ckpt", smpl_head__deccam__weight=wide[:, 2:8:2].t())
    written = load_file(bring(path) / "tokenhmr" / "weights.safetensors")
    assert torch.equal(written["smpl_head.deccam.weight"], wide[:, 2:8:2].t())


def test_an_archive_and_a_folder_are_searched(bring, tmp_path):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    model = checkpoint(tmp_path / "epoch=35-step=1000000.ckpt", "hmr2")
    with tarfile.open(downloads / "hmr2_data.tar.gz", "w:gz") as archive:
        archive.add(model, "logs/checkpoints/epoch=35-step=1000000.ckpt")
    with zipfile.ZipFile(downloads / "tokenhmr_model_latest.zip", "w") as archive:
        archive.write(checkpoint(tmp_path / "m.ckpt"), "data/checkpoints/tokenhmr_model_latest.ckpt")
        archive.writestr("data/checkpoints/model_config.yaml", "MODEL:\n  IMAGE_SIZE: 256\n  BACKBONE: vit\n")
        archive.writestr("data/readme.txt", "hello")
    (downloads / "holiday.zip").write_bytes(b"PK\x03\x04 not really")
    smpl_pickle(downloads / "basicmodel_f_lbs_10_207_0_v1.1.0.pkl")
    (downloads / "numbers.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    assert names_in(bring(downloads)) == ["hmr2", "smpl-female", "tokenhmr"]


def test_a_body_becomes_plain_arrays(bring, tmp_path):
    original = smpl_pickle(tmp_path / "SMPL_NEUTRAL.pkl")
    found = load_body(bring(original) / "smpl-neutral" / "SMPL_NEUTRAL.npz")
    expected = load_body(original)
    for field in ("v_template", "faces", "shapedirs", "posedirs", "J_regressor", "weights", "parents"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    assert (found.gender, found.joint_count) == ("neutral", 24)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"smpl_head__deccam__bias": None}, errors.WrongTensors, r"1 tensor is \(smpl_head.deccam.bias\) missing"),
        ({"smpl_head__more": torch.zeros(2)}, errors.WrongTensors, r"smpl_head.more"),
        ({"unheard__of": torch.zeros(2)}, errors.WrongTensors, r"too many.*unheard.of"),
        ({"smpl_head__deccam__bias": torch.zeros(4)}, errors.WrongTensors, r"\[4\] where \[3\]"),
        ({"smpl_head__deccam__bias": torch.zeros(3).int()}, errors.WrongTensors, "deccam.bias"),
        ({"smpl_head__deccam__bias": torch.full((3,), torch.nan)}, errors.DamagedFile, "deccam.bias.*no numbers"),
    ],
)
def test_tensors_that_are_not_exactly_right_are_named(bring, tmp_path, changes, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        bring(checkpoint(tmp_path / "model.ckpt", **changes))
    assert raised.value.sentence.startswith("model.ckpt")


def test_a_file_of_something_else(bring, tmp_path):
    for name, content in {
        "photo.jpg": b"\xff\xd8\xff",
        "text.ckpt": b"hello",
        "empty.pth": b"",
        "a.npz": b"PK",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(errors.UnusableFile, match=name):
            convert([tmp_path / name], tmp_path, lambda what, fraction: None)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(errors.UnknownFile, match=r"other.pth holds 1 tensors, but of no network"):
        bring(tmp_path / "other.pth")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_download_that_was_cut_short(bring, tmp_path, kept):
    whole = checkpoint(tmp_path / "whole.ckpt").read_bytes()
    (tmp_path / "model.ckpt").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(errors.DamagedFile, match=r"model.ckpt"):
        bring(tmp_path / "model.ckpt")


def test_a_single_wrong_byte_is_noticed(bring, tmp_path):
    path = checkpoint(tmp_path / "model.ckpt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.DamagedFile):
        bring(path)


def test_a_cut_archive(bring, tmp_path):
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        archive.add(checkpoint(tmp_path / "m.ckpt", "hmr2"), "m.ckpt")
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "hmr2_data.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.DamagedFile, match=r"hmr2_data.tar.gz"):
        bring(tmp_path / "hmr2_data.tar.gz")


@pytest.mark.parametrize("wrap", ["pickle", "torch", "zipped"])
def test_a_pickle_with_a_payload_is_refused_and_not_run(bring, tmp_path, wrap):
    evidence = tmp_path / "it was run"
    harmful = {"state_dict": Payload(f"touch '{evidence}'")}
    path = tmp_path / "model.ckpt"
    if wrap == "pickle":
        path.write_bytes(pickle.dumps(harmful))
    else:
        torch.save(harmful, path)
    if wrap == "zipped":
        with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
            archive.write(path, "model.ckpt")
        path = tmp_path / "model.zip"
    with pytest.raises(errors.DangerousFile, match=r"(posix|nt)\.system.*Nothing was run"):
        bring(path)
    assert not evidence.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"cbuiltins\ngetattr\n(cos\nVsystem\ntR.",
        b"csubprocess\nPopen\n(Vtrue\ntR.",
        b"cimportlib\nimport_module\n(Vos\ntR.",
        b"c__builtin__\nexec\n(Vpass\ntR.",
        b"cposix\nsystem\n(Vtrue\ntR.",
        b"csocket\nsocket\n)R.",
    ],
)
def test_no_pickle_reaches_python(code):
    with pytest.raises(errors.DangerousFile):
        safe_pickle.load(io.BytesIO(code))


@pytest.mark.parametrize(
    "code",
    [
        b"cnumpy\nload\n(Vx\ntR.",
        b"ctorch\nload\n(Vx\ntR.",
        b"cyacs.config\nCfgNode\n)R.",
        b"c_operator\ngetitem\n(cyacs\nA\nVx\ntR.",
    ],
)
def test_other_libraries_are_inert(code):
    assert isinstance(safe_pickle.load(io.BytesIO(code)), safe_pickle.Inert)


@pytest.mark.parametrize("name", ["../../e.ckpt", "/etc/e.ckpt", "a/../../e.ckpt", "C:\\e.ckpt", "..\\e.ckpt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_that_reaches_out_of_its_folder(bring, tmp_path, kind, name):
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "x")
    else:
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    before = names_in(tmp_path)
    with pytest.raises(errors.UnsafeArchive, match="outside its folder"):
        bring(path)
    assert names_in(tmp_path) == sorted([*before, "staging"])
    assert names_in(tmp_path / "staging") == []


def test_settings_of_another_network_are_refused(bring, tmp_path):
    (tmp_path / "model_config.yaml").write_text("MODEL:\n  SMPL_HEAD:\n    IEF_ITERS: 3\n")
    with pytest.raises(errors.UnusableFile, match="IEF_ITERS 3"):
        bring(checkpoint(tmp_path / "m.ckpt"), tmp_path / "model_config.yaml")


def test_two_files_of_one_kind_are_the_users_to_choose(bring, tmp_path):
    with pytest.raises(errors.UnusableFile, match=r"a.ckpt and b.ckpt are both tokenhmr"):
        bring(checkpoint(tmp_path / "a.ckpt"), checkpoint(tmp_path / "b.ckpt"))


def test_every_entry_says_where_to_get_it_and_under_which_terms():
    for entry in entries():
        assert (
            entry.where and entry.licence and entry.files and entry.kind in ("network", "body", "detector", "landmarks")
        )
        assert (entry.kind == "network") == bool(entry.marks and entry.prefixes)
    assert all(entry.commercial for entry in entries(commercial_only=True))


def test_tensor_files_are_what_the_library_reads(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros((0, 4), np.float32)}
    tensors["scalar"] = np.float32(7).reshape(())
    tensors |= {"row": np.ones(32, np.float32), "table": np.ones((4, 16), np.float32)}
    path = tmp_path / "x.safetensors"
    digest = tensor_file.write(path, {name: values.shape for name, values in tensors.items()}, tensors.__getitem__)
    assert digest == tensor_file.sha256_of(path)
    read = load_file(path)
    assert all(np.array_equal(read[name].numpy(), values) for name, values in tensors.items())
    # Sums over unaligned memory may be added up in another order: weights are to give what they give in memory.
    assert all(read[name].data_ptr() % tensor_file.ALIGNMENT == 0 for name in ("row", "table"))


def test_a_network_that_is_known_to_the_last_bit(bring, tmp_path, monkeypatch):
    medium, larger = tmp_path / "medium.tflite", tmp_path / "larger.tflite"
    medium.write_bytes(b"TFL3 medium")
    larger.write_bytes(b"TFL3 larger")
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        for path in (medium, larger):
            archive.add(path, f"package/{path.name}")
    stand_in = replace(find("pose-heavy"), sha256=tensor_file.sha256_of(larger))
    monkeypatch.setattr(weights_convert, "all_entries", lambda: (stand_in,))
    staging = bring(tmp_path / "package.tgz")
    assert (staging / "pose-heavy" / "network.tflite").read_bytes() == b"TFL3 larger"
    manifest = json.loads((staging / "pose-heavy" / "manifest.json").read_text())
    assert (manifest["source"], manifest["sha256"]) == ("larger.tflite", stand_in.sha256)
