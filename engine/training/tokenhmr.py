# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: TokenHMR. A frozen pose tokenizer, a backbone and a head that learn to speak its words, and losses that let
roughly fitted labels pull only roughly (TALS).

Paper: Dwivedi et al., "TokenHMR" (CVPR 2024). No loss looks at the words themselves: gradients of the decoded pose flow
through the frozen decoder and vocabulary into the probabilities of the words.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ...models.pose_tokens import PoseTokenizer
from ...models.projection import crop_translation, project_to_crop
from ...models.smpl_head import DecoderConfig
from ...models.tokenhmr import NETWORK, ClassifierConfig, TokenHmr, TokenHmrConfig
from ...models.vit import ViTConfig
from . import tals
from .batch import Batch
from .bodies import TrainingBody
from .crops import evaluated, joint_errors, labels_of
from .data.people_data import PeopleData
from .initial import begin_with
from .people_recipe import PeopleRecipe
from .rates import CONSTANT, TO_NOTHING, Schedule


@dataclass(frozen=True)
class TokenHmrTraining:
    """The choices of a preset."""

    backbone: ViTConfig = field(default_factory=ViTConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    classifier_channels: int = 64
    classifier_depth: int = 4
    stochastic_depth: float = 0.55
    """How often the last block of the backbone is left out; the first never is."""
    losses: str = "released"
    """`released` or `paper` (see `tals`), or `plain`: without thresholds, as on validation."""
    loose: float = 0.05
    """What a fitted label counts within its threshold."""
    weights: tals.Weights = field(default_factory=tals.Weights)
    steps: int = 350_000
    batch: int = 48
    """Per GPU, of which there were four."""
    rate: float = 5e-7
    schedule: Schedule = CONSTANT


_SMALL = TokenHmrTraining(
    # Heads leave no trace in the weights: as many as whoever reads them will assume.
    backbone=ViTConfig(width=80, depth=2, heads=1, mlp_width=160),
    decoder=DecoderConfig(width=256, depth=2, heads=4, attention_width=256, mlp_width=256, context_width=80),
    classifier_channels=32,
    classifier_depth=2,
    stochastic_depth=0.0,
    steps=1_200,
    batch=16,
    rate=1.5e-3,
    schedule=TO_NOTHING,
)

PRESETS = {
    # As the paper says it: 4 x 64 samples, from ViTPose's backbone.
    "paper": TokenHmrTraining(losses="paper", loose=0.01, steps=100_000, batch=64, rate=1e-5),
    # The configuration called "paper" in the released program, from ViTPose's backbone.
    "paper-config": TokenHmrTraining(steps=100_000, rate=5e-6),
    # What the released model was trained with, from HMR2.0's backbone.
    "released": TokenHmrTraining(),
    # Two processor cores and minutes, from nothing.
    "small": _SMALL,
    "tiny": replace(
        _SMALL,
        backbone=ViTConfig(width=32, depth=1, heads=1, mlp_width=64),
        decoder=DecoderConfig(width=32, depth=1, heads=1, attention_width=16, mlp_width=32, context_width=32),
        classifier_channels=8,
        classifier_depth=1,
        schedule=CONSTANT,
        steps=4,
        batch=4,
    ),
}

LOSSES = {
    "released": tals.adaptive_losses,
    "paper": tals.paper_losses,
    "plain": lambda predicted, labels, _loose: tals.plain_losses(predicted, labels),
}


class TokenHmrModel(nn.Module):
    def __init__(self, choices: TokenHmrTraining, tokenizer: PoseTokenizer, body: TrainingBody) -> None:
        super().__init__()
        self.choices, self.body = choices, body
        sizes = tokenizer.config
        classifier = ClassifierConfig(
            tokens=sizes.tokens,
            codes=sizes.codes,
            channels=choices.classifier_channels,
            depth=choices.classifier_depth,
        )
        self.network = TokenHmr(TokenHmrConfig(choices.backbone, choices.decoder, classifier, sizes))
        self.network.backbone.use_stochastic_depth(choices.stochastic_depth)
        self.network.tokenizer.load_state_dict(tokenizer.state_dict())
        self.network.tokenizer.requires_grad_(False)
        # Multiplied by an input that is always zero: several processes would wait for its gradient.
        self.network.smpl_head.transformer.to_token_embedding.weight.requires_grad_(False)
        start_from_nothing(self.network)

    def train(self, mode: bool = True) -> TokenHmrModel:
        super().train(mode)
        self.network.tokenizer.eval()
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        predicted, labels = self.predicted(batch["picture"]), labels_of(batch)
        terms = LOSSES[self.choices.losses](predicted, labels, self.choices.loose)
        with torch.no_grad():
            errors = joint_errors(predicted.keypoints_3d, labels)
        by_name = {f"loss_{name}": getattr(terms, name) for name in tals.Weights.__dataclass_fields__}
        return {"loss": terms.total(self.choices.weights)} | by_name | errors

    def predicted(self, pictures: Tensor) -> tals.Predicted:
        """(B, 3, 256, 256) normalised RGB -> the body, its keypoints, and where they lie in the crop."""
        answer = self.network(pictures)
        # From here on in single precision, whatever the network computes in: metres and pixels need it.
        with torch.autocast(pictures.device.type, enabled=False):
            points = self.body(answer.rotations.float(), answer.betas.float()).keypoints
            flat = project_to_crop(points, crop_translation(answer.crop_camera.float()))
        return tals.Predicted(flat, points, answer.global_orient, answer.body_pose, answer.betas)


def start_from_nothing(network: TokenHmr) -> None:
    """Initial values that an untrained head adds its answers to: upright, everything else at rest, filling the crop."""
    head = network.smpl_head
    nn.init.trunc_normal_(network.backbone.pos_embed, std=0.02)
    nn.init.trunc_normal_(head.transformer.pos_embedding, std=0.02)
    # The tokenizer's own numbers are a pose already; only root and hands, which it does not speak of, need one.
    rest = torch.zeros(1, 24, 6)
    rest[:, [22, 23]] = torch.tensor([1.0, 0, 0, 0, 1, 0])
    rest[:, 0] = torch.tensor([1.0, 0, 0, 0, -1, 0])
    head.init_body_pose.copy_(rest.flatten(1))
    head.init_cam.copy_(torch.tensor([[0.9, 0.0, 0.0]]))
    # Nearly even probabilities mix nearly the same pose out of all words, whatever the picture: no gradient to go by.
    with torch.no_grad():
        head.decpose.class_pred_layer.weight.mul_(4)
    for read_out in (head.decpose_grot, head.decpose_hands, head.decshape, head.deccam):
        nn.init.xavier_uniform_(read_out.weight, gain=0.01)
        nn.init.zeros_(read_out.bias)


class TokenHmrRecipe(PeopleRecipe):
    name = "tokenhmr"

    def __init__(
        self,
        choices: TokenHmrTraining,
        tokenizer: PoseTokenizer,
        body: TrainingBody,
        data: PeopleData,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        """`start`: tensors of a checkpoint; its backbone is taken, and its head where it is TokenHMR's."""
        super().__init__(choices, data)
        torch.manual_seed(data.seed)
        self.model = TokenHmrModel(choices, tokenizer, body)
        if start:
            self._begin(start)

    def _begin(self, start: dict[str, Tensor]) -> None:
        begin_with(self.model.network.backbone, start, "backbone.", NETWORK)
        self._started = "backbone"
        if "smpl_head.decpose_grot.weight" in start:
            begin_with(self.model.network.smpl_head, start, "smpl_head.", NETWORK)
            self._started = "everything"

    def optimizer(self) -> torch.optim.Optimizer:
        learnt = (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        return torch.optim.AdamW(learnt, lr=self.choices.rate, betas=(0.9, 0.999), weight_decay=1e-4)

    def evaluate(self) -> dict[str, float]:
        return evaluated(self.model, self.model.body, self._data.held_out(self.choices.batch))

    def weights(self) -> dict[str, Tensor]:
        """As a checkpoint has them: without the tokenizer, which has a file of its own."""
        state = self.model.network.state_dict()
        return {name: tensor for name, tensor in state.items() if not name.startswith("tokenizer.")}

    def description(self) -> dict:
        return super().description() | {
            "augment": self._data.is_varied,
            "mix": [round(float(weight), 6) for weight in self._data.training.weights],
        }
