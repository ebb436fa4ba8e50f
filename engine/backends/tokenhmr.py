# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR: pose spoken in a learnt vocabulary, which keeps it plausible. Needs its authors' weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models import weights
from .neural import CropNetworkBackend

if TYPE_CHECKING:
    import torch


class TokenHmrBackend(CropNetworkBackend):
    """See `models.tokenhmr`."""

    name = "tokenhmr"
    title = "TokenHMR"
    entries = ("tokenhmr", "tokenhmr-tokenizer")

    def build(self) -> torch.nn.Module:
        """Model and tokenizer."""
        from ...models.tokenhmr import TokenHmr

        return TokenHmr.from_states(*(weights.load_state(weights.find(entry)) for entry in self.entries))
