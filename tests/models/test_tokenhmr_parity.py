# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR gives the published network's numbers, and takes no weights but exactly its own."""

from __future__ import annotations

import gzip
import json

import pytest
import torch

from recover_body.models import tokenhmr
from recover_body.models.pose_tokens import PoseTokenizer, TokenizerConfig
from recover_body.models.state import IncompleteWeights
from recover_body.tests.benchmarks.parity import findings_of, fixture_files
from recover_body.tests.parity.report import COMMITTED
from recover_body.tests.parity.standins import network_state

FILES = list(fixture_files([COMMITTED / "tokenhmr"]))


@pytest.mark.parametrize(("path", "check"), FILES, ids=[path.stem for path, _ in FILES])
def test_every_number_of_the_fixture(path, check):
    misses = [finding for finding in findings_of(path, check) if not finding.ok]
    assert not misses


@pytest.fixture(scope="module")
def small_states():
    keys = json.loads(gzip.decompress((COMMITTED / "tokenhmr" / "keys_small.json.gz").read_bytes()))
    return network_state(keys["model"], 5, tokenhmr.PREFIXES), network_state(keys["tokenizer"], 5)


def small_network(states):
    return tokenhmr.TokenHmr.from_states(*states, vit_heads=4, decoder_heads=2)


@torch.inference_mode()
def test_a_batch_equals_its_members_one_by_one(small_states):
    # In double precision, so that what is compared is the network and not the order in which sums are rounded.
    network = small_network(small_states).double()
    crops = torch.randn(3, 3, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = network(crops)
    for index in range(3):
        alone = network(crops[index : index + 1])
        torch.testing.assert_close(alone.rotations[0], together.rotations[index], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.crop_camera[0], together.crop_camera[index], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_sides_of_the_crop_are_never_looked_at(small_states):
    network, crops = small_network(small_states), torch.randn(1, 3, 256, 256)
    other_sides = crops.clone()
    other_sides[..., :32] = 7
    other_sides[..., -32:] = -7
    assert torch.equal(network(crops).rotations, network(other_sides).rotations)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda state: state.pop("smpl_head.deccam.bias"), r"1 tensor is \(smpl_head.deccam.bias\) missing"),
        (lambda state: state.pop("backbone.pos_embed"), "pos_embed"),
        (lambda state: state.update({"backbone.extra": torch.zeros(1)}), "backbone.extra"),
        (lambda state: state.update({"smpl_head.deccam.bias": torch.zeros(4)}), r"\[4\] where \[3\] is needed"),
    ],
)
def test_weights_that_are_not_exactly_the_networks_are_refused(small_states, spoil, sentence):
    state = dict(small_states[0])
    spoil(state)
    with pytest.raises(IncompleteWeights, match=sentence) as raised:
        small_network((state, small_states[1]))
    assert "models list" in raised.value.remedy


def test_a_tokenizer_of_another_vocabulary_is_refused(small_states):
    state, tokenizer_state = small_states
    fewer_words = tokenizer_state | {"quantizer.codebook": tokenizer_state["quantizer.codebook"][:-1]}
    with pytest.raises(IncompleteWeights, match=r"40 tokens of 32 words.*40 of 31"):
        small_network((state, fewer_words))


def test_released_sizes_are_the_defaults():
    with torch.device("meta"):
        network = tokenhmr.TokenHmr(tokenhmr.TokenHmrConfig())
    backbone, head = network.backbone.state_dict(), network.smpl_head.state_dict()
    assert (len(backbone), sum(tensor.numel() for tensor in backbone.values())) == (389, 630_912_000)
    assert (len(head), sum(tensor.numel() for tensor in head.values())) == (174, 50_288_124)
    assert sum(tensor.numel() for tensor in network.tokenizer.state_dict().values()) == 13_660_422
    assert network.config.tokenizer.tokens == 160


def test_the_names_and_sizes_are_those_of_the_checkpoint():
    keys = json.loads(gzip.decompress((COMMITTED / "tokenhmr" / "keys_full.json.gz").read_bytes()))
    released = {e["name"]: tuple(e["shape"]) for e in keys if e["name"].startswith(tokenhmr.PREFIXES)}
    with torch.device("meta"):
        ours = tokenhmr.TokenHmr(tokenhmr.TokenHmrConfig()).state_dict()
    assert {name: tuple(t.shape) for name, t in ours.items() if not name.startswith("tokenizer.")} == released


def test_a_tokenizers_sizes_are_read_from_its_tensors():
    with torch.device("meta"):
        state = PoseTokenizer(TokenizerConfig()).state_dict()
    assert TokenizerConfig.from_state(state) == TokenizerConfig()
