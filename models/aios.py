# SPDX-License-Identifier: GPL-3.0-or-later
"""AiOS: all people of a picture with bodies, hands and faces in one pass, as SMPL-X parameters.

Paper: Sun et al., "AiOS: All-in-One-Stage Expressive Human Pose and Shape Estimation" (CVPR 2024). Tensor names are
those of the released `aios_checkpoint.pth`. BLADE runs this network twice: as it is, and as a copy that also knows the
depth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .aios_decoder import HEADS, LEVELS, POINTS, Decoded, Decoder, DecoderConfig, Mlp, sines
from .deformable_attention import DeformableAttention, Sizes
from .resnet import ResNet, ResNetConfig
from .rotations_torch import sixd_columns_to_matrix
from .state import Shape, assembled, count_numbered, need, shapes_without_memory

NETWORK = "AiOS"
# In the file, but not part of the network: second names of the decoder's tensors and of shared heads, heads that only
# guided the training of the layers before the last, and label vectors for a task that was switched off.
UNUSED = re.compile(
    r"label_enc\."
    r"|(class|(bbox|pose)(_hand|_face)?(_hw)?)_embed\."
    r"|transformer\.decoder\.pose(_hand|_face)?_hw_embed\.[1-9]"
    r"|smpl_[a-z_]+_embed\.[0-2]\."
)
NOT_OURS = re.compile(r"body_model\.")
"""Licensed body models that some files have inside; the user's own file is asked instead."""
LAST_HEAD = "3"
"""The files hold body heads for four decoder layers; this one belongs to the last layer."""

POSITION_TEMPERATURE = 20.0
PROPOSAL_SIZE = 0.05
"""Side of a proposed box on the finest level; it doubles from level to level."""
PROPOSAL_MARGIN = 0.01
GROUP_NORM_GROUPS = 32

BODY_ROTATIONS, HAND_ROTATIONS = 22, 15
BETAS = EXPRESSIONS = 10


@dataclass(frozen=True)
class AiosConfig:
    """Sizes of the network; the defaults are the released ones."""

    encoder_layers: int = 6
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    head_width: int = 256  # inside the heads that say poses and shapes

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, candidates: int = 900, groups: int = 100) -> AiosConfig:
        """Sizes read from the tensors of a checkpoint. Numbers of candidates and groups leave no trace in it."""
        mlp_width, width = need(state, "transformer.decoder.layers.0.linear1.weight", NETWORK).shape
        return cls(
            encoder_layers=count_numbered(state, "transformer.encoder.layers."),
            decoder=DecoderConfig(
                width=width,
                mlp_width=mlp_width,
                layers=count_numbered(state, "transformer.decoder.layers."),
                body_points=need(state, "transformer.decoder.keypoint_embed.weight", NETWORK).shape[0],
                hand_points=need(state, "transformer.decoder.lhand_keypoint_embed.weight", NETWORK).shape[0],
                face_points=need(state, "transformer.decoder.face_keypoint_embed.weight", NETWORK).shape[0],
                candidates=candidates,
                groups=groups,
            ),
            backbone=ResNetConfig.from_state(state, NETWORK, "backbone.0.body."),
            head_width=need(state, f"smpl_pose_embed.{LAST_HEAD}.layers.0.weight", NETWORK).shape[0],
        )


@dataclass(frozen=True)
class Condition:
    """What a conditioned copy adds to the backbone's three maps, and to their positions, everywhere alike."""

    maps: Sequence[Tensor]  # 3 x (B, channels)
    positions: Sequence[Tensor]  # 3 x (B, C)


@dataclass(frozen=True)
class Candidates:
    """The people that the decoder found, by group; most groups are nobody."""

    decoded: Decoded
    logits: Tensor  # (B, G, 2)

    def best(self, count: int) -> Tensor:
        """(B, count) the groups that look most like a person, best first."""
        return self.logits.amax(-1).topk(count, dim=1).indices


