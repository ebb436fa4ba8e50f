# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain ViT-H/16 that TokenHMR and HMR2.0 look through.

Papers: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021); Xu et al., "ViTPose" (2022), whose portrait-shaped
variant this is. Tensor names are those of the released checkpoints (`backbone.…`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .state import count_numbered, need

# The weights were trained with a border of two zeros around the picture. Four give the same grid and wrong features.
PATCH_PADDING_PX = 2
# The backbone's layer norms are the only ones with this epsilon; the decoder uses the library's 1e-5.
NORM_EPSILON = 1e-6
# Width of one attention head in ViT-H. Heads leave no trace in the tensors' shapes.
HEAD_WIDTH = 80


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of the backbone; the defaults are the released ones."""

    width: int = 1280  # numbers per token
    depth: int = 32  # blocks
    heads: int = 16
    mlp_width: int = 5120
    patch_px: int = 16  # side of the square a token sees
    rows: int = 16  # tokens down the picture
    columns: int = 12  # tokens across it: the picture is portrait, 4:3

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], network: str, heads: int | None = None) -> ViTConfig:
        """Sizes read from the tensors of a checkpoint (names without `backbone.`)."""
        width, _, patch_px, _ = need(state, "patch_embed.proj.weight", network).shape
        tokens = need(state, "pos_embed", network).shape[1] - 1
        rows = round(math.sqrt(tokens * 4 / 3))
        return cls(
            width=width,
            depth=count_numbered(state, "blocks."),
            heads=heads or max(1, width // HEAD_WIDTH),
            mlp_width=need(state, "blocks.0.mlp.fc1.weight", network).shape[0],
            patch_px=patch_px,
            rows=rows,
            columns=tokens // rows,
        )


def _as(layer: nn.Linear, x: Tensor) -> Tensor:
    """x in the number format of the layer's weights: they may have 16 bits while the stream between blocks has 32."""
    return x.to(layer.weight.dtype)


class PatchEmbed(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_px, config.patch_px, padding=PATCH_PADDING_PX)

    def forward(self, picture: Tensor) -> Tensor:
        return self.proj(picture).flatten(2).transpose(1, 2)  # (B, rows * columns, width), row by row


class Attention(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(_as(self.qkv, x)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, head width)
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.proj(seen.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp_width)
        self.fc2 = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(_as(self.fc1, x))))


class Block(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mlp = Mlp(config)
        self.skip_chance = 0.0  # in training: how often a residual is left out for a sample (stochastic depth)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._kept(self.attn(self.norm1(x)))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, residual: Tensor) -> Tensor:
        if not (self.training and self.skip_chance):
            return residual
        kept = torch.rand(len(residual), 1, 1, device=residual.device) >= self.skip_chance
        return residual * kept / (1 - self.skip_chance)


class ViT(nn.Module):
    """Square person crops in, one feature vector per patch out."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.rows * config.columns + 1, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.last_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def forward(self, crops: Tensor) -> Tensor:
        """crops (B, 3, 256, 256), normalised RGB -> features (B, 192, 1280), token order row by row."""
        x = self.patch_embed(self.portrait(crops))  # (B, 192, 1280)
        # Row 0 belonged to a class token that the network no longer has; it is added to every patch instead.
        x = x + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)

    def use_stochastic_depth(self, most: float) -> None:
        """In training, leave residuals out: none in the first block, ever more, and `most` (0 to 1) in the last.

        Source: Huang et al., "Deep Networks with Stochastic Depth" (ECCV 2016).
        """
        for index, block in enumerate(self.blocks):
            block.skip_chance = most * index / max(len(self.blocks) - 1, 1)

    def portrait(self, crops: Tensor) -> Tensor:
        """The middle (B, 3, 256, 192) of the square: a person is taller than wide, the sides are never looked at."""
        width_px = self.config.columns * self.config.patch_px
        margin_px = (crops.shape[-1] - width_px) // 2
        return crops[..., margin_px : margin_px + width_px]
