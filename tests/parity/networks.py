# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR, its tokenizer and HMR2.0 against the numbers of the published networks, filled with the same weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from recover_body.engine.crop import Crop, cut, normalised
from recover_body.models import hmr2, tokenhmr
from recover_body.models.pose_tokens import PoseTokenizer, commitment, perplexity
from recover_body.models.rotations_torch import (
    matrix_to_rotvec,
    matrix_to_sixd_rows,
    rotvec_to_matrix,
    sixd_columns_to_matrix,
    sixd_rows_to_matrix,
)
from recover_body.models.smpl_head import DecoderConfig
from recover_body.models.vit import ViTConfig

from .report import Fixture, as_numpy, thinned
from .stages import check_answer, check_full_image, check_shared_stages, crops_of, recorded, shared_stages
from .standins import network_state


def _find_heads(fixture: Fixture, network: nn.Module, crops: torch.Tensor) -> None:
    """Set the numbers of attention heads, which no shape tells: released sizes have the released ones (already set), of
    others the file's own numbers tell.
    """
    backbone, decoder = network.backbone, network.smpl_head.transformer
    if (backbone.config.width, decoder.config.attention_width) == (ViTConfig.width, DecoderConfig.attention_width):
        return
    block, layer = backbone.blocks[0], decoder.transformer.layers[0]
    tokens = backbone.patch_embed(backbone.portrait(crops)) + backbone.pos_embed[:, 1:] + backbone.pos_embed[:, :1]
    attend, seen = block.attn, block.norm1(tokens)
    heads = _best_heads(fixture, "attn0", attend, backbone.config.width, lambda: attend(seen))
    for each in backbone.blocks:
        each.attn.heads = heads

    query = (decoder.to_token_embedding.bias + decoder.pos_embedding).expand(len(crops), -1, -1)
    query, features = query + layer[0](query), backbone(crops)
    width = decoder.config.attention_width
    heads = _best_heads(fixture, "dec0_ca", layer[1].fn, width, lambda: layer[1](query, features)[:, 0])
    for each in decoder.transformer.layers:
        each[1].fn.heads = heads


def _best_heads(fixture: Fixture, stage: str, attention: nn.Module, width: int, run: Callable) -> int:
    errors = {}
    for heads in (heads for heads in range(1, min(width, 64) + 1) if width % heads == 0):
        attention.heads = heads
        errors[heads] = np.abs(thinned(as_numpy(run()), fixture[stage].shape) - fixture[stage]).max()
    return min(errors, key=errors.__getitem__)


def _tokenhmr_keys(fixture: Fixture) -> tuple[list[dict], list[dict]]:
    config = fixture.meta["config"]
    listed = fixture.keys(f"keys_{config}.json.gz")
    if isinstance(listed, dict):
        return listed["model"], listed["tokenizer"]
    return listed, fixture.keys(f"keys_tokenizer_{config}.json.gz")


def _tokenizer_state(fixture: Fixture) -> dict[str, torch.Tensor]:
    return network_state(_tokenhmr_keys(fixture)[1], fixture.meta["weight_seed"], key_prefix="tokenizer.")


@torch.inference_mode()
def check_tokenhmr(fixture: Fixture) -> None:
    keys, _ = _tokenhmr_keys(fixture)
    state = network_state(keys, fixture.meta["weight_seed"], tokenhmr.PREFIXES)
    network = tokenhmr.TokenHmr.from_states(state, _tokenizer_state(fixture))
    crops = crops_of(fixture)
    _find_heads(fixture, network, crops)
    head, decoder = network.smpl_head, network.tokenizer.decoder.decoder
    modules = shared_stages(network) | {
        "grot_raw": head.decpose_grot,
        "hands_raw": head.decpose_hands,
        "mixer_in": head.decpose.mixer_trans,
        "mixer0": head.decpose.mixer_head[0],
        "mixer_out": head.decpose.mixer_norm_layer,
        "logits": head.decpose,
        **{f"tdec{index}": stage for index, stage in enumerate(decoder)},
        "pose6d": network.tokenizer.decoder,
    }
    with recorded(modules) as seen:
        prediction = network(crops)
    logits = seen["logits"]
    seen["pose6d"] = seen["pose6d"].transpose(1, 2)
    seen["softmax"] = logits.softmax(-1)
    seen["zbar"] = network.tokenizer.quantizer.mix(seen["softmax"])
    seen["max_prob"] = seen["softmax"].amax(-1)
    seen["logsumexp"] = logits.logsumexp(-1)
    check_shared_stages(fixture, seen, network)
    fixture.note("argmax", (logits.argmax(-1).numpy() != fixture["argmax"]).sum(), 0.0)
    check_answer(fixture, prediction)


