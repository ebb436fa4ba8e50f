# SPDX-License-Identifier: GPL-3.0-or-later
"""ResNets with frozen batch norms, for networks that look at the last three stages; ResNet-50 unless told otherwise.

Paper: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), in the variant whose 3x3 convolution takes
the stride. Tensor names are the usual ones of released ResNets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .state import count_numbered, need

STRIDES = (1, 2, 2, 2)
"""Of layer1 … layer4."""
EXPANSION = 4


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes; the defaults are those of ResNet-50."""

    width: int = 64  # of the first convolution and inside layer1; it doubles from layer to layer
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # of layer1 … layer4

    @property
    def output_widths(self) -> tuple[int, ...]:
        """Channels of what `ResNet` returns: 512, 1024, 2048."""
        return tuple(self.width * 2**layer * EXPANSION for layer in (1, 2, 3))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], network: str, prefix: str = "") -> ResNetConfig:
        """Sizes read from the tensors of a checkpoint."""
        return cls(
            width=need(state, f"{prefix}conv1.weight", network).shape[0],
            blocks=tuple(count_numbered(state, f"{prefix}layer{layer}.") for layer in (1, 2, 3, 4)),
        )


class FrozenBatchNorm(nn.Module):
    """A scale and a shift per channel, as left by the training."""

    def __init__(self, width: int, epsilon: float = 1e-5):
        super().__init__()
        self.epsilon = epsilon
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(width) if name in ("weight", "running_var") else torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.epsilon)


class Bottleneck(nn.Module):
    def __init__(self, entering: int, width: int, stride: int):
        super().__init__()
        leaving = width * EXPANSION
        self.conv1 = nn.Conv2d(entering, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.conv3 = nn.Conv2d(width, leaving, 1, bias=False)
        self.bn3 = FrozenBatchNorm(leaving)
        self.downsample = None
        if entering != leaving:
            self.downsample = nn.Sequential(
                nn.Conv2d(entering, leaving, 1, stride, bias=False), FrozenBatchNorm(leaving)
            )

    def forward(self, x: Tensor) -> Tensor:
        passed = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + passed)


class ResNet(nn.Module):
    def __init__(self, config: ResNetConfig | None = None):
        super().__init__()
        config = config or ResNetConfig()
        entering = config.width
        self.conv1 = nn.Conv2d(3, entering, 7, 2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(entering)
        for layer, (blocks, stride) in enumerate(zip(config.blocks, STRIDES, strict=True)):
            width = config.width * 2**layer
            first = Bottleneck(entering, width, stride)
            entering = width * EXPANSION
            rest = (Bottleneck(entering, width, 1) for _ in range(blocks - 1))
            self.add_module(f"layer{layer + 1}", nn.Sequential(first, *rest))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """pictures (B, 3, H, W), normalised RGB -> maps at 1/8, 1/16 and 1/32 of the size (rounded up)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(pictures))), 3, 2, padding=1)
        x = self.layer1(x)
        maps = []
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps
