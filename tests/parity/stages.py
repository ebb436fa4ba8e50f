# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking into a network while it runs: inner results by the names that the fixtures use."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from recover_body.engine.crop import Crop, imagined_focal_px, normalised
from recover_body.models.projection import CROP_FOCAL_PX, crop_translation, project_to_crop
from recover_body.models.smpl_head import SmplPrediction

from .report import Fixture
from .standins import posed


@contextmanager
def recorded(modules: Mapping[str, nn.Module]):
    """Yields a dictionary that fills with each module's last output while the network runs."""
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: seen.__setitem__(name, output)

    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def shared_stages(network: nn.Module) -> dict[str, nn.Module]:
    """What TokenHMR and HMR2.0 have in common: backbone and decoder."""
    backbone, decoder = network.backbone, network.smpl_head.transformer
    modules = {
        "patch": backbone.patch_embed,
        "attn0": backbone.blocks[0].attn,
        "block0": backbone.blocks[0],
        "block_last": backbone.blocks[-1],
        "feat": backbone,
        "token": decoder,
        "betas_raw": network.smpl_head.decshape,
        "cam_raw": network.smpl_head.deccam,
    }
    for index, layer in enumerate(decoder.transformer.layers):
        modules |= {f"dec{index}_{name}": part for name, part in zip(("sa", "ca", "ff"), layer, strict=True)}
    return modules


def check_shared_stages(fixture: Fixture, seen: dict[str, Tensor], network: nn.Module) -> None:
    config = network.backbone.config
    features = seen["feat"].transpose(1, 2).unflatten(2, (config.rows, config.columns))  # (B, C, 16, 12)
    seen["feat"] = features
    seen["feat_mean_c"] = features.flatten(2).mean(-1)
    seen["feat_std_c"] = features.flatten(2).std(-1)
    seen["block0_in"] = seen["patch"] + network.backbone.pos_embed[:, 1:] + network.backbone.pos_embed[:, :1]
    for name, value in seen.items():
        if name in fixture:
            fixture.compare(name, value.squeeze(1) if name.startswith("dec") else value)


def crops_of(fixture: Fixture) -> Tensor:
    """The stored uint8 crops as network input (B, 3, 256, 256)."""
    return torch.from_numpy(np.stack([normalised(crop) for crop in fixture["crop_u8"]]))


def check_answer(fixture: Fixture, prediction: SmplPrediction) -> None:
    """Body, camera and, where the file has them, what they make of the stand-in SMPL body."""
    fixture.compare("global_orient", prediction.global_orient)
    fixture.compare("body_pose", prediction.body_pose)
    fixture.compare("betas", prediction.betas)
    fixture.compare("pred_cam", prediction.crop_camera, 1e-5, relative=True)
    if "vertices_sub" not in fixture:
        return
    translation = crop_translation(prediction.crop_camera)
    fixture.compare("pred_cam_t", translation, 1e-5, relative=True)
    fixture.compare("focal_length", np.full((len(translation), 2), CROP_FOCAL_PX), 0.0)
    vertices, keypoints = posed(prediction, fixture.meta["body_seed"])
    fixture.compare("vertices_sub", vertices)
    fixture.compare("keypoints_3d", keypoints)
    fixture.compare("keypoints_2d", project_to_crop(torch.from_numpy(keypoints), translation))
    check_full_image(fixture, prediction.crop_camera.numpy(), "scaled_focal", "pred_cam_t_full")


def check_full_image(fixture: Fixture, cameras: np.ndarray, focal_name: str, translation_name: str) -> None:
    """The crop cameras in the full images. The reference takes one focal length for the whole batch: the longest."""
    centers = fixture["box_center"] if "box_center" in fixture else fixture["center"]
    sides = fixture["box_size"] if "box_size" in fixture else fixture["side"]
    focal_px = max(imagined_focal_px(tuple(size)) for size in fixture["img_size"])
    fixture.compare(focal_name, focal_px, 1e-5, relative=True)
    full = [
        Crop(center, float(side)).full_image_translation(camera, tuple(size), focal_px)
        for center, side, size, camera in zip(centers, sides, fixture["img_size"], cameras, strict=True)
    ]
    fixture.compare(translation_name, np.stack(full), 1e-5, relative=True)