@torch.inference_mode()
def check_tokenizer(fixture: Fixture) -> None:
    tokenizer = PoseTokenizer.from_state(_tokenizer_state(fixture))
    fixture.compare("rotmat", rotvec_to_matrix(torch.from_numpy(fixture["aa"])))
    sixd = matrix_to_sixd_rows(torch.from_numpy(fixture["rotmat"]))
    fixture.compare("sixd", sixd)
    latents = tokenizer.encoder(sixd.transpose(1, 2))
    fixture.compare("latent", latents)
    codes = tokenizer.encode(sixd)
    # Where two words are equally near, rounding decides; the file says by how much the nearest one won.
    clear = fixture["margin"] > 0.01
    fixture.note("codes", (codes.numpy() != fixture["codes"])[clear].sum(), 0.0)
    theirs = torch.from_numpy(fixture["codes"].astype(np.int64))
    fixture.compare("commit_loss", commitment(latents, tokenizer.quantizer.vectors(theirs)))
    fixture.compare("perplexity", perplexity(theirs, tokenizer.config.codes))
    decoded = tokenizer.decode(theirs)
    fixture.compare("out_6d", decoded)
    fixture.compare("out_rotmat", sixd_rows_to_matrix(decoded))


@torch.inference_mode()
def check_hmr2(fixture: Fixture) -> None:
    keys = fixture.keys(f"keys_{fixture.meta['config']}.json.gz")
    network = _hmr2(fixture, keys)
    crops = crops_of(fixture)
    _find_heads(fixture, network, crops)
    with recorded(shared_stages(network) | {"pose_raw": network.smpl_head.decpose}) as seen:
        prediction = network(crops)
    query = network.smpl_head.transformer
    seen["query0"] = (query.to_token_embedding.bias + query.pos_embedding[:, 0]).expand(len(prediction.betas), -1)
    check_shared_stages(fixture, seen, network)
    check_answer(fixture, prediction)
    if "image" in fixture:
        _check_cuts(fixture, fixture["image"])


@torch.inference_mode()
def check_hmr2_options(fixture: Fixture) -> None:
    """The head modes that no known weights use, on the crops of the small model beside it."""
    keys = fixture.keys(f"keys_{fixture.meta['config']}.json.gz")
    plain = Fixture(fixture.path.with_name(f"model_{fixture.meta['config']}.npz"))
    plain_network, crops = _hmr2(plain, keys), crops_of(plain)
    _find_heads(plain, plain_network, crops)
    for entry in keys:
        if entry["name"].endswith("to_token_embedding.weight") and fixture.meta["TRANSFORMER_INPUT"] == "mean_shape":
            entry["shape"][1] = 24 * 6 + 10 + 3
    network = _hmr2(
        fixture,
        keys,
        rounds=fixture.meta["IEF_ITERS"],
        vit_heads=plain_network.backbone.blocks[0].attn.heads,
        decoder_heads=plain_network.smpl_head.transformer.transformer.layers[0][1].fn.heads,
    )
    head = network.smpl_head
    modules = {"token": head.transformer, "pose_raw": head.decpose, "betas_raw": head.decshape, "cam_raw": head.deccam}
    with recorded(modules | {"query0": head.transformer.to_token_embedding}) as seen:
        prediction = network(crops)
    seen["query0"] = seen["query0"] + head.transformer.pos_embedding[:, 0]
    for name, value in seen.items():
        fixture.compare(name, value)
    check_answer(fixture, prediction)


