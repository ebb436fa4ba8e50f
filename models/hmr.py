# SPDX-License-Identifier: GPL-3.0-or-later
"""HMR (2018): a person crop becomes SMPL parameters by a guess that is corrected three times.

Paper: Kanazawa, Black, Jacobs, Malik, "End-to-end Recovery of Human Shape and Pose" (CVPR 2018). The baseline that
later networks are compared with; trained here from scratch or from an ImageNet ResNet-50, no released weights are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resnet import FrozenBatchNorm, ResNet, ResNetConfig
from .rotations_torch import rotvec_to_matrix
from .smpl_head import SmplPrediction

NETWORK = "HMR"
POSE, BETAS, CAMERA = 72, 10, 3
FIRST_SCALE = 0.9
"""Half crops per metre: the first guess fills the crop with a person of average height."""


@dataclass(frozen=True)
class HmrConfig:
    """Sizes; the defaults are the paper's."""

    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    hidden: int = 1024
    rounds: int = 3  # of error feedback
    dropout: float = 0.5


class FeedbackRegressor(nn.Module):
    """Features and the present estimate -> what to add to the estimate, several times (iterative error feedback)."""

    def __init__(self, config: HmrConfig, features: int) -> None:
        super().__init__()
        self.rounds = config.rounds
        numbers = POSE + BETAS + CAMERA
        self.fc1 = nn.Linear(features + numbers, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.hidden, numbers)
        nn.init.xavier_uniform_(self.out.weight, gain=0.01)  # the first corrections are small
        nn.init.zeros_(self.out.bias)
        first = torch.zeros(1, numbers)
        first[0, 0] = math.pi  # upright: SMPL's y up becomes the camera's y down
        first[0, POSE + BETAS] = FIRST_SCALE
        self.register_buffer("first_guess", first)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, 85) rotation vectors of 24 joints, betas, camera."""
        estimate = self.first_guess.expand(len(features), -1)
        for _ in range(self.rounds):
            x = self.drop(F.relu(self.fc1(torch.cat([features, estimate.to(features.dtype)], dim=-1))))
            x = self.drop(F.relu(self.fc2(x)))
            estimate = estimate + self.out(x).float()
        return estimate


class Hmr(nn.Module):
    """Crops (B, 3, S, S), normalised RGB -> `SmplPrediction`; its camera is a weak perspective."""

    def __init__(self, config: HmrConfig) -> None:
        super().__init__()
        self.backbone = with_trainable_norms(ResNet(config.backbone))
        self.regressor = FeedbackRegressor(config, config.backbone.output_widths[-1])

    def forward(self, crops: Tensor) -> SmplPrediction:
        features = self.backbone(crops)[-1].mean((2, 3))  # (B, 2048)
        pose, betas, camera = self.regressor(features).split([POSE, BETAS, CAMERA], dim=-1)
        return SmplPrediction(rotvec_to_matrix(pose.unflatten(-1, (24, 3))), betas, camera)


def with_trainable_norms(module: nn.Module) -> nn.Module:
    """The module with batch norms that learn in place of frozen ones, values kept."""
    for name, child in module.named_children():
        if isinstance(child, FrozenBatchNorm):
            norm = nn.BatchNorm2d(len(child.weight), eps=child.epsilon)
            norm.load_state_dict(child.state_dict(), strict=False)  # the count of batches begins anew
            setattr(module, name, norm)
        else:
            with_trainable_norms(child)
    return module
