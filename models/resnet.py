# SPDX-License-Identifier: GPL-3.0-or-later
"""ResNet-50 with frozen batch norms, for networks that look at its last three stages.

Paper: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), in the variant whose 3x3 convolution takes
the stride. Tensor names are the usual ones of released ResNets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Inner width, blocks and stride of layer1 … layer4."""
EXPANSION = 4
OUTPUT_WIDTHS = tuple(width * EXPANSION for width, _, _ in STAGES[1:])
"""Channels of what `ResNet50` returns: 512, 1024, 2048."""


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


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        entering = STAGES[0][0]
        self.conv1 = nn.Conv2d(3, entering, 7, 2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(entering)
        for index, (width, blocks, stride) in enumerate(STAGES, start=1):
            first = Bottleneck(entering, width, stride)
            entering = width * EXPANSION
            rest = (Bottleneck(entering, width, 1) for _ in range(blocks - 1))
            self.add_module(f"layer{index}", nn.Sequential(first, *rest))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """pictures (B, 3, H, W), normalised RGB -> maps at 1/8, 1/16 and 1/32 of the size (rounded up)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(pictures))), 3, 2, padding=1)
        x = self.layer1(x)
        maps = []
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps
