# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipe: BLADE's second stage. A copy of AiOS that is told the depth learns body pose and shape; AiOS stays as it is.

Paper: Wang et al., "BLADE" (CVPR 2025). Hands, face and boxes come from the frozen half and have no loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...models.aios import BETAS, LAST_HEAD, AiosConfig, used_tensors
from ...models.aios_decoder import DecoderConfig
from ...models.blade import NETWORK, DepthNet, PoseNet, by_branch
from ...models.body_model import BodyModel
from ...models.body_model_torch import TorchBodyModel
from ...models.resnet import FrozenBatchNorm, ResNetConfig
from ...models.rotations_torch import angle_between, rotvec_to_matrix
from .batch import Batch
from .data.people_data import PeopleData
from .initial import begin_with
from .people_recipe import PeopleRecipe
from .rates import CONSTANT, TO_NOTHING, Schedule

BODY = 22
POSE_SPREAD = 0.4
"""Of the numbers from which a random head makes rotations, about those at rest, which are 0, 1 and -1."""
OPEN = 3.0
"""What is added before a ReLU that shall let nearly everything pass."""
RELEASED_PREFIX = "pose_backbone."


@dataclass(frozen=True)
class PoseTraining:
    """The choices of a preset."""

    sizes: AiosConfig = field(default_factory=AiosConfig)
    side_px: int = 800
    """Of the cut that is read; it is then shown at one of `shown_px`, another in every step."""
    shown_px: tuple[int, ...] = (480, 800)
    root: float = 1.0
    body: float = 1.0
    betas: float = 1.0
    joints: float = 5.0
    vertices: float = 5.0
    mesh_stride: int = 1
    """Every how many-th vertex is compared."""
    rate: float = 2e-4
    schedule: Schedule = CONSTANT
    steps: int = 10_000
    """About two passes; the best came within them."""
    batch: int = 7
    """Per GPU, of which there were 48."""


_SMALL = PoseTraining(
    AiosConfig(1, DecoderConfig(width=64, mlp_width=128, candidates=1, groups=1), ResNetConfig(16, (1, 1, 1, 1))),
    side_px=64,
    shown_px=(64,),
    mesh_stride=64,
    rate=2e-3,
    schedule=TO_NOTHING,
    steps=1_400,
    batch=16,
)

PRESETS = {
    "paper": PoseTraining(),
    "small": _SMALL,
    "tiny": replace(_SMALL, shown_px=(48, 64), mesh_stride=256, schedule=CONSTANT, steps=2, batch=2),
}


