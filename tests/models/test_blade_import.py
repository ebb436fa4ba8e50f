# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE's, AiOS' and Depth Anything's files through the importer."""

from __future__ import annotations

import gzip
import json

import pytest
import torch

from recover_body.models import aios, blade, weights
from recover_body.models.aios import Aios
from recover_body.models.blade import DEPTH_PREFIXES, POSE_PREFIX, DepthNet, PoseNet
from recover_body.models.depth_anything import DepthAnything
from recover_body.models.state import IncompleteWeights, compare_shapes, with_prefix
from recover_body.tests.models.blade_files import blade_state
from recover_body.tests.parity.report import COMMITTED


def full_size(network: str) -> dict[str, torch.Tensor]:
    keys = json.loads(gzip.decompress((COMMITTED / "blade" / f"keys_{network}.json.gz").read_bytes()))["entries"]
    with torch.device("meta"):
        return {entry["name"]: torch.empty(entry["shape"]) for entry in keys}


def test_a_released_file_is_complete():
    state = full_size("depthnet") | {POSE_PREFIX + name: tensor for name, tensor in full_size("posenet").items()}
    used = {name: tuple(tensor.shape) for name, tensor in state.items() if blade.is_used(name)}
    assert used == blade.expected_shapes(state)
    assert sum(torch.Size(shape).numel() for shape in used.values()) < 470e6  # second names are left out
    half = {n: t for n, t in full_size("posenet").items() if "_controlnet" not in n and not n.startswith("Tz_")}
    assert {n: tuple(t.shape) for n, t in half.items() if aios.is_used(n)} == aios.expected_shapes(half)


def test_files_are_recognised_and_become_networks(blade_imported):
    state = weights.load_state(weights.find("blade"))
    assert not any("body_model" in name for name in state)
    original = blade_state()
    assert all(torch.equal(tensor, original[name]) for name, tensor in state.items())
    DepthNet.from_state({name: tensor for name, tensor in state.items() if name.startswith(DEPTH_PREFIXES)})
    PoseNet.from_state(with_prefix(state, POSE_PREFIX))
    Aios.from_state(weights.load_state(weights.find("aios")))
    DepthAnything.from_state(weights.load_state(weights.find("depth-anything")))


def test_a_missing_tensor_is_named():
    state = full_size("posenet")
    del state["transformer.decoder.layers.3.norm1.weight"]
    given = {
        n: tuple(t.shape) for n, t in state.items() if aios.is_used(n) and "_controlnet" not in n and n[:2] != "Tz"
    }
    with pytest.raises(IncompleteWeights, match=r"1 tensor is \(transformer\.decoder\.layers\.3\.norm1\.weight\)"):
        compare_shapes(aios.expected_shapes(state), given, aios.NETWORK)