def _hmr2(fixture: Fixture, keys: list[dict], **options) -> hmr2.Hmr2:
    state = network_state(keys, fixture.meta["weight_seed"], hmr2.PREFIXES)
    return hmr2.Hmr2.from_state(state, **options)


def _check_cuts(fixture: Fixture, image_bgr: np.ndarray) -> None:
    crops = [Crop.around(box) for box in fixture["boxes"]]
    fixture.compare("box_center", np.stack([crop.center_px for crop in crops]), 0.0)
    fixture.compare("box_size", np.array([crop.side_px for crop in crops]), 0.0)
    fixture.compare("crop_u8", np.stack([cut(image_bgr, crop) for crop in crops]), 0.0)


def check_crops(fixture: Fixture) -> None:
    pictures = sorted(name.removeprefix("img") for name in fixture.arrays if name.startswith("img") and len(name) == 4)
    jobs = [(fixture[f"img{picture}"], box) for picture in pictures for box in fixture[f"boxes{picture}"]]
    crops = [Crop.around(box) for _, box in jobs]
    cuts = [cut(image, crop) for (image, _), crop in zip(jobs, crops, strict=True)]
    fixture.compare("box_center", np.stack([crop.center_px for crop in crops]), 0.0)
    fixture.compare("box_size", np.array([crop.side_px for crop in crops]), 0.0)
    fixture.compare("img_size", np.array([image.shape[1::-1] for image, _ in jobs]), 0.0)
    exact = [picture for picture in cuts if picture.dtype == np.uint8]
    fixture.compare("crop_u8", np.stack(exact)[: len(fixture["crop_u8"])], 0.0)
    inputs = np.stack([normalised(picture) for picture in cuts])
    fixture.compare("float_sub", inputs, 1e-5)
    fixture.compare("channel_mean", inputs.mean((2, 3), dtype=np.float64), 1e-6)
    blurred = next(values for values, picture in zip(inputs, cuts, strict=True) if picture.dtype != np.uint8)
    fixture.compare("blur_full_f16", blurred, 2e-3)  # stored as float16


def check_rotations(fixture: Fixture) -> None:
    sixd, rotation = torch.from_numpy(fixture["sixd"]), torch.from_numpy(fixture["rot"])
    fixture.compare("sixd_to_rot", sixd_rows_to_matrix(sixd))
    fixture.compare("sixd_to_rot_tok", sixd_rows_to_matrix(sixd))
    fixture.compare("aa_to_rot_eps", rotvec_to_matrix(torch.from_numpy(fixture["aa"])))
    # The reference may say a turn of slightly more than pi; ours says the shorter way round.
    fixture.arrays["log"] = _shortest(fixture["log"])
    fixture.compare("log", matrix_to_rotvec(rotation))
    fixture.compare("rot_to_sixd", matrix_to_sixd_rows(rotation))
    _check_projection(fixture)


def check_rotations_and_camera(fixture: Fixture) -> None:
    fixture.compare("matrix", sixd_columns_to_matrix(torch.from_numpy(fixture["sixd"])))
    fixture.compare("aa_matrix", rotvec_to_matrix(torch.from_numpy(fixture["aa"])))
    _check_projection(fixture)
    check_full_image(fixture, fixture["cam"], "full_focal", "full_trans")


def _shortest(rotvec_rad: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(rotvec_rad, axis=-1, keepdims=True)
    return np.where(angle > np.pi, rotvec_rad * (1 - 2 * np.pi / np.maximum(angle, 1e-9)), rotvec_rad)


def _check_projection(fixture: Fixture) -> None:
    points = fixture["points"] + fixture["trans"][:, None]
    fixture.compare("projection", points[..., :2] / points[..., 2:] * fixture["focal"][:, None], 1e-5, relative=True)