class PoseModel(nn.Module):
    def __init__(self, choices: PoseTraining, body: BodyModel, depth_network: DepthNet | None) -> None:
        super().__init__()
        self.choices = choices
        self.network = PoseNet(choices.sizes)
        start_from_nothing(self.network)
        self.surface = TorchBodyModel(body, vertex_ids=np.arange(0, len(body.v_template), choices.mesh_stride))
        # In a list, so that its weights are not saved along, nor moved: it belongs to the first stage.
        self._depth = [depth_network]

    def freeze(self) -> None:
        """Only the copy learns, and what it makes of the depth."""
        self.network.requires_grad_(False)
        for part in (self.network.control, self.network.map_shifts, self.network.position_shifts):
            part.requires_grad_(True)

    def train(self, mode: bool = True) -> PoseModel:
        super().train(mode)
        self.network.frozen.eval()
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        shown_px = self.choices.shown_px[int(np.random.default_rng(step).integers(len(self.choices.shown_px)))]
        rotations, betas = self.predicted(_resized(batch["picture"], shown_px), self.depth_m(batch))
        return self.terms(rotations, betas, batch)

    @torch.no_grad()
    def depth_m(self, batch: Batch) -> Tensor:
        """(B,) from the first stage, or the labelled depth where there is none."""
        network = self._depth[0]
        if network is None:
            return batch["depth_m"]
        return network.to(batch["depth_picture"].device).eval()(batch["depth_picture"]).float()

    def predicted(self, pictures: Tensor, depth_m: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest person of each picture: rotations (B, 22, 3, 3), betas (B, 10)."""
        people = self.network(pictures, depth_m, count=1)
        return people.body_rotations[:, 0].float(), people.betas[:, 0].float()

    def terms(self, rotations: Tensor, betas: Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(rotations.device.type, enabled=False):
            true_pose, has_betas = rotvec_to_matrix(batch["pose"]), batch["has_betas"]
            angles = angle_between(rotations, true_pose[:, :BODY])  # (B, 22)
            # Hands and face are the labelled ones on both sides: they have no loss.
            pose = torch.cat([rotations, true_pose[:, BODY:]], 1)
            shape = torch.where(has_betas[:, None] > 0, batch["betas"], betas.detach())
            ours, theirs = self.surface(pose, betas), self.surface(true_pose, shape)
            terms = {
                "root": angles[:, 0].mean(),
                "body": angles[:, 1:].mean(),
                "betas": ((betas - batch["betas"]).abs().mean(1) * has_betas).mean(),
                "joints": _apart(ours.joints[:, :BODY], theirs.joints[:, :BODY], ours.joints, theirs.joints),
                "vertices": _apart(ours.vertices, theirs.vertices, ours.joints, theirs.joints),
            }
            loss = sum(getattr(self.choices, name) * value for name, value in terms.items())
        return {"loss": loss} | {f"loss_{name}": value for name, value in terms.items()}


def _apart(ours: Tensor, theirs: Tensor, our_joints: Tensor, their_joints: Tensor) -> Tensor:
    """Mean absolute difference of points, pelvis on pelvis."""
    return ((ours - our_joints[:, :1]) - (theirs - their_joints[:, :1])).abs().mean()


def _resized(pictures: Tensor, side_px: int) -> Tensor:
    if pictures.shape[-1] == side_px:
        return pictures
    size = (side_px, side_px)
    return nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)


def start_from_nothing(network: PoseNet) -> None:
    """Sensible random values where modules begin with zeros, or were made to be loaded; then the copy.

    A ResNet that begins with random weights and norms that do nothing grows with every block: the last norm of each is
    made small.
    """
    for module in network.frozen.modules():
        weight = getattr(module, "in_proj_weight", None)
        if weight is not None:
            nn.init.xavier_uniform_(weight)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for name, module in network.frozen.named_modules():
        if isinstance(module, FrozenBatchNorm) and name.endswith("bn3"):
            module.weight.fill_(0.2)
    nn.init.normal_(network.frozen.trunk.transformer.level_embed)
    _start_heads_at_rest(network)
    network.begin_control()


def _start_heads_at_rest(network: PoseNet) -> None:
    """The frozen heads know people as AiOS's do: upright and at rest, and every pose and shape can be reached.

    The latter because their hidden layers are nearly linear: random ones that cut off half of what comes in answer with
    half of the poses only, whatever the copy learns to say.
    """
    rest = torch.eye(3)[:, :2].repeat(BODY, 1, 1)  # two columns of a matrix, interleaved
    rest[0, 1, 1] = -1  # y points down in the camera
    for name, bias, spread in (("pose", rest.flatten(), POSE_SPREAD), ("beta", torch.zeros(BETAS), 1.0)):
        *hidden, last = network.frozen.heads.get_submodule(f"smpl_{name}_embed")[LAST_HEAD].layers
        for layer in hidden:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.constant_(layer.bias, OPEN)
        nn.init.normal_(last.weight, std=spread / last.in_features**0.5)
        nn.init.zeros_(last.bias)
        head = network.frozen.heads.get_submodule(f"smpl_{name}_embed")[LAST_HEAD]
        with torch.no_grad():
            last.bias.copy_(bias - head(torch.zeros(hidden[0].in_features)))


class PoseRecipe(PeopleRecipe):
    name = "blade-pose"
    has_idle_parameters = True  # the copy's own boxes and points have no loss

    def __init__(
        self,
        choices: PoseTraining,
        body: BodyModel,
        data: PeopleData,
        start: dict[str, Tensor] | None = None,
        depth_network: DepthNet | None = None,
    ) -> None:
        """`start`: tensors of AiOS, which go into both halves, or of BLADE."""
        super().__init__(choices, data)
        torch.manual_seed(data.seed)
        self.model = PoseModel(choices, body, depth_network)
        if start:
            self._begin(start)
        self.model.freeze()

    def _begin(self, start: dict[str, Tensor]) -> None:
        network = self.model.network
        released = {n.removeprefix(RELEASED_PREFIX): t for n, t in start.items() if n.startswith(RELEASED_PREFIX)}
        state = released or start
        if any("_controlnet." in name for name in state):
            begin_with(network, by_branch(state), "", NETWORK)
            self._started = "everything"
        else:
            begin_with(network.frozen, used_tensors(state), "", NETWORK)
            network.begin_control()
            self._started = "AiOS"

    def optimizer(self) -> torch.optim.Optimizer:
        learnt = (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        return torch.optim.AdamW(learnt, lr=self.choices.rate, betas=(0.9, 0.999), weight_decay=0.0)

    def evaluate(self) -> dict[str, float]:
        """mpjpe_mm of 22 joints, pelvis on pelvis, at the largest picture size."""
        device = next(self.model.parameters()).device
        errors = []
        for batch in self._data.held_out(self.choices.batch):
            batch = {name: value.to(device) for name, value in batch.items()}
            pictures = _resized(batch["picture"], max(self.choices.shown_px))
            rotations, betas = self.model.predicted(pictures, self.model.depth_m(batch))
            true_pose = rotvec_to_matrix(batch["pose"])
            ours = self.model.surface(torch.cat([rotations, true_pose[:, BODY:]], 1), betas).joints[:, :BODY]
            theirs = self.model.surface(true_pose, batch["betas"]).joints[:, :BODY]
            errors.append(((ours - ours[:, :1]) - (theirs - theirs[:, :1])).norm(dim=-1).mean(1))
        if not errors:
            return {}
        error_mm = 1000 * float(torch.cat(errors).mean())
        return {"mpjpe_mm": error_mm, "score": error_mm}

    def weights(self) -> dict[str, Tensor]:
        return {f"{RELEASED_PREFIX}{name}": tensor for name, tensor in self.model.network.published_state().items()}

    def description(self) -> dict:
        return super().description() | {
            "depth": "network" if self.model._depth[0] is not None else "labelled",
            "preparation": repr(self._data.preparation),
        }
