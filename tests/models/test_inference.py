# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks as they are used answer as the exact ones do, which `test_*_parity` compare with the published."""

from __future__ import annotations

import pytest
import torch

from recover_body.models import hmr2, tokenhmr
from recover_body.models.inference import FoldedDecoder, for_inference
from recover_body.tests.models.weight_files import small_state


def network(name: str, **options) -> torch.nn.Module:
    state = {key: t for key, t in small_state(name).items() if key.startswith(hmr2.PREFIXES)}
    if name == "hmr2":
        return hmr2.Hmr2.from_state(state, **options)
    return tokenhmr.TokenHmr.from_states(state, small_state("tokenizer"), **options)


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    return torch.randn(3, 3, 256, 256, generator=torch.Generator().manual_seed(1))


def differences(ours, theirs) -> list[float]:
    return [(getattr(ours, k) - getattr(theirs, k)).abs().max().item() for k in ("rotations", "betas", "crop_camera")]


@pytest.mark.parametrize("name", ["tokenhmr", "hmr2"])
@torch.inference_mode()
def test_folding_changes_nothing(name, crops):
    exact = network(name)
    fast = for_inference(exact)
    assert isinstance(fast.smpl_head.transformer, FoldedDecoder)
    assert max(differences(fast(crops), exact(crops))) < 2e-5
    # Both are usable side by side, and what did not change lies in memory once.
    assert not isinstance(exact.smpl_head.transformer, FoldedDecoder)
    assert fast.backbone.blocks[0].mlp.fc1.weight.data_ptr() == exact.backbone.blocks[0].mlp.fc1.weight.data_ptr()


@torch.inference_mode()
def test_a_repeated_decoder_is_folded_too(crops):
    exact = network("hmr2", rounds=3)
    assert max(differences(for_inference(exact)(crops), exact(crops))) < 5e-5


@torch.inference_mode()
def test_a_network_that_is_fed_its_estimate_is_left_alone(crops):
    state = {key: t for key, t in small_state("hmr2").items() if key.startswith(hmr2.PREFIXES)}
    width = state["smpl_head.transformer.to_token_embedding.weight"].shape[0]
    state["smpl_head.transformer.to_token_embedding.weight"] = torch.full((width, 157), 0.01)
    exact = hmr2.Hmr2.from_state(state)
    assert max(differences(for_inference(exact)(crops), exact(crops))) < 2e-5


@pytest.mark.parametrize("name", ["tokenhmr", "hmr2"])
@pytest.mark.parametrize(("dtype", "largest_rad"), [(torch.bfloat16, 0.2), (torch.float16, 0.02)])
@torch.inference_mode()
def test_in_16_bits_the_body_is_nearly_the_same(name, dtype, largest_rad, crops):
    exact = network(name)
    fast = for_inference(exact, dtype)
    assert fast.backbone.blocks[0].mlp.fc1.weight.dtype == dtype
    assert fast.backbone.blocks[0].norm1.weight.dtype == fast.smpl_head.deccam.weight.dtype == torch.float32
    answer = fast(crops)
    assert answer.rotations.dtype == answer.betas.dtype == answer.crop_camera.dtype == torch.float32
    assert max(differences(answer, exact(crops))) < largest_rad
    turned = answer.rotations @ answer.rotations.transpose(-1, -2)
    assert (turned - torch.eye(3)).abs().max() < 1e-5  # rotations, to single precision