@dataclass(frozen=True)
class People:
    """K people per picture. Boxes are centre and size, points are x and y, in picture widths and heights."""

    scores: Tensor  # (B, K) 0..1
    groups: Tensor  # (B, K) which group of the decoder each is
    body_rotations: Tensor  # (B, K, 22, 3, 3) local; joint 0 turns the body in the camera
    left_hand_rotations: Tensor  # (B, K, 15, 3, 3) relative to SMPL-X's mean hand, not to a flat one
    right_hand_rotations: Tensor  # (B, K, 15, 3, 3) likewise
    jaw_rotation: Tensor  # (B, K, 1, 3, 3)
    betas: Tensor  # (B, K, 10)
    expression: Tensor  # (B, K, 10)
    camera: Tensor  # (B, K, 3) the network's own weak-perspective guess
    boxes: Tensor  # (B, K, 4, 4) body, left hand, right hand, face
    body_points: Tensor  # (B, K, 17, 2) COCO order
    left_hand_points: Tensor  # (B, K, 6, 2)
    right_hand_points: Tensor  # (B, K, 6, 2)
    face_points: Tensor  # (B, K, 6, 2)


class EncoderLayer(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.self_attn = DeformableAttention(config.width, HEADS, LEVELS, POINTS)
        self.norm1 = nn.LayerNorm(config.width)
        self.linear1 = nn.Linear(config.width, config.mlp_width)
        self.linear2 = nn.Linear(config.mlp_width, config.width)
        self.norm2 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, position: Tensor, centres: Tensor, sizes: Sizes) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, centres, x, sizes))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class Transformer(nn.Module):
    def __init__(self, config: AiosConfig):
        super().__init__()
        width = config.decoder.width
        self.config = config
        self.level_embed = nn.Parameter(torch.zeros(LEVELS, width))
        self.encoder = nn.ModuleDict(
            {"layers": nn.ModuleList(EncoderLayer(config.decoder) for _ in range(config.encoder_layers))}
        )
        self.enc_output = nn.Linear(width, width)
        self.enc_output_norm = nn.LayerNorm(width)
        self.enc_out_class_embed = nn.Linear(width, 2)
        self.enc_out_bbox_embed = Mlp(width, width, 4)
        self.decoder = Decoder(config.decoder)

    def forward(self, maps: Sequence[Tensor], positions: Sequence[Tensor]) -> Decoded:
        """maps and their positions, 4 x (B, C, h, w)."""
        sizes = [tuple(level.shape[2:]) for level in maps]
        x = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)  # (B, T, C)
        position = torch.cat(
            [
                level.flatten(2).transpose(1, 2).expand(len(x), -1, -1) + embedding
                for level, embedding in zip(positions, self.level_embed, strict=True)
            ],
            dim=1,
        )
        references = pixel_centres(sizes, x.device).expand(len(x), -1, -1)[:, :, None]  # (B, T, 1, 2)
        for layer in self.encoder["layers"]:
            x = layer(x, position, references, sizes)
        candidates, boxes = self.propose(x, sizes)
        return self.decoder(candidates, boxes, x, sizes)

    def propose(self, memory: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
        """The tokens that look most like people: (B, N, C), with a box for each (B, N, 4)."""
        proposals, is_inside = proposed_logits(sizes, memory.device)
        memory = self.enc_output_norm(self.enc_output(memory * is_inside[:, None]))
        score = self.enc_out_class_embed(memory).amax(-1)
        count = min(self.config.decoder.candidates, score.shape[1])  # a tiny picture has fewer tokens
        best = score.topk(count, dim=1).indices[..., None]
        candidates = memory.take_along_dim(best, 1)
        # Tokens at the very border stand nowhere; their infinite logits become boxes in the far corner.
        proposed = proposals.expand(len(memory), -1, -1).take_along_dim(best, 1)
        boxes = (self.enc_out_bbox_embed(candidates) + proposed).sigmoid()
        return candidates.detach(), boxes.detach()


class AiosTrunk(nn.Module):
    """Pictures (B, 3, H, W), normalised RGB -> groups of tokens."""

    def __init__(self, config: AiosConfig):
        super().__init__()
        width = config.decoder.width
        self.backbone = nn.ModuleList([nn.ModuleDict({"body": ResNet(config.backbone)})])
        self.input_proj = nn.ModuleList(
            nn.Sequential(conv, nn.GroupNorm(GROUP_NORM_GROUPS, width))
            for conv in (
                *(nn.Conv2d(channels, width, 1) for channels in config.backbone.output_widths),
                nn.Conv2d(config.backbone.output_widths[-1], width, 3, stride=2, padding=1),
            )
        )
        self.transformer = Transformer(config)

    def forward(self, pictures: Tensor, condition: Condition | None = None) -> Decoded:
        maps = self.backbone[0]["body"](pictures)
        if condition:
            maps = [level + shift[..., None, None] for level, shift in zip(maps, condition.maps, strict=True)]
        maps = [project(level) for project, level in zip(self.input_proj, [*maps, maps[-1]], strict=True)]
        positions = [position_map(level) for level in maps]
        if condition:  # the coarsest level's positions stay as they are
            for index, shift in enumerate(condition.positions):
                positions[index] = positions[index] + shift[..., None, None]
        return self.transformer(maps, positions)

    def classify(self, decoded: Decoded) -> Candidates:
        """How much each group looks like a person."""
        return Candidates(decoded, self.transformer.decoder.class_embed[-1](decoded.tokens[:, :, 0]))


class BodyHeads(nn.Module):
    """Groups of tokens -> SMPL-X parameters."""

    def __init__(self, config: AiosConfig):
        super().__init__()
        decoder = config.decoder
        body, hand, face = decoder.body_points + 4, decoder.hand_points + 3, decoder.face_points + 2
        for name, tokens, numbers in (
            ("pose", body, BODY_ROTATIONS * 6),
            ("beta", body, BETAS),
            ("cam", body, 3),
            ("hand_pose", hand, HAND_ROTATIONS * 6),
            ("expr", face, EXPRESSIONS),
            ("jaw", face, 6),
        ):
            head = Mlp(tokens * decoder.width, config.head_width, numbers)
            self.add_module(f"smpl_{name}_embed", nn.ModuleDict({LAST_HEAD: head}))

    def forward(self, candidates: Candidates, kept: Tensor, deeper: Decoded | None = None) -> People:
        """The people of the groups `kept` (B, K); `deeper` are the tokens of a conditioned copy, paired by group."""
        decoded, layout = candidates.decoded, candidates.decoded.layout
        kept_tokens = kept[..., None, None]
        tokens, boxes = (values.take_along_dim(kept_tokens, 1) for values in (decoded.tokens, decoded.boxes))
        left, right, face = layout.left_hand, layout.right_hand, layout.face
        of_body = [*range(left + 1), right, face]
        body = tokens[:, :, of_body]
        if deeper is not None:
            # Simply added: an untrained copy does not leave the answer as it was.
            body = body + deeper.tokens.take_along_dim(kept_tokens, 1)[:, :, of_body]
        # Odd but so trained: each hand's features include the other hand's box.
        left_hand = tokens[:, :, [0, *range(left, right + 1)]]
        right_hand = tokens[:, :, [0, left, *range(right, face)]]
        head_face = tokens[:, :, [0, *range(face, layout.size)]]
        return People(
            scores=candidates.logits.amax(-1).take_along_dim(kept, 1).sigmoid(),
            groups=kept,
            body_rotations=self._rotations("pose", body),
            left_hand_rotations=self._rotations("hand_pose", left_hand),
            right_hand_rotations=self._rotations("hand_pose", right_hand),
            jaw_rotation=self._rotations("jaw", head_face),
            betas=self._numbers("beta", body),
            expression=self._numbers("expr", head_face),
            camera=self._numbers("cam", body),
            boxes=boxes[:, :, layout.boxes],
            body_points=boxes[:, :, layout.body, :2],
            left_hand_points=boxes[:, :, layout.points_of(left), :2],
            right_hand_points=boxes[:, :, layout.points_of(right), :2],
            face_points=boxes[:, :, layout.points_of(face), :2],
        )

    def _numbers(self, name: str, tokens: Tensor) -> Tensor:
        return self.get_submodule(f"smpl_{name}_embed")[LAST_HEAD](tokens.flatten(2))

    def _rotations(self, name: str, tokens: Tensor) -> Tensor:
        sixd = self._numbers(name, tokens).unflatten(-1, (-1, 3, 2))  # two columns, interleaved
        return sixd_columns_to_matrix(sixd.transpose(-1, -2).flatten(-2))


class Aios(nn.Module):
    """Pictures (B, 3, H, W), normalised RGB -> the `count` most likely people of each."""

    def __init__(self, config: AiosConfig):
        super().__init__()
        self.trunk = AiosTrunk(config)
        self.heads = BodyHeads(config)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], **choices: int) -> Aios:
        """The network of a checkpoint; `choices` as in `AiosConfig.from_state`.

        Raises `IncompleteWeights` when a tensor is missing, surplus or of another shape.
        """
        config = AiosConfig.from_state(state, **choices)
        return assembled(lambda: cls(config), used_tensors(state), NETWORK)

    def forward(self, pictures: Tensor, count: int = 20) -> People:
        candidates = self.trunk.classify(self.trunk(pictures))
        return self.heads(candidates, candidates.best(count))


