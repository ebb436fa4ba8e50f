# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: the pose tokenizer of TokenHMR, a VQ-VAE of 21 joint rotations.

Paper: Dwivedi et al., "TokenHMR" (CVPR 2024), section 3.2 and its supplement. Presets `paper` and `released` follow the
paper and the released program; `small` fits two processor cores and a few minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ...models.body_model import BodyModel
from ...models.pose_tokens import BODY_JOINTS, PoseTokenizer, TokenizerConfig
from ...models.rotations_torch import matrix_to_sixd_rows, rotvec_to_matrix, sixd_rows_to_matrix
from .batch import Batch, Drawn, Place
from .bodies import PoseBody
from .data.motions import PAPER_WEIGHTS, RELEASED_WEIGHTS, PoseDraws, PoseSet, weights_of
from .tokenizer_losses import PosedBodies, paper_loss, released_loss
from .vocabulary import USED_FROM, Vocabulary

# Joints that are disturbed together, counted among the 21.
PARTS = (
    (11, 14),  # neck, head
    (12, 15, 17, 19),  # left arm from the collar
    (13, 16, 18, 20),
    (0, 3, 6, 9),  # left leg
    (1, 4, 7, 10),
)
QUIRK_RATE = 2 / 3
"""The released program's scheduler took one warm-up step and then never changed the rate again."""
QUIRK_VOCABULARY_STEPS = 2500
"""Its vocabulary stood still from the first validation on, after which the network stayed in evaluation mode."""
EVALUATED_AT_ONCE = 256


@dataclass(frozen=True)
class TokenizerTraining:
    """The choices of a preset."""

    sizes: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss: str = "paper"
    """`paper`: absolute errors of rotations and joints; `released`: squared ones, and the mesh."""
    steps: int = 150_000
    batch: int = 256
    rate: float = 2e-4
    decay: float = 0.05
    """Factor of the rate at each milestone."""
    milestones: tuple[float, ...] = (0.5, 2 / 3)
    """As shares of all steps: 75 000 and 100 000 of 150 000."""
    noise: tuple[tuple[int, float], ...] = ((0, 1e-3), (5_000, 1e-2), (10_000, 5e-2), (15_000, 1e-1))
    """From which step on how much is added to the 6-D numbers. The paper names the first, and says that it grows."""
    weights: dict[str, float] = field(default_factory=lambda: RELEASED_WEIGHTS)
    """How often each data set is drawn from."""
    mirror: bool = False
    """Show half of the poses left for right."""
    mesh_stride: int = 1
    """Every how many-th vertex is compared and measured."""
    quirks: bool = False
    """Do what the released program did by mistake: no noise, a constant rate, a vocabulary that stops at step 2 500."""


_RELEASED_NOISE = ((0, 0.01), (5_000, 0.05), (10_000, 0.1), (20_000, 0.5))

PRESETS = {
    "paper": TokenizerTraining(),
    "paper-amass": TokenizerTraining(weights=PAPER_WEIGHTS),
    "released": TokenizerTraining(loss="released", steps=200_000, milestones=(0.375, 0.5), noise=_RELEASED_NOISE),
    "released-quirks": TokenizerTraining(loss="released", steps=200_000, noise=_RELEASED_NOISE, quirks=True),
    # For ten thousand frames: 40 tokens of 256 words. Mirroring doubles the data; the rate is that of a small network,
    # and the noise is what small data can bear.
    "small": TokenizerTraining(
        sizes=TokenizerConfig(width=64, codes=256, code_width=32, doublings=1, halvings=0, shrinkings=2),
        steps=3_000,
        batch=96,
        rate=2e-3,
        decay=0.2,
        milestones=(0.6, 0.85),
        noise=((0, 0.01),),
        mirror=True,
        mesh_stride=8,
    ),
    # Seconds, for tests.
    "tiny": TokenizerTraining(
        sizes=TokenizerConfig(width=32, codes=32, code_width=16, doublings=1, halvings=0, shrinkings=1),
        steps=40,
        batch=32,
        rate=2e-3,
        milestones=(),
        noise=((0, 0.01),),
        mirror=True,
        mesh_stride=64,
    ),
}


def randomised(poses_sixd: Tensor, magnitude: float) -> Tensor:
    """(B, 21, 6) with noise on one body part of half of the samples.

    One strength for the whole batch, up to `magnitude`; the noise itself is normal.
    """
    count = len(poses_sixd)
    device = poses_sixd.device
    part = torch.randint(len(PARTS), (count,), device=device)
    is_in_part = torch.zeros(len(PARTS), BODY_JOINTS, device=device)
    for row, joints in enumerate(PARTS):
        is_in_part[row, list(joints)] = 1
    disturbed = is_in_part[part] * (torch.rand(count, 1, device=device) < 0.5)  # (B, 21)
    strength = magnitude * torch.rand((), device=device)
    return poses_sixd + strength * disturbed[..., None] * torch.randn_like(poses_sixd)


