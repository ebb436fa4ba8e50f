# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention that looks at a few points of a picture instead of all of it.

Paper: Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection" (ICLR 2021). The picture
comes as a pyramid of feature maps ("levels"), all their pixels in one row of tokens. A query decides itself, per head,
level and point, where it looks and how much that counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sizes = Sequence[tuple[int, int]]
"""(height, width) of every level, in the order of their tokens."""


class DeformableAttention(nn.Module):
    def __init__(self, width: int, heads: int, levels: int, points: int):
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(
        self, query: Tensor, reference: Tensor, tokens: Tensor, sizes: Sizes, is_padding: Tensor | None = None
    ) -> Tensor:
        """query (B, Q, C), tokens (B, T, C) -> what the queries see (B, Q, C).

        `reference` is where a query stands, in picture widths and heights: (B, Q, 1 or levels, 2) points, or (…, 4)
        boxes as centre and size. `is_padding` (B, T) marks tokens that show nothing.
        """
        batch, queries, _ = query.shape
        value = self.value_proj(tokens)
        if is_padding is not None:
            value = value.masked_fill(is_padding[..., None], 0.0)
        value = value.unflatten(-1, (self.heads, -1))  # (B, T, heads, C / heads)
        places = (batch, queries, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).view(*places, 2)
        weights = self.attention_weights(query).view(*places[:3], -1).softmax(-1).view(places)
        reference = reference[:, :, None, :, None]  # (B, Q, 1, levels, 1, 2 or 4)
        if reference.shape[-1] == 2:  # offsets are pixels of each level
            reach = 1 / offsets.new_tensor([(width, height) for height, width in sizes])[:, None]
        else:  # offsets of `points` reach from the centre to the box's edge
            reach = reference[..., 2:] * (0.5 / self.points)
        return self.output_proj(sample(value, sizes, reference[..., :2] + offsets * reach, weights))


def sample(value: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of bilinear samples, zero outside the picture.

    value (B, T, heads, D), locations (B, Q, heads, levels, points, 2) in picture widths and heights, weights
    (B, Q, heads, levels, points) -> (B, Q, heads * D).
    """
    batch, _, heads, depth = value.shape
    queries = locations.shape[1]
    maps = value.permute(0, 2, 3, 1).reshape(batch * heads, depth, -1)  # (B * heads, D, T)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, Q, levels, points, 2)
    weights = weights.transpose(1, 2).flatten(0, 1)  # (B * heads, Q, levels, points)
    seen = value.new_zeros(batch * heads, depth, queries)
    for level, (part, (height, width)) in enumerate(
        zip(maps.split([height * width for height, width in sizes], dim=-1), sizes, strict=True)
    ):
        picture = part.unflatten(-1, (height, width))
        samples = F.grid_sample(picture, grid[:, :, level], "bilinear", "zeros", align_corners=False)
        seen += torch.einsum("ndqp,nqp->ndq", samples, weights[:, :, level])
    return seen.view(batch, heads * depth, queries).transpose(1, 2)
