# SPDX-License-Identifier: GPL-3.0-or-later
"""HMR2.0 (4D-Humans): a person crop becomes SMPL parameters by plain regression.

Paper: Goel, Pavlakos, Rajasegaran, Kanazawa, Malik, "Humans in 4D: Reconstructing and Tracking Humans with
Transformers" (ICCV 2023). HMR2.0a and HMR2.0b are this network with different weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .rotations_torch import sixd_columns_to_matrix
from .smpl_head import DecoderConfig, QueryDecoder, SmplPrediction
from .state import Shape, assembled, shapes_without_memory, with_prefix
from .vit import ViT, ViTConfig

NETWORK = "HMR2.0"
PREFIXES = ("backbone.", "smpl_head.")  # the rest of a checkpoint (discriminator, body model) is not the network


@dataclass(frozen=True)
class Hmr2Config:
    backbone: ViTConfig = field(default_factory=ViTConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    rounds: int = 1  # how often decoder and read-outs are repeated (`IEF_ITERS`; 1 in all known weights)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        vit_heads: int | None = None,
        decoder_heads: int | None = None,
        rounds: int = 1,
    ) -> Hmr2Config:
        return cls(
            backbone=ViTConfig.from_state(with_prefix(state, "backbone."), NETWORK, vit_heads),
            decoder=DecoderConfig.from_state(with_prefix(state, "smpl_head.transformer."), NETWORK, decoder_heads),
            rounds=rounds,
        )


def expected_shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes of a complete model file of the sizes that `state` speaks of."""
    config = Hmr2Config.from_state(state)
    return shapes_without_memory(lambda: Hmr2(config))


class Hmr2Head(nn.Module):
    def __init__(self, config: Hmr2Config):
        super().__init__()
        self.rounds = config.rounds
        self.feeds_back = config.decoder.input_width > 1
        self.transformer = QueryDecoder(config.decoder)
        self.decpose = nn.Linear(config.decoder.width, 24 * 6)
        self.decshape = nn.Linear(config.decoder.width, 10)
        self.deccam = nn.Linear(config.decoder.width, 3)
        # Constant offsets that belong to the weights. The stored "mean pose" reads as no sensible pose in this
        # network's 6-D convention, and was trained against so: never re-order or replace it.
        self.register_buffer("init_body_pose", torch.zeros(1, 24 * 6))
        self.register_buffer("init_betas", torch.zeros(1, 10))
        self.register_buffer("init_cam", torch.zeros(1, 3))

    def forward(self, features: Tensor) -> SmplPrediction:
        """features (B, 192, 1280) -> the body in each crop."""
        batch = features.shape[0]
        pose = self.init_body_pose.float().expand(batch, -1)  # (B, 144)
        betas = self.init_betas.float().expand(batch, -1)  # (B, 10)
        camera = self.init_cam.float().expand(batch, -1)  # (B, 3)
        for _ in range(self.rounds):
            estimate = torch.cat([pose, betas, camera], dim=-1).to(features.dtype) if self.feeds_back else None
            token = self.transformer(features, estimate)  # (B, 1024)
            pose = pose + self.decpose(token).float()
            betas = betas + self.decshape(token).float()
            camera = camera + self.deccam(token).float()
        return SmplPrediction(sixd_columns_to_matrix(pose.view(batch, 24, 6)), betas, camera)


class Hmr2(nn.Module):
    """Crops (B, 3, 256, 256), normalised RGB -> `SmplPrediction`."""

    def __init__(self, config: Hmr2Config):
        super().__init__()
        self.config = config
        self.backbone = ViT(config.backbone)
        self.smpl_head = Hmr2Head(config)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], **options) -> Hmr2:
        """The network of a checkpoint's `backbone.` and `smpl_head.` tensors; `options` as `Hmr2Config.from_state`.

        Raises `IncompleteWeights` when a tensor is missing, surplus or of another shape.
        """
        config = Hmr2Config.from_state(state, **options)
        return assembled(lambda: cls(config), state, NETWORK)

    def forward(self, crops: Tensor) -> SmplPrediction:
        return self.smpl_head(self.backbone(crops))
