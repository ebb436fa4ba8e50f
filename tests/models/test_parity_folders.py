# SPDX-License-Identifier: GPL-3.0-or-later
"""`dev.py parity FOLDER` on fixtures of other seeds and sizes than the committed ones, and on folders that are amiss.

What these files hold was computed by our own networks: they prove that seeds, sizes and key lists are read from where
they are told, not that the numbers are the published ones.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recover_body.tests.benchmarks.parity import fixture_files, main
from recover_body.tests.parity.report import COMMITTED, Fixture, as_numpy, thinned

SMALL = ("tokenhmr/model_small.npz", "tokenhmr/tokenizer_small.npz", "hmr2/model_small.npz")


class Writer(Fixture):
    """Keeps what our code computes where a fixture compares."""

    def compare(self, quantity: str, ours, tolerance: float = 0.0, *, relative: bool = False) -> None:
        values = as_numpy(ours)
        self.arrays[quantity] = thinned(np.asarray(values), self.arrays[quantity].shape)

    def note(self, quantity: str, error: float, tolerance: float = 0.0) -> None:
        """Codes and words are asked for with a tolerance of their own; see `other_seed`."""


def other_seed(name: str, target: Path, **meta: object) -> Path:
    """A committed fixture computed anew by our code with other seeds (and another `config`)."""
    folder, _, file = name.partition("/")
    path = target / folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Writer(COMMITTED / folder / file)
    made.path = path  # key lists are looked for beside it
    made.meta |= {"weight_seed": 4711, "body_seed": 99} | meta
    (check,) = (check for known, check in fixture_files([COMMITTED / folder]) if known.name == file)
    check(made)
    if "codes" in made:  # where two words are equally near, rounding decides: leave those out of the comparison
        made.arrays["margin"] = np.zeros_like(made["margin"])
    if "argmax" in made:
        made.arrays["argmax"] = made["logits"].argmax(-1).astype(made["argmax"].dtype)
    np.savez(path, meta_json=json.dumps(made.meta), **made.arrays)
    return path


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """A folder with other seeds, without key lists."""
    folder = tmp_path_factory.mktemp("others")
    for name in SMALL:
        other_seed(name, folder)
    return folder


def test_other_seeds_and_no_key_lists(others, capsys):
    assert main([str(others)]) == 0
    told = capsys.readouterr().out
    assert "3 files, all within tolerance" in told and told.count("ok ") == 3
    # They are other numbers indeed: read with the committed seed they would be far off.
    assert not np.allclose(
        np.load(others / "hmr2" / "model_small.npz")["betas"], np.load(COMMITTED / "hmr2" / "model_small.npz")["betas"]
    )


def test_other_sizes_with_a_key_list_beside_them(tmp_path, capsys):
    keys = json.loads(gzip.decompress((COMMITTED / "hmr2" / "keys_small.json.gz").read_bytes()))
    last = max(int(key["name"].split(".")[2]) for key in keys if key["name"].startswith("backbone.blocks."))
    deeper = [
        key | {"name": key["name"].replace(f"blocks.{last}.", f"blocks.{last + 1}.")}
        for key in keys
        if key["name"].startswith(f"backbone.blocks.{last}.")
    ]
    (tmp_path / "hmr2").mkdir()
    (tmp_path / "hmr2" / "keys_deeper.json.gz").write_bytes(gzip.compress(json.dumps(keys + deeper).encode()))
    other_seed("hmr2/model_small.npz", tmp_path, config="deeper")
    assert main([str(tmp_path)]) == 0
    assert "1 files, all within tolerance" in capsys.readouterr().out


def test_a_wrong_number_is_a_miss(others, tmp_path, capsys):
    (tmp_path / "hmr2").mkdir()
    with np.load(others / "hmr2" / "model_small.npz") as arrays:
        spoiled = {name: arrays[name] for name in arrays.files}
    spoiled["betas"] = spoiled["betas"] + 2e-4
    np.savez(tmp_path / "hmr2" / "model_small.npz", **spoiled)
    assert main([str(tmp_path)]) == 1
    assert "betas" in (told := capsys.readouterr().out) and "MISS" in told


def test_an_unreadable_file_is_a_row_and_a_failure(others, tmp_path, capsys):
    shutil.copytree(others / "tokenhmr", tmp_path / "tokenhmr")
    whole = (others / "hmr2" / "model_small.npz").read_bytes()
    (tmp_path / "hmr2").mkdir()
    (tmp_path / "hmr2" / "model_small.npz").write_bytes(whole[: len(whole) // 2])
    assert main([str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "cannot be checked" in told and "3 files, 1 off" in told


def test_a_folder_called_otherwise(others, tmp_path, capsys):
    shutil.copytree(others / "hmr2", tmp_path / "mine")
    assert main([str(tmp_path)]) == 1
    assert "tokenhmr, hmr2 or blade" in capsys.readouterr().err
    (tmp_path / "mine").rename(tmp_path / "hmr2")
    assert main([str(tmp_path / "hmr2")]) == 0  # the folder itself is as good as the one that holds it
