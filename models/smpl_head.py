# SPDX-License-Identifier: GPL-3.0-or-later
"""What TokenHMR and HMR2.0 share after the backbone: a one-query transformer decoder and the form of the answer.

Paper: Goel et al., "Humans in 4D" (ICCV 2023). Tensor names are those of the released checkpoints
(`smpl_head.transformer.…`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .state import count_numbered, need

# Width of one attention head in the released decoder. Heads leave no trace in the tensors' shapes.
HEAD_WIDTH = 64


@dataclass(frozen=True)
class SmplPrediction:
    """What the network says about each crop, as SMPL parameters. Always float32."""

    rotations: Tensor  # (B, 24, 3, 3) local rotation matrices, SMPL joint order; joint 0 turns the body in the camera
    betas: Tensor  # (B, 10) shape
    crop_camera: Tensor  # (B, 3) scale, tx, ty in the crop; see `projection.crop_translation`

    @property
    def global_orient(self) -> Tensor:
        """(B, 1, 3, 3)"""
        return self.rotations[:, :1]

    @property
    def body_pose(self) -> Tensor:
        """(B, 23, 3, 3), hands (the last two) included"""
        return self.rotations[:, 1:]


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the transformer decoder; the defaults are the released ones."""

    input_width: int = 1  # one number, always zero; 157 when the current estimate is fed back (HMR2.0's `mean_shape`)
    width: int = 1024
    depth: int = 6
    heads: int = 8
    attention_width: int = 512  # all heads together
    mlp_width: int = 1024
    context_width: int = 1280  # numbers per token of the backbone

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], network: str, heads: int | None = None) -> DecoderConfig:
        """Sizes read from the tensors of a checkpoint (names without `smpl_head.transformer.`)."""
        width, input_width = need(state, "to_token_embedding.weight", network).shape
        key_value_width, context_width = need(state, "transformer.layers.0.1.fn.to_kv.weight", network).shape
        attention_width = key_value_width // 2
        return cls(
            input_width=input_width,
            width=width,
            depth=count_numbered(state, "transformer.layers."),
            heads=heads or max(1, attention_width // HEAD_WIDTH),
            attention_width=attention_width,
            mlp_width=need(state, "transformer.layers.0.2.fn.net.0.weight", network).shape[0],
            context_width=context_width,
        )


class PreNorm(nn.Module):
    def __init__(self, width: int, fn: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        return self.fn(self.norm(x), *context)


class LoneSelfAttention(nn.Module):
    """Self-attention of a single token: it can only attend to itself, so the value is all that remains."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.to_qkv = nn.Linear(config.width, 3 * config.attention_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(config.attention_width, config.width))

    def forward(self, x: Tensor) -> Tensor:
        to_value = self.to_qkv.weight.chunk(3)[2]
        return self.to_out(F.linear(x, to_value))


class CrossAttention(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.heads = config.heads
        self.to_q = nn.Linear(config.width, config.attention_width, bias=False)
        self.to_kv = nn.Linear(config.context_width, 2 * config.attention_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(config.attention_width, config.width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        key, value = (self._split(part) for part in self.to_kv(context).chunk(2, dim=-1))
        return self.look(x, key, value)

    def look(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """x (B, 1, 1024), key and value (B, heads, 192, head width) of the picture -> (B, 1, 1024)."""
        seen = F.scaled_dot_product_attention(self._split(self.to_q(x)), key, value)  # (B, heads, 1, head width)
        return self.to_out(seen.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, head width)


class FeedForward(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        # The idle place is the dropout of the training; it keeps the numbering of the checkpoint.
        width, hidden = config.width, config.mlp_width
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Layers(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        parts = (LoneSelfAttention, CrossAttention, FeedForward)
        self.layers = nn.ModuleList(
            nn.ModuleList(PreNorm(config.width, part(config)) for part in parts) for _ in range(config.depth)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        for attend_self, attend_picture, feed_forward in self.layers:
            x = x + attend_self(x)
            x = x + attend_picture(x, context)
            x = x + feed_forward(x)
        return x  # no final norm


class QueryDecoder(nn.Module):
    """One question to the picture: "which body is this?". The answer is a token of 1024 numbers."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, config.width))
        self.to_token_embedding = nn.Linear(config.input_width, config.width)
        self.transformer = Layers(config)

    def forward(self, features: Tensor, estimate: Tensor | None = None) -> Tensor:
        """features (B, 192, 1280), estimate (B, input width) or None for the usual zeros -> token (B, 1024)."""
        if estimate is None:
            # The embedding of zeros is its bias.
            query = self.to_token_embedding.bias.expand(features.shape[0], 1, -1)
        else:
            query = self.to_token_embedding(estimate)[:, None]
        return self.transformer(query + self.pos_embedding, features)[:, 0]
