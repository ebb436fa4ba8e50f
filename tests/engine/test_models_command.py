# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body models` as a user runs it: real processes, real files, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from recover_body.models import tokenhmr, weights
from recover_body.models.errors import NotImported
from recover_body.tests.models.weight_files import Payload, checkpoint, small_state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data folder of our own, for this process and its children."""
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def models(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "engine" / "launch.py", "models", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **options)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_import_use_verify_remove(data, tmp_path):
    with pytest.raises(NotImported, match="tokenhmr") as raised:
        weights.load_state(weights.find("tokenhmr"))
    assert "tokenhmr.is.tue.mpg.de" in raised.value.remedy

    imported = models(
        "import", checkpoint(tmp_path / "m.ckpt"), checkpoint(tmp_path / "tokenizer.pth", "tokenizer"), "--json"
    )
    assert imported.returncode == 0, imported.stderr
    events = [json.loads(line) for line in imported.stdout.splitlines()]
    assert [event["id"] for event in events if event["event"] == "imported"] == ["tokenhmr", "tokenhmr-tokenizer"]
    assert files_in(data / "models") == [
        f"{entry}/{name}"
        for entry in ("tokenhmr-tokenizer", "tokenhmr")
        for name in ("manifest.json", "weights.safetensors")
    ]

    states = [weights.load_state(weights.find(entry)) for entry in ("tokenhmr", "tokenhmr-tokenizer")]
    originals = [
        {name: t for name, t in small_state("tokenhmr").items() if name.startswith(tokenhmr.PREFIXES)},
        small_state("tokenizer"),
    ]
    for state, original in zip(states, originals, strict=True):
        assert state.keys() == original.keys()
        assert all(torch.equal(state[name], original[name]) for name in original)
    network, original = (
        tokenhmr.TokenHmr.from_states(*each, vit_heads=4, decoder_heads=2) for each in (states, originals)
    )
    crop = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        # The numbers are the same bit for bit; sums over them are not, where memory is aligned otherwise.
        torch.testing.assert_close(network(crop).rotations, original(crop).rotations, atol=1e-5, rtol=0)

    assert models("verify").returncode == 0
    weights_file = data / "models" / "tokenhmr" / "weights.safetensors"
    content = bytearray(weights_file.read_bytes())
    content[-5] ^= 1
    weights_file.write_bytes(content)
    verified = models("verify")
    assert verified.returncode == 2 and "tokenhmr was altered" in verified.stdout

    assert models("remove", "tokenhmr").returncode == 0
    assert files_in(data / "models") == [
        "tokenhmr-tokenizer/manifest.json",
        "tokenhmr-tokenizer/weights.safetensors",
    ]
    assert models("verify", "tokenhmr").returncode == 3


def test_list_shows_terms_and_sources(data):
    shown = models("list").stdout
    for entry in weights.entries():
        assert entry.id in shown
    assert "no commercial use" in shown and "https://smpl-x.is.tue.mpg.de" in shown
    listed = [json.loads(line) for line in models("list", "--json").stdout.splitlines()]
    assert {event["state"] for event in listed} == {"-"}
    commercial = [json.loads(line)["id"] for line in models("list", "--commercial", "--json").stdout.splitlines()]
    assert commercial == ["rtmdet", "pose-heavy"]


def test_a_failed_import_leaves_the_former_one_alone(data, tmp_path):
    assert models("import", checkpoint(tmp_path / "good.ckpt")).returncode == 0
    before = {name: (data / "models" / name).read_bytes() for name in files_in(data / "models")}
    torch.save({"state_dict": {"a": Payload(f"touch {tmp_path / 'evidence'}")}}, tmp_path / "evil.ckpt")
    refused = models("import", tmp_path / "evil.ckpt")
    assert refused.returncode == 2
    assert "system" in refused.stderr and "Nothing was run" in refused.stderr and "Delete it" in refused.stderr
    assert not (tmp_path / "evidence").exists()
    assert {name: (data / "models" / name).read_bytes() for name in files_in(data / "models")} == before


def test_importing_again_replaces(data, tmp_path):
    bias = torch.tensor([1.0, 2.0, 3.0])
    assert models("import", checkpoint(tmp_path / "old.ckpt")).returncode == 0
    assert models("import", checkpoint(tmp_path / "new.ckpt", smpl_head__deccam__bias=bias)).returncode == 0
    assert torch.equal(weights.load_state(weights.find("tokenhmr"))["smpl_head.deccam.bias"], bias)
    assert files_in(data / "models") == ["tokenhmr/manifest.json", "tokenhmr/weights.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="uses a POSIX file-size limit in place of a full disk")
def test_a_full_disk_is_said_and_leaves_nothing(data, tmp_path):
    import resource

    path = checkpoint(tmp_path / "m.ckpt")
    limit = path.stat().st_size // 2
    full = models("import", path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert full.returncode == 1
    assert "full" in full.stderr and "RECOVER_BODY_DATA" in full.stderr
    assert files_in(data) == [] and os.listdir(data / "models") == []


def test_a_file_that_is_not_there(data, tmp_path):
    missing = models("import", tmp_path / "nowhere.ckpt")
    assert missing.returncode == 2 and "There is no file" in missing.stderr


@pytest.mark.parametrize(
    "deed",
    [
        "os.system('true')",
        "subprocess.run(['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.fork()",
        "socket.socket().connect(('127.0.0.1', 9))",
        "open(outside / 'x', 'w')",
        "os.open(outside / 'x', os.O_CREAT | os.O_WRONLY)",
        "(outside / 'kept').unlink()",
        "os.rename(outside / 'kept', staging / 'kept')",
        "os.symlink(outside, staging / 'way_out')",
        "ctypes.CDLL(None)",
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the deeds are written for POSIX")
def test_the_importing_process_is_locked_down(tmp_path, deed):
    (tmp_path / "staging").mkdir()
    (tmp_path / "kept").write_text("kept")
    program = f"""
        import ctypes, os, socket, subprocess
        from pathlib import Path
        from recover_body.engine.import_child import lock_down
        outside, staging = Path({str(tmp_path)!r}), Path({str(tmp_path / "staging")!r})
        lock_down(staging)
        (staging / "allowed").write_text("x"); (staging / "allowed").unlink()
        try:
            {deed}
        except PermissionError:
            print("refused")
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.stdout == "refused\n", done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "staging"]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_a_package_is_fetched_by_npm_and_must_hold_the_known_network(data, tmp_path):
    tools, elsewhere = tmp_path / "tools", tmp_path / "elsewhere"
    tools.mkdir()
    elsewhere.mkdir()
    without = models("get", "pose-heavy", env=os.environ | {"PATH": str(tools)})
    assert (without.returncode, "npm pack @mediapipe/pose" in without.stderr) == (3, True)
    npm = tools / "npm"
    npm.write_text('#!/bin/sh\necho "$@" > "$ASKED"\nprintf TFL3 > pose.tflite\ntar czf pose.tgz pose.tflite\n')
    npm.chmod(0o755)
    path = os.pathsep.join((str(tools), os.environ["PATH"]))
    other = models(
        "get", "pose-heavy", env=os.environ | {"PATH": path, "ASKED": str(tmp_path / "asked")}, cwd=elsewhere
    )
    assert (other.returncode, "none of the files" in other.stderr) == (2, True), other.stderr
    assert (tmp_path / "asked").read_text().startswith("pack --silent @mediapipe/pose@")
    assert files_in(data) == files_in(elsewhere) == []
