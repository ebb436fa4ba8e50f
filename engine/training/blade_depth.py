# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: BLADE's first stage. A frozen depth backbone, and a small head that asks it how far away the person is.

Paper: Wang et al., "BLADE" (CVPR 2025). The loss is relative to the depth: ten centimetres matter at one metre.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ...models.blade import DEPTH_PICTURE_PX, DEPTH_PREFIXES, FEATURE_SIDE, NETWORK, UNUSED, DepthNet
from ...models.depth_anything import UNUSED as UNUSED_IN_BACKBONE
from ...models.depth_anything import DepthAnythingConfig
from .batch import Batch
from .data.people_data import PeopleData
from .initial import begin_with
from .people_recipe import PeopleRecipe
from .rates import CONSTANT, TO_NOTHING, Schedule


@dataclass(frozen=True)
class DepthTraining:
    """The choices of a preset."""

    backbone: DepthAnythingConfig = field(default_factory=DepthAnythingConfig)
    query_mlp_width: int = 1024
    dropout: float = 0.1
    feature_side: int = FEATURE_SIDE
    """Of the map of features that is looked at."""
    side_px: int = DEPTH_PICTURE_PX
    interface_rate: float = 1e-4
    head_rate: float = 2e-4
    schedule: Schedule = CONSTANT
    mirror: bool = True
    """The only variation of the released training."""
    steps: int = 20_000
    """About four passes through the data of the paper; the best came within them."""
    batch: int = 16
    """Per GPU, of which there were eight."""


# Heads leave no trace in the weights: one, as whoever reads them will assume at this width.
_SMALL_BACKBONE = DepthAnythingConfig(
    width=64, depth=12, heads=1, mlp_width=128, trained_grid=4, neck_widths=(16, 32, 64, 64), fused_width=16
)
_SMALL = DepthTraining(
    _SMALL_BACKBONE,
    query_mlp_width=64,
    dropout=0.0,
    feature_side=56,
    side_px=56,
    interface_rate=3e-3,
    head_rate=3e-3,
    schedule=TO_NOTHING,
    steps=800,
    batch=32,  # the batch norms of the interface are quieter
)

PRESETS = {
    "paper": DepthTraining(),
    # A random backbone of a hundredth of the size: enough to see that the recipe learns.
    "small": _SMALL,
    "tiny": replace(_SMALL, query_mlp_width=32, schedule=CONSTANT, steps=3, batch=2),
}


class DepthModel(nn.Module):
    def __init__(self, choices: DepthTraining) -> None:
        super().__init__()
        self.network = DepthNet(choices.backbone, choices.query_mlp_width, choices.dropout, choices.feature_side)
        encoder = self.network.depth_backbone.pretrained
        for embedding in (encoder.cls_token, encoder.pos_embed):
            nn.init.trunc_normal_(embedding, std=0.02)
        self.network.depth_backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> DepthModel:
        super().train(mode)
        self.network.depth_backbone.eval()
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        true_m = batch["depth_m"]
        relative = (self.network(batch["picture"]).float() - true_m).abs() / true_m
        loss = (relative * batch["has_depth"]).mean()
        return {"loss": loss, "relative_error": loss.detach()}


class DepthRecipe(PeopleRecipe):
    name = "blade-depth"

    def __init__(self, choices: DepthTraining, data: PeopleData, start: dict[str, Tensor] | None = None) -> None:
        """`start`: tensors of Depth Anything V2, or of BLADE."""
        super().__init__(choices, data)
        torch.manual_seed(data.seed)
        self.model = DepthModel(choices)
        if start:
            self._begin(start)

    def _begin(self, start: dict[str, Tensor]) -> None:
        if any(name.startswith("pretrained.") for name in start):
            used = {name: tensor for name, tensor in start.items() if name not in UNUSED_IN_BACKBONE}
            begin_with(self.model.network.depth_backbone, used, "", NETWORK)
            self._started = "backbone"
        else:
            used = {n: t for n, t in start.items() if n.startswith(DEPTH_PREFIXES) and n not in UNUSED}
            begin_with(self.model.network, used, "", NETWORK)
            self._started = "everything"

    def optimizer(self) -> torch.optim.Optimizer:
        network = self.model.network
        groups = [
            {"params": list(network.depth_interface.parameters()), "lr": self.choices.interface_rate},
            {"params": list(network.depth_head.parameters()), "lr": self.choices.head_rate},
        ]
        return torch.optim.AdamW(groups, betas=(0.9, 0.999), weight_decay=0.0)

    def evaluate(self) -> dict[str, float]:
        """relative_error: mean |depth - true| / true over held-out people."""
        device = next(self.model.parameters()).device
        errors = []
        for batch in self._data.held_out(self.choices.batch):
            true_m = batch["depth_m"].to(device)
            errors.append((self.model.network(batch["picture"].to(device)) - true_m).abs() / true_m)
        if not errors:
            return {}
        error = float(torch.cat(errors).mean())
        return {"relative_error": error, "score": error}

    def weights(self) -> dict[str, Tensor]:
        return self.model.network.state_dict()

    def description(self) -> dict:
        return super().description() | {"preparation": repr(self._data.preparation)}
