# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR and HMR2.0 made ready for use: what is the same for every picture is computed once, and the heavy part may
calculate in 16 bits.

    network = for_inference(TokenHmr.from_states(...), torch.bfloat16)

The exact networks stay as they are for reading, training and comparing; these share their tensors. In 16 bits only the
backbone's and the decoder's large products are: 99 % of the work. The stream that the blocks add to, norms, attention
of the decoder, classifier, tokenizer, rotations and camera stay in float32, because rounding adds up there.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .smpl_head import CrossAttention, LoneSelfAttention, QueryDecoder
from .vit import PATCH_PADDING_PX, Block, ViT

Kind = TypeVar("Kind", bound=nn.Module)


def for_inference(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A `TokenHmr` or `Hmr2` -> a module that answers alike, faster. Tensors that stay as they are, are shared."""
    fast, fast.smpl_head = _shallow(network), _shallow(network.smpl_head)
    fast.backbone = FoldedViT(network.backbone, dtype)
    if network.smpl_head.transformer.config.input_width == 1:  # else the query depends on the picture
        fast.smpl_head.transformer = FoldedDecoder(network.smpl_head.transformer, dtype)
    return fast.requires_grad_(False).eval()


class FoldedViT(nn.Module):
    """`ViT` whose positions and the patches' bias are one constant."""

    def __init__(self, vit: ViT, dtype: torch.dtype):
        super().__init__()
        self.config = vit.config
        self.portrait = vit.portrait
        self.register_buffer("patch_weight", vit.patch_embed.proj.weight.detach().to(dtype))
        positions = vit.pos_embed[:, 1:] + vit.pos_embed[:, :1] + vit.patch_embed.proj.bias
        self.register_buffer("positions", positions.detach())
        self.blocks = nn.ModuleList(_block(block, dtype) for block in vit.blocks)
        self.last_norm = vit.last_norm

    def forward(self, crops: Tensor) -> Tensor:
        """crops (B, 3, 256, 256), normalised RGB -> features (B, 192, 1280), float32."""
        pixels = self.portrait(crops).to(self.patch_weight.dtype)
        patches = F.conv2d(pixels, self.patch_weight, None, self.config.patch_px, PATCH_PADDING_PX)
        x = patches.flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)


class FoldedDecoder(nn.Module):
    """`QueryDecoder` with the usual query of zeros.

    The query and the first self-attention on it are the same for every picture: one constant. Further self-attentions
    of the lone token are two products one after the other: one product. All layers look at the same features: their
    keys and values are one product.
    """

    def __init__(self, decoder: QueryDecoder, dtype: torch.dtype):
        super().__init__()
        layers = decoder.transformer.layers
        (first, _, _), *_ = layers
        with torch.no_grad():
            query = decoder.to_token_embedding.bias + decoder.pos_embedding  # (1, 1, 1024)
            self.register_buffer("query", query + first(query))
            pictures = [attend_picture.fn for _, attend_picture, _ in layers]
            self.register_buffer("to_kv", torch.cat([each.to_kv.weight for each in pictures]).to(dtype))
            self.self_norms = nn.ModuleList(attend_self.norm for attend_self, _, _ in layers[1:])
            self.self_products = nn.ModuleList(_one_product(attend_self.fn) for attend_self, _, _ in layers[1:])
        self.picture_norms = nn.ModuleList(attend_picture.norm for _, attend_picture, _ in layers)
        self.pictures = nn.ModuleList(_without_kv(each) for each in pictures)
        self.feed_forwards = nn.ModuleList(feed_forward for _, _, feed_forward in layers)
        self.heads = decoder.config.heads

    def forward(self, features: Tensor, estimate: Tensor | None = None) -> Tensor:
        """features (B, 192, 1280) -> token (B, 1024); `estimate` is never given to this network."""
        assert estimate is None
        seen = F.linear(features.to(self.to_kv.dtype), self.to_kv).float()
        seen = seen.unflatten(-1, (len(self.pictures), 2, self.heads, -1)).permute(2, 3, 0, 4, 1, 5)
        x = self.query.expand(features.shape[0], -1, -1)
        for index, (norm, attend, feed_forward) in enumerate(
            zip(self.picture_norms, self.pictures, self.feed_forwards, strict=True)
        ):
            if index:
                x = x + self.self_products[index - 1](self.self_norms[index - 1](x))
            key, value = seen[index]  # (B, heads, 192, head width) each
            x = x + attend.look(norm(x), key, value)
            x = x + feed_forward(x)
        return x[:, 0]


def _one_product(attend_self: LoneSelfAttention) -> nn.Linear:
    """What self-attention is for a lone token: its value, then the way out."""
    to_value, to_out = attend_self.to_qkv.weight.chunk(3)[2], attend_self.to_out[0]
    product = nn.Linear(to_value.shape[1], to_out.out_features, device="meta")
    product.weight, product.bias = nn.Parameter(to_out.weight @ to_value), to_out.bias
    return product


def _without_kv(attend_picture: CrossAttention) -> CrossAttention:
    made = _shallow(attend_picture)
    del made.to_kv
    return made


def _block(block: Block, dtype: torch.dtype) -> Block:
    """The block with its products' weights in `dtype`; its norms are shared and stay in float32."""
    made = _shallow(block)
    made.attn, made.mlp = _cast(block.attn, dtype), _cast(block.mlp, dtype)
    return made


def _cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module with all its parameters in `dtype`; where they are that already, they are shared."""
    made = _shallow(module)
    for name, parameter in module.named_parameters(recurse=False):
        setattr(made, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))
    for name, child in module.named_children():
        setattr(made, name, _cast(child, dtype))
    return made


def _shallow(module: Kind) -> Kind:
    """A module of its own with the same children and tensors."""
    made = copy.copy(module)
    for name, held in vars(made).items():
        if isinstance(held, dict):
            setattr(made, name, held.copy())
    return made
