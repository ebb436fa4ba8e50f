# SPDX-License-Identifier: GPL-3.0-or-later
"""HMR2.0 (4D-Humans): pose by plain regression, robust on unusual pictures. Needs its authors' weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models import weights
from .neural import CropNetworkBackend

if TYPE_CHECKING:
    import torch


class Hmr2Backend(CropNetworkBackend):
    """See `models.hmr2`."""

    name = "hmr2"
    title = "HMR2.0"
    entries = ("hmr2",)

    def build(self) -> torch.nn.Module:
        """The network of the one file."""
        from ...models.hmr2 import Hmr2

        return Hmr2.from_state(weights.load_state(weights.find(self.entries[0])))
