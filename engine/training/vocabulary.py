# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tokenizer's vocabulary is learnt: words follow the latents that chose them, by moving averages.

Source: van den Oord et al., "Neural Discrete Representation Learning" (2017), appendix A; with the code reset of
TokenHMR (CVPR 2024): a word that too few latents choose is replaced by a latent of the present batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...models.pose_tokens import Quantizer, commitment, perplexity

DECAY = 0.99
USED_FROM = 1.0
"""A word counts as used while the moving count of its latents is at least this."""


@dataclass(frozen=True)
class Quantized:
    vectors: Tensor
    """(B, 256, T) each latent's word, with the gradient passed straight through to the latents."""
    commitment: Tensor
    """Scalar: mean squared distance of the latents from their words."""
    perplexity: Tensor
    """Scalar: how many words the batch uses, evenly counted."""


def quantize(quantizer: Quantizer, latents: Tensor) -> Quantized:
    """Latents (B, 256, T) by the vocabulary as it is, nothing learnt."""
    codes = quantizer.nearest(latents)
    vectors = quantizer.vectors(codes)
    straight_through = latents + (vectors - latents).detach()
    return Quantized(straight_through, commitment(latents, vectors), perplexity(codes, len(quantizer.codebook)))


class Vocabulary(nn.Module):
    """A quantizer in training. Sums and counts are part of the state: training can be resumed where it stopped."""

    def __init__(self, quantizer: Quantizer):
        super().__init__()
        self.quantizer = quantizer
        self.register_buffer("sums", torch.zeros_like(quantizer.codebook))
        self.register_buffer("counts", torch.zeros(len(quantizer.codebook)))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, 256, T); in training mode the vocabulary then moves towards them."""
        rows = latents.detach().transpose(1, 2).flatten(0, 1)  # (B * T, 256)
        if self.training and not self.begun:
            self._begin(rows)
        quantized = quantize(self.quantizer, latents)  # with the words from before this batch
        if self.training:
            self._follow(rows)
        return quantized

    @torch.no_grad()
    def _begin(self, rows: Tensor) -> None:
        self.quantizer.codebook.copy_(self._first_rows(rows))
        self.sums.copy_(self.quantizer.codebook)
        self.counts.fill_(1.0)
        self.begun.fill_(True)

    @torch.no_grad()
    def _follow(self, rows: Tensor) -> None:
        codebook = self.quantizer.codebook
        codes = self.quantizer.nearest(rows.T[None])[0]
        chosen = torch.bincount(codes, minlength=len(codebook)).to(rows.dtype)
        totals = torch.zeros_like(codebook).index_add_(0, codes, rows)
        self.sums.mul_(DECAY).add_(totals, alpha=1 - DECAY)
        self.counts.mul_(DECAY).add_(chosen, alpha=1 - DECAY)
        used = (self.counts >= USED_FROM)[:, None]
        codebook.copy_(torch.where(used, self.sums / self.counts[:, None], self._first_rows(rows)))

    def _first_rows(self, rows: Tensor) -> Tensor:
        """As many rows as there are words; too few are repeated, a little apart from each other."""
        words, width = self.quantizer.codebook.shape
        if len(rows) < words:
            repeated = rows.repeat(-(-words // len(rows)), 1)
            rows = repeated + torch.randn_like(repeated) * (0.01 / math.sqrt(width))
        return rows[:words]