def is_used(name: str) -> bool:
    """Whether the network is made of the tensor that a checkpoint has under this name."""
    return not (UNUSED.match(name) or NOT_OURS.match(name) or name.endswith("num_batches_tracked"))


def expected_shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes of a complete file of the sizes that `state` speaks of."""
    config = AiosConfig.from_state(state)
    shapes = shapes_without_memory(lambda: Aios(config))
    return {name.partition(".")[2]: shape for name, shape in shapes.items()}


def used_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint that the network is made of, under the network's names."""
    used = {name: tensor for name, tensor in state.items() if is_used(name)}
    return {f"{'heads' if name.startswith('smpl_') else 'trunk'}.{name}": tensor for name, tensor in used.items()}


def position_map(level: Tensor) -> Tensor:
    """(B, C, h, w) -> (1, C, h, w): sines and cosines of y, then of x."""
    width, rows, columns = level.shape[1:]
    y, x = (
        sines(
            2 * math.pi * torch.arange(1, count + 1, device=level.device) / (count + 1e-6),
            POSITION_TEMPERATURE,
            width // 2,
        )
        for count in (rows, columns)
    )
    y, x = y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)  # (h, w, C / 2)
    return torch.cat([y, x], dim=-1).permute(2, 0, 1)[None]


def pixel_centres(sizes: Sizes, device: torch.device) -> Tensor:
    """(T, 2) x and y of every token, in picture widths and heights."""
    centres = []
    for rows, columns in sizes:
        y = (torch.arange(rows, device=device) + 0.5) / rows
        x = (torch.arange(columns, device=device) + 0.5) / columns
        centres.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1))
    return torch.cat(centres)


def proposed_logits(sizes: Sizes, device: torch.device) -> tuple[Tensor, Tensor]:
    """A box about every token, (T, 4) in logits, infinite where it stands too near the border; and (T,) where not."""
    sides = torch.cat(
        [
            torch.full((rows * columns,), PROPOSAL_SIZE * 2**level, device=device)
            for level, (rows, columns) in enumerate(sizes)
        ]
    )
    boxes = torch.cat([pixel_centres(sizes, device), sides[:, None].expand(-1, 2)], dim=-1)
    is_inside = ((boxes > PROPOSAL_MARGIN) & (boxes < 1 - PROPOSAL_MARGIN)).all(-1)
    return torch.logit(boxes).masked_fill(~is_inside[:, None], torch.inf), is_inside
