# SPDX-License-Identifier: GPL-3.0-or-later
"""What data sets give the training loop and models; apart, so that they need not know the loop and its libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

Batch = Mapping[str, Tensor]
"""The tensors of several samples by name, each (B, ...)."""


@dataclass(frozen=True)
class Place:
    """Which process of how many this is."""

    rank: int
    count: int


@dataclass(frozen=True)
class Drawn:
    """A batch, and what happened on the way to it."""

    batch: Batch
    skipped: list[str] = field(default_factory=list)
    """A sentence for each bad sample that was passed over."""
