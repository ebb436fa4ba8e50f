# SPDX-License-Identifier: GPL-3.0-or-later
"""A prior that is trained along: discriminators that tell recorded bodies from recovered ones.

Paper: Kanazawa et al., "HMR" (CVPR 2018), section 3.3. Factored: one judge for each of 23 joints, one for the pose as a
whole, one for the shape. Tensor names are those that HMR2.0's checkpoints have under `discriminator.`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

JOINTS, JOINT_WIDTH, WHOLE_WIDTH = 23, 32, 1024


class FactoredDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # The same two layers look at every joint's matrix, each joint then has an output of its own.
        self.D_conv1 = nn.Conv2d(9, JOINT_WIDTH, 1)
        self.D_conv2 = nn.Conv2d(JOINT_WIDTH, JOINT_WIDTH, 1)
        self.pose_out = nn.ModuleList(nn.Linear(JOINT_WIDTH, 1) for _ in range(JOINTS))
        self.betas_fc1 = nn.Linear(10, 10)
        self.betas_fc2 = nn.Linear(10, 5)
        self.betas_out = nn.Linear(5, 1)
        self.D_alljoints_fc1 = nn.Linear(JOINTS * JOINT_WIDTH, WHOLE_WIDTH)
        self.D_alljoints_fc2 = nn.Linear(WHOLE_WIDTH, WHOLE_WIDTH)
        self.D_alljoints_out = nn.Linear(WHOLE_WIDTH, 1)

    def forward(self, body_pose: Tensor, betas: Tensor) -> Tensor:
        """body_pose (B, 23, 3, 3), betas (B, 10) -> (B, 25): 1 recorded, 0 made up; joints, shape, whole pose."""
        x = body_pose.flatten(2).transpose(1, 2)[..., None]  # (B, 9, 23, 1)
        x = self.D_conv2(F.relu(self.D_conv1(x))).squeeze(-1).transpose(1, 2)  # (B, 23, 32)
        joints = torch.cat([out(x[:, index]) for index, out in enumerate(self.pose_out)], dim=1)
        shape = self.betas_out(F.relu(self.betas_fc2(F.relu(self.betas_fc1(betas)))))
        whole = F.relu(self.D_alljoints_fc2(F.relu(self.D_alljoints_fc1(x.flatten(1)))))
        return torch.cat([joints, shape, self.D_alljoints_out(whole)], dim=1)


def deceiving_loss(judge: FactoredDiscriminator, body_pose: Tensor, betas: Tensor) -> Tensor:
    """What the recovered bodies cost for being told from recorded ones; the judge itself learns nothing from it."""
    still = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    return (functional_call(judge, still, (body_pose, betas)) - 1).square().sum(-1).mean()


def judging_loss(judge: FactoredDiscriminator, real: tuple[Tensor, Tensor], made_up: tuple[Tensor, Tensor]) -> Tensor:
    """What the judge's mistakes cost; the recovered bodies learn nothing from it. Least squares, as in the paper."""
    on_real = (judge(*real) - 1).square().sum(-1).mean()
    on_made_up = judge(*(each.detach() for each in made_up)).square().sum(-1).mean()
    return on_real + on_made_up
