# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE's networks give the published networks' numbers."""

from __future__ import annotations

import gzip
import json

import pytest
import torch

from recover_body.models.aios import Aios, AiosConfig, used_tensors
from recover_body.models.aios_decoder import HEADS, DecoderConfig, Layout, SelfAttention
from recover_body.models.blade import UNUSED, DepthNet, PoseNet
from recover_body.models.depth_anything import DepthAnythingConfig
from recover_body.models.state import IncompleteWeights
from recover_body.tests import blade_fill
from recover_body.tests.benchmarks.parity_blade import findings_of, fixture_files
from recover_body.tests.parity.report import COMMITTED

FILES = [(path, check) for path, check in fixture_files([COMMITTED]) if path.stem not in ("metrics", "camera_solver")]


@pytest.mark.parametrize(("path", "check"), FILES, ids=[path.stem for path, _ in FILES])
def test_every_number_of_the_fixture(path, check):
    findings = findings_of(path, check)
    assert findings
    assert not [finding for finding in findings if not finding.ok]


def entries(name: str) -> list[dict]:
    return json.loads(gzip.decompress((COMMITTED / "blade" / f"keys_{name}.json.gz").read_bytes()))["entries"]


def test_names_and_sizes_of_the_depth_network_are_those_of_the_checkpoint():
    released = {entry["name"]: tuple(entry["shape"]) for entry in entries("depthnet") if entry["name"] not in UNUSED}
    with torch.device("meta"):
        ours = DepthNet(DepthAnythingConfig(), query_mlp_width=1024).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == released


def test_aios_alone_takes_its_half_of_the_tensors():
    with torch.device("meta"):
        state = {entry["name"]: torch.empty(entry["shape"]) for entry in entries("posenet")}
        ours = Aios(AiosConfig()).state_dict()
    half = {name: tensor for name, tensor in state.items() if "_controlnet" not in name and not name.startswith("Tz_")}
    assert {n: t.shape for n, t in used_tensors(half).items()} == {n: t.shape for n, t in ours.items()}


def test_a_missing_tensor_is_named():
    with torch.device("meta"):
        state = {entry["name"]: torch.empty(entry["shape"]) for entry in entries("posenet_reduced")}
    name = "transformer_controlnet.decoder.layers.3.norm1.weight"
    del state[name]
    with pytest.raises(IncompleteWeights, match=r"decoder\.layers\.3\.norm1\.weight"):
        PoseNet.from_state(state, candidates=64, groups=8)


@pytest.mark.parametrize("with_details", [False, True])
def test_attention_by_groups_is_attention_under_the_mask(with_details):
    """What is computed block by block equals one large attention in which everything else is forbidden."""
    torch.manual_seed(0)
    layout = Layout.of(DecoderConfig(), with_details=with_details)
    groups, width = 5, 64
    attention = SelfAttention(width).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, position = torch.randn(2, 2, groups * layout.size, width, dtype=torch.float64)
    theirs = torch.nn.MultiheadAttention(width, HEADS, batch_first=True).double()
    theirs.load_state_dict(attention.state_dict())
    group = torch.arange(groups * layout.size) // layout.size
    is_box = torch.zeros(layout.size, dtype=torch.bool)
    is_box[layout.boxes] = True
    is_box = is_box.repeat(groups)
    may_see = (group[:, None] == group) | (is_box[:, None] & is_box)
    with torch.inference_mode():
        wanted = theirs(x + position, x + position, x, attn_mask=~may_see, need_weights=False)[0]
        torch.testing.assert_close(attention(x, position, layout), wanted)


def test_pictures_do_not_influence_each_other():
    network = PoseNet.from_state(blade_fill.network_state(entries("posenet_reduced"), seed=3), candidates=64, groups=8)
    pictures = torch.cat([blade_fill.picture(3, f"picture {index}", 64, 96) for index in range(2)])
    depths = torch.tensor([0.7, 4.0])
    with torch.inference_mode():
        together, alone = network(pictures, depths), network(pictures[1:], depths[1:])
    torch.testing.assert_close(together.body_rotations[1:], alone.body_rotations, atol=2e-3, rtol=0)
    torch.testing.assert_close(together.boxes[1:], alone.boxes, atol=1e-4, rtol=0)
