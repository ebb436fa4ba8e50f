# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: HMR (2018), the baseline: error feedback, a weak-perspective camera, and discriminators as the prior.

Paper: Kanazawa et al., "End-to-end Recovery of Human Shape and Pose" (CVPR 2018). It sees the same crops with the same
labels as TokenHMR's recipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...models.hmr import Hmr, HmrConfig
from ...models.projection import weak_perspective
from ...models.resnet import ResNetConfig
from ...models.rotations_torch import rotvec_to_matrix
from ...models.smpl_joints import PELVIS
from .adversary import FactoredDiscriminator, deceiving_loss, judging_loss
from .batch import Batch, Drawn, Place
from .bodies import TrainingBody
from .crops import evaluated, joint_errors, labels_of
from .data.motions import PoseDraws, PoseSet
from .data.people_data import PeopleData
from .people_recipe import PeopleRecipe
from .rates import CONSTANT, TO_NOTHING, Schedule
from .tals import Labels, Predicted


@dataclass(frozen=True)
class HmrTraining:
    """The choices of a preset. The paper gives no weights; these balance the terms at the beginning of the training."""

    sizes: HmrConfig = field(default_factory=HmrConfig)
    side_px: int = 224
    """The network sees the 256 px crop at this size."""
    keypoints_2d: float = 60.0
    keypoints_3d: float = 60.0
    parameters: float = 1.0
    adversary: float = 1.0
    rate: float = 1e-5
    judge_rate: float = 1e-4
    schedule: Schedule = CONSTANT
    steps: int = 500_000
    batch: int = 64


_SMALL = HmrConfig(ResNetConfig(16, (1, 1, 1, 1)), hidden=256, dropout=0.0)

PRESETS = {
    "paper": HmrTraining(),
    "small": HmrTraining(_SMALL, side_px=64, adversary=0.02, rate=2e-3, schedule=TO_NOTHING, steps=400, batch=32),
    "tiny": HmrTraining(replace(_SMALL, hidden=16), side_px=64, rate=1e-4, steps=3, batch=2),
}


class HmrModel(nn.Module):
    def __init__(self, choices: HmrTraining, body: TrainingBody) -> None:
        super().__init__()
        self.choices, self.body = choices, body
        self.network = Hmr(choices.sizes)
        self.judge = FactoredDiscriminator()

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """A crop batch with `real_pose` (B, 21, 3) and `real_betas` (B, 10) -> both sides' losses, added.

        Neither side's loss reaches the other's parameters, so one step serves both.
        """
        predicted, labels = self.predicted(batch["picture"]), labels_of(batch)
        terms = regression_terms(predicted, labels)
        # Hands do not move in the recordings: they are at rest, for both.
        real_pose = _with_resting_hands(rotvec_to_matrix(batch["real_pose"]))
        made_up = _with_resting_hands(predicted.body_pose[:, :21])
        deceiving = deceiving_loss(self.judge, made_up, predicted.betas)
        judging = judging_loss(self.judge, (real_pose, batch["real_betas"]), (made_up, predicted.betas))
        choices = self.choices
        weights = {"keypoints_2d": choices.keypoints_2d, "keypoints_3d": choices.keypoints_3d}
        recovery = sum(weights.get(name, choices.parameters) * value for name, value in terms.items())
        with torch.no_grad():
            errors = joint_errors(predicted.keypoints_3d, labels)
        return {
            "loss": recovery + choices.adversary * deceiving + judging,
            "recovery": recovery,
            "deceiving": deceiving,
            "judging": judging,
            **{f"loss_{name}": value for name, value in terms.items()},
            **errors,
        }

    def predicted(self, pictures: Tensor) -> Predicted:
        """(B, 3, 256, 256) -> the body, its keypoints, and where the weak perspective puts them in the crop."""
        size = (self.choices.side_px, self.choices.side_px)
        shown = nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
        answer = self.network(shown)
        with torch.autocast(pictures.device.type, enabled=False):
            points = self.body(answer.rotations.float(), answer.betas.float()).keypoints
            flat = weak_perspective(points, answer.crop_camera.float())
        return Predicted(flat, points, answer.global_orient, answer.body_pose, answer.betas)


def regression_terms(predicted: Predicted, labels: Labels) -> dict[str, Tensor]:
    """Means over what is labelled: absolute error in the picture (section 3.2), squared errors in space and of SMPL."""
    seen, solid = labels.confidence_2d, labels.confidence_3d
    flat = (predicted.keypoints_2d - labels.keypoints_2d).abs().sum(-1)
    ours = predicted.keypoints_3d - predicted.keypoints_3d[:, [PELVIS]]
    theirs = labels.keypoints_3d - labels.keypoints_3d[:, [PELVIS]]
    turns = torch.cat([predicted.global_orient, predicted.body_pose], 1)
    true_turns = torch.cat([labels.global_orient, labels.body_pose], 1)
    return {
        "keypoints_2d": (flat * seen).sum() / seen.sum().clamp_min(1),
        "keypoints_3d": ((ours - theirs).square().sum(-1) * solid).sum() / solid.sum().clamp_min(1),
        "pose": _mean_where(labels.has_pose, (turns - true_turns).square().sum((-1, -2)).mean(1)),
        "betas": _mean_where(labels.has_betas * labels.measured, (predicted.betas - labels.betas).square().mean(1)),
    }


def _mean_where(given: Tensor, values: Tensor) -> Tensor:
    return (given * values).sum() / given.sum().clamp_min(1)


def _with_resting_hands(rotations: Tensor) -> Tensor:
    """(B, 21, 3, 3) -> (B, 23, 3, 3)."""
    rest = torch.eye(3, dtype=rotations.dtype, device=rotations.device).expand(len(rotations), 2, 3, 3)
    return torch.cat([rotations, rest], 1)


class HmrRecipe(PeopleRecipe):
    name = "hmr"

    def __init__(self, choices: HmrTraining, body: TrainingBody, data: PeopleData, poses: list[PoseSet]) -> None:
        """`poses`: what the discriminators take for real."""
        super().__init__(choices, data)
        torch.manual_seed(data.seed)
        self.model = HmrModel(choices, body)
        weights = np.full(len(poses), 1 / len(poses))
        self._real = PoseDraws(tuple(poses), weights, data.seed, mirror=True)

    def optimizer(self) -> torch.optim.Optimizer:
        groups = [
            {"params": list(self.model.network.parameters()), "lr": self.choices.rate},
            {"params": list(self.model.judge.parameters()), "lr": self.choices.judge_rate},
        ]
        return torch.optim.AdamW(groups, weight_decay=1e-4)

    def batches(self, first: int, size: int, place: Place) -> Iterator[Drawn]:
        for number, drawn in enumerate(self._data.batches(first, size, place), start=first):
            draw = number * place.count + place.rank
            betas = np.random.default_rng((self._data.seed, draw, 1)).standard_normal((size, 10))
            real = {
                "real_pose": torch.from_numpy(self._real.batch(draw, size)),
                # Betas are standard deviations of people's shapes: real ones are normally distributed.
                "real_betas": torch.from_numpy(betas.astype(np.float32)),
            }
            yield replace(drawn, batch={**drawn.batch, **real})

    def evaluate(self) -> dict[str, float]:
        return evaluated(self.model, self.model.body, self._data.held_out(self.choices.batch))

    def weights(self) -> dict[str, Tensor]:
        judge = {f"discriminator.{name}": tensor for name, tensor in self.model.judge.state_dict().items()}
        return self.model.network.state_dict() | judge

    def description(self) -> dict:
        return super().description() | {"augment": self._data.is_varied}
