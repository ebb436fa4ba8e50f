# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE: how far away the person is, and the pose that this distance makes plausible.

Paper: Wang et al., "BLADE: Single-view Body Mesh Estimation through Accurate Depth Estimation" (CVPR 2025). Tensor
names are those of the released `epoch_2.pth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import aios
from .aios import Aios, AiosConfig, AiosTrunk, Candidates, Condition, People, used_tensors
from .aios_decoder import Decoded, table
from .depth_anything import UNUSED as UNUSED_IN_BACKBONE
from .depth_anything import DepthAnything, DepthAnythingConfig
from .state import Shape, assembled, need, shapes_without_memory, with_prefix

NETWORK = "BLADE"
DEPTH_PREFIXES = ("depth_backbone.", "depth_interface.", "depth_head.")
UNUSED = (
    *(f"depth_backbone.{name}" for name in UNUSED_IN_BACKBONE),
    "depth_head.dec_z.conv.weight",
    "depth_head.dec_z.conv.bias",
)
POSE_PREFIX = "pose_backbone."
BATCH_COUNTS = ("depth_interface.1.num_batches_tracked", "depth_interface.4.num_batches_tracked")
DEPTH_PICTURE_PX = 518
"""Side of the square around the person that the depth network was trained with."""
FEATURE_SIDE = 224
SIDE = "depth_head.side"
MAX_DEPTH_M = 10.0
"""Where the network's answer ends, whatever the picture shows."""
QUERY_HEADS = 4
QUERY_LAYERS = 2


class DepthQuery(nn.Module):
    """One question to the feature map: "how far is the person?"."""

    def __init__(self, width: int, mlp_width: int, dropout: float):
        super().__init__()
        self.query = table(1, width)
        layer = nn.TransformerDecoderLayer(width, QUERY_HEADS, mlp_width, dropout, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, QUERY_LAYERS)
        self.z_out = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, 256, 56, 56) -> metres (B,)."""
        tokens = features.flatten(2).transpose(1, 2)  # (B, 3136, 256), without positions
        answer = self.decoder(self.query.weight.expand(len(tokens), 1, -1), tokens)
        return MAX_DEPTH_M * self.z_out(answer)[:, 0, 0].sigmoid()


class DepthNet(nn.Module):
    """Squares around a person (B, 3, 518, 518), normalised RGB -> depth of the pelvis (B,), metres, below 10."""

    def __init__(
        self, config: DepthAnythingConfig, query_mlp_width: int, dropout: float = 0.1, side: int = FEATURE_SIDE
    ):
        """`dropout`: in training alone. `side` of the map that is looked at, smaller for small networks."""
        super().__init__()
        width = config.fused_width
        self.depth_backbone = DepthAnything(config)
        self.depth_interface = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.depth_head = nn.ModuleDict({"dec_z": DepthQuery(width, query_mlp_width, dropout)})
        self.side = side
        if side != FEATURE_SIDE:  # what is not as published has to be told to whoever reads the weights
            self.depth_head.register_buffer("side", torch.tensor(side))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DepthNet:
        """The network of the checkpoint's `DEPTH_PREFIXES` tensors.

        Raises `IncompleteWeights` when a tensor is missing, surplus or of another shape.
        """
        config = DepthAnythingConfig.from_state(with_prefix(state, "depth_backbone."))
        query_mlp_width = need(state, "depth_head.dec_z.decoder.layers.0.linear1.weight", NETWORK).shape[0]
        used = {name: tensor for name, tensor in state.items() if name not in UNUSED}
        # How many batches the training had seen; imported files hold numbers with a fraction only.
        used |= {name: torch.tensor(0) for name in BATCH_COUNTS if name not in used}
        side = int(used.get(SIDE, FEATURE_SIDE))
        return assembled(lambda: cls(config, query_mlp_width, side=side), used, NETWORK)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.depth_backbone(pictures)  # (B, 256, 296, 296)
        features = F.interpolate(features, (self.side, self.side), mode="bilinear", align_corners=True)
        return self.depth_head["dec_z"](self.depth_interface(features))


class DepthShifts(nn.Module):
    """One depth -> what it adds to every channel of three maps."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(1, width) for width in widths)

    def forward(self, depth_m: Tensor) -> list[Tensor]:
        return [linear(depth_m[:, None]) for linear in self.linear]


class PoseNet(nn.Module):
    """AiOS twice: as released, and a copy that is told the depth and has a say in body pose, shape and camera."""

    def __init__(self, config: AiosConfig):
        super().__init__()
        self.frozen = Aios(config)
        self.control = AiosTrunk(config)
        self.map_shifts = DepthShifts(config.backbone.output_widths)
        self.position_shifts = DepthShifts([config.decoder.width] * len(config.backbone.output_widths))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], **choices: int) -> PoseNet:
        """The network of the checkpoint's `pose_backbone.` tensors (names without that); `choices` as in `Aios`.

        Raises `IncompleteWeights` when a tensor is missing, surplus or of another shape.
        """
        config = AiosConfig.from_state(state, **choices)
        return assembled(lambda: cls(config), by_branch(state), NETWORK)

    def begin_control(self) -> None:
        """The copy as it is before its training: all that AiOS knows, and a depth that changes nothing yet.

        Its tokens are simply added, so that even now the answer is not AiOS's own.
        """
        self.control.load_state_dict(self.frozen.trunk.state_dict())
        for shifts in (self.map_shifts, self.position_shifts):
            for linear in shifts.linear:
                nn.init.zeros_(linear.weight)
                nn.init.zeros_(linear.bias)

    def published_state(self) -> dict[str, Tensor]:
        """The tensors under the names of the released checkpoint's `pose_backbone.`, as `from_state` reads them."""
        state = {}
        for name, tensor in self.state_dict().items():
            part, _, rest = name.partition(".")
            if part == "frozen":  # frozen.trunk.… and frozen.heads.…
                state[rest.partition(".")[2]] = tensor
            elif part == "control":
                module, _, inner = rest.partition(".")
                state[f"{module}_controlnet.{inner}"] = tensor
            else:
                shifts = "Tz_zeromlp" if part == "map_shifts" else "Tz_poss_zeromlp"
                state[f"{shifts}.{rest.removeprefix('linear.')}"] = tensor
        return state

    def forward(self, pictures: Tensor, depth_m: Tensor, count: int = 1) -> People:
        """pictures (B, 3, H, W), normalised RGB, with the person's depth (B,) -> the `count` likeliest people."""
        candidates, deeper = self.groups(pictures, depth_m)
        return self.frozen.heads(candidates, candidates.best(count), deeper)

    def groups(self, pictures: Tensor, depth_m: Tensor) -> tuple[Candidates, Decoded]:
        """The groups of both branches. Each ranks its own; equal ranks are taken for the same person."""
        condition = Condition(self.map_shifts(depth_m), self.position_shifts(depth_m))
        candidates = self.frozen.trunk.classify(self.frozen.trunk(pictures))
        return candidates, self.control(pictures, condition)


def by_branch(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`…_controlnet` tensors go to the copy; the fourth position shift never had an effect."""
    frozen, control, shifts = {}, {}, {}
    for name, tensor in state.items():
        module, _, rest = name.partition(".")
        if module == "Tz_zeromlp":
            shifts[f"map_shifts.linear.{rest}"] = tensor
        elif module == "Tz_poss_zeromlp":
            if not rest.startswith("3."):
                shifts[f"position_shifts.linear.{rest}"] = tensor
        elif module.endswith("_controlnet"):
            control[f"{module.removesuffix('_controlnet')}.{rest}"] = tensor
        else:
            frozen[name] = tensor
    return (
        shifts
        | {f"frozen.{name}": tensor for name, tensor in used_tensors(frozen).items()}
        | {name.replace("trunk", "control", 1): tensor for name, tensor in used_tensors(control).items()}
    )


def is_used(name: str) -> bool:
    """Whether the networks are made of the tensor that `epoch_2.pth` has under this name."""
    if not name.startswith(POSE_PREFIX):
        return name.startswith(DEPTH_PREFIXES) and name not in UNUSED and name not in BATCH_COUNTS
    name = name.removeprefix(POSE_PREFIX)
    if name.startswith("Tz_poss_zeromlp.3."):
        return False
    module, dot, rest = name.partition(".")
    return aios.is_used(module.removesuffix("_controlnet") + dot + rest)


def expected_shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes of a complete `epoch_2.pth` of the sizes that `state` speaks of, as far as they are used."""
    query_mlp_width = need(state, "depth_head.dec_z.decoder.layers.0.linear1.weight", NETWORK).shape[0]
    backbone = DepthAnythingConfig.from_state(with_prefix(state, "depth_backbone."))
    shapes = shapes_without_memory(lambda: DepthNet(backbone, query_mlp_width))
    config = AiosConfig.from_state(with_prefix(state, POSE_PREFIX))
    for name, shape in shapes_without_memory(lambda: PoseNet(config)).items():
        shapes[POSE_PREFIX + _released_name(name)] = shape
    return {name: shape for name, shape in shapes.items() if is_used(name)}


def _released_name(name: str) -> str:
    """Of a tensor of `PoseNet`: the inverse of `_by_branch`."""
    branch, _, rest = name.partition(".")
    if branch == "frozen":
        return rest.partition(".")[2]
    if branch == "control":
        module, _, rest = rest.partition(".")
        return f"{module}_controlnet.{rest}"
    module = {"map_shifts": "Tz_zeromlp", "position_shifts": "Tz_poss_zeromlp"}[branch]
    return f"{module}.{rest.removeprefix('linear.')}"