class TokenizerModel(nn.Module):
    """Tokenizer, vocabulary in training, and the loss."""

    def __init__(self, choices: TokenizerTraining, body: BodyModel) -> None:
        super().__init__()
        self.choices = choices
        self.tokenizer = PoseTokenizer(choices.sizes)
        self.vocabulary = Vocabulary(self.tokenizer.quantizer)
        self.body = PoseBody(body, choices.mesh_stride)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`poses` (B, 21, 3) rotation vectors -> terms of the loss, and how much of the vocabulary is in use."""
        target = rotvec_to_matrix(batch["poses"])
        sixd = matrix_to_sixd_rows(target)
        magnitude = 0.0 if self.choices.quirks else _at(self.choices.noise, step)
        shown = randomised(sixd, magnitude) if magnitude else sixd
        quantized = self.vocabulary(self.tokenizer.encoder(shown.transpose(1, 2)).float())
        decoded = sixd_rows_to_matrix(self.tokenizer.decode_vectors(quantized.vectors).float())
        with_mesh = self.choices.loss == "released"
        found, true = (self.posed(rotations, with_mesh=with_mesh) for rotations in (decoded, target))
        if with_mesh:
            loss = released_loss(found, true, self.body.vertex_weights, quantized.commitment)
        else:
            # The vocabulary is learnt by moving averages: the embedding term counts, but pulls at nothing.
            loss = paper_loss(found, true, quantized.commitment.detach(), quantized.commitment)
        with torch.no_grad():
            error_mm = (found.joints - true.joints)[:, 1:].norm(dim=-1).mean() * 1000
            dead = (self.vocabulary.counts < USED_FROM).float().mean()
        return {
            "loss": loss,
            "mpjpe_mm": error_mm,
            "commitment": quantized.commitment,
            "perplexity": quantized.perplexity,
            "dead_codes": dead,
        }

    def posed(self, rotations: Tensor, *, with_mesh: bool) -> PosedBodies:
        vertices = self.body.vertices(rotations) if with_mesh else rotations.new_zeros(len(rotations), 0, 3)
        return PosedBodies(rotations, vertices, self.body.joints(rotations))


class TokenizerRecipe:
    name = "tokenizer"
    has_idle_parameters = False

    def __init__(
        self,
        choices: TokenizerTraining,
        training: list[PoseSet],
        validation: list[PoseSet],
        body: BodyModel,
        seed: int,
        total_steps: int,
    ) -> None:
        self.choices, self.total_steps = choices, total_steps
        torch.manual_seed(seed)
        self.model = TokenizerModel(choices, body)
        weights = weights_of(training, choices.weights)
        self._draws = PoseDraws(tuple(training), weights, seed, choices.mirror)
        self._validation = validation
        self._data = {one.name: len(one) for one in training}

    def optimizer(self) -> torch.optim.Optimizer:
        parameters = (p for p in self.model.parameters() if p.requires_grad)
        return torch.optim.AdamW(parameters, lr=self.choices.rate, betas=(0.9, 0.99), weight_decay=1e-5)

    def rate(self, step: int) -> float:
        if self.choices.quirks:
            return QUIRK_RATE
        passed = sum(step >= milestone * self.total_steps for milestone in self.choices.milestones)
        return self.choices.decay**passed

    def begin_step(self, step: int) -> None:
        if self.choices.quirks:
            self.model.vocabulary.train(step < QUIRK_VOCABULARY_STEPS)

    def batches(self, first: int, size: int, place: Place) -> Iterator[Drawn]:
        number = first
        while True:
            poses = self._draws.batch(number * place.count + place.rank, size)
            yield Drawn({"poses": torch.from_numpy(poses)})
            number += 1

    def evaluate(self) -> dict[str, float]:
        """Over all held-out frames, root at identity, no alignment. `score` is MVE + MPJPE, as in the paper."""
        if not self._validation:
            return {}
        return evaluate(self.model.tokenizer, self.model.body, self._validation)

    def weights(self) -> dict[str, Tensor]:
        return {
            name: tensor
            for name, tensor in self.model.tokenizer.state_dict().items()
            if name.startswith(("encoder.", "decoder.", "quantizer."))
        }

    def description(self) -> dict:
        # Milestones are shares of all steps, so that their number is a choice too.
        total = {"total_steps": self.total_steps} if self.choices.milestones else {}
        return asdict(self.choices) | {"frames": self._data} | total


@torch.no_grad()
def evaluate(tokenizer: PoseTokenizer, body: PoseBody, sets: list[PoseSet]) -> dict[str, float]:
    """mve_mm, mpjpe_mm; used_codes (share of the vocabulary that occurs), perplexity; score (MVE + MPJPE)."""
    device = tokenizer.quantizer.codebook.device
    errors: dict[str, list[Tensor]] = {"mpjpe_mm": [], "mve_mm": []}
    counts = torch.zeros(len(tokenizer.quantizer.codebook), device=device)
    for one in sets:
        for begin in range(0, len(one), EVALUATED_AT_ONCE):
            target = rotvec_to_matrix(torch.from_numpy(one.poses[begin : begin + EVALUATED_AT_ONCE]).to(device))
            codes = tokenizer.encode(matrix_to_sixd_rows(target))
            counts += torch.bincount(codes.flatten(), minlength=len(counts))
            decoded = sixd_rows_to_matrix(tokenizer.decode(codes))
            joints = (body.joints(decoded) - body.joints(target))[:, 1:].norm(dim=-1)
            vertices = (body.vertices(decoded) - body.vertices(target)).norm(dim=-1)
            errors["mpjpe_mm"].append(joints.mean(1) * 1000)
            errors["mve_mm"].append(vertices.mean(1) * 1000)
    figures = {name: float(torch.cat(values).mean()) for name, values in errors.items()}
    share = counts / counts.sum()
    return figures | {
        "used_codes": float((counts > 0).float().mean()),
        "perplexity": float(torch.exp(-(share * torch.log(share + 1e-7)).sum())),
        "score": figures["mve_mm"] + figures["mpjpe_mm"],
    }


def _at(schedule: tuple[tuple[int, float], ...], step: int) -> float:
    return next((value for begin, value in reversed(schedule) if step >= begin), 0.0)


def read_tokenizer(path: Path) -> PoseTokenizer:
    """A tokenizer trained here (`weights.safetensors`, `best.safetensors`). Raises `IncompleteWeights`."""
    from safetensors.torch import load_file

    return PoseTokenizer.from_state(load_file(path))
