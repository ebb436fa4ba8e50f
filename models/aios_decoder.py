# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder of AiOS: boxes that look like people unfold into groups of body, hand and face tokens.

Papers: Sun et al., "AiOS: All-in-One-Stage Expressive Human Pose and Shape Estimation" (CVPR 2024), after Yang et al.,
"Explicit Box Detection Unifies End-to-End Multi-Person Pose Estimation" (ICLR 2023). Tensor names are those of the
released `aios_checkpoint.pth` (`transformer.decoder.…`).

Every token stands somewhere in the picture, on a box (centre and size, in picture widths and heights), and each layer
moves and resizes it. Layers 0-1 see one token per candidate; before layer 2 the best candidates become groups of 21
tokens, before layer 4 of 39.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .deformable_attention import DeformableAttention, Sizes

HEADS = 8
"""Attention heads, which leave no trace in the tensors' shapes."""
LEVELS = 4
POINTS = 4
CLASSES = 2
DETECTION_LAYERS = 2
"""Layers before the candidates unfold; as many follow with 21, and the rest with 39 tokens per group."""
DETAIL_LAYER = 4
SINE_FEATURES = 128
SINE_TEMPERATURE = 10000.0
LOGIT_EPSILON = 1e-3


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder; the defaults are the released ones. Numbers of candidates and groups are choices."""

    width: int = 256
    mlp_width: int = 2048
    layers: int = 6
    body_points: int = 17
    hand_points: int = 6
    face_points: int = 6
    candidates: int = 900
    groups: int = 100


@dataclass(frozen=True)
class Layout:
    """Which token of a group is what."""

    size: int
    body: slice  # points of the body; token 0 is the body's box
    left_hand: int  # the hand's box; the points, if any, follow it
    right_hand: int
    face: int
    hand_points: int = 0
    face_points: int = 0

    @classmethod
    def of(cls, config: DecoderConfig, *, with_details: bool) -> Layout:
        hand, face = (config.hand_points, config.face_points) if with_details else (0, 0)
        left = 1 + config.body_points
        right = left + 1 + hand
        return cls(right + 2 + hand + face, slice(1, left), left, right, right + 1 + hand, hand, face)

    @property
    def boxes(self) -> list[int]:
        """The tokens that see beyond their own group."""
        return [0, self.left_hand, self.right_hand, self.face]

    def points_of(self, box: int) -> slice:
        return slice(box + 1, box + 1 + (self.face_points if box == self.face else self.hand_points))


@dataclass(frozen=True)
class Decoded:
    """What the decoder leaves."""

    tokens: Tensor  # (B, G, 39, C) normed tokens of the last layer
    boxes: Tensor  # (B, G, 39, 4) centre and size, in picture widths and heights
    layout: Layout


class Mlp(nn.Module):
    """Linear layers with a ReLU between them."""

    def __init__(self, entering: int, width: int, leaving: int, depth: int = 3):
        super().__init__()
        widths = [entering, *[width] * (depth - 1), leaving]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def table(rows: int, width: int) -> nn.Embedding:
    """Learned vectors. Zeros to begin with: drawing random ones without memory would first load torch's compiler."""
    return nn.Embedding.from_pretrained(torch.zeros(rows, width), freeze=False)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens of one picture, or, where there is a layout, mostly within groups."""

    def __init__(self, width: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, position: Tensor, layout: Layout | None) -> Tensor:
        """x, position (B, Q, C) -> (B, Q, C); with a layout the Q tokens are the groups, one after the other."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(entering, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, Q, C / heads)
            for entering, weight, bias in zip((x + position, x + position, x), weights, biases, strict=True)
        )
        if layout is None:
            seen = F.scaled_dot_product_attention(query, key, value)
        else:
            seen = _grouped_attention(query, key, value, layout)
        return self.out_proj(seen.transpose(1, 2).flatten(2))


def _grouped_attention(query: Tensor, key: Tensor, value: Tensor, layout: Layout) -> Tensor:
    """Attention (B, heads, G * T, D) in which a token sees its own group, and a box token also every box token.

    The mask of all against all would be empty but for these blocks (1 in 40 at full size), so only they are computed.
    """
    query, key, value = (x.unflatten(2, (-1, layout.size)) for x in (query, key, value))  # (B, heads, G, T, D)
    groups, depth = query.shape[2], query.shape[-1]
    seen = F.scaled_dot_product_attention(query, key, value)
    # The box tokens, again: their own group and the others' boxes share one softmax.
    boxes = layout.boxes
    box_query = query[:, :, :, boxes] / math.sqrt(depth)  # (B, heads, G, 4, D)
    box_key, box_value = key[:, :, :, boxes].flatten(2, 3), value[:, :, :, boxes].flatten(2, 3)  # (B, heads, G * 4, D)
    own = box_query @ key.transpose(-1, -2)  # (B, heads, G, 4, T)
    other = (box_query.flatten(2, 3) @ box_key.transpose(-1, -2)).unflatten(2, (groups, -1))  # (B, heads, G, 4, G * 4)
    is_own = torch.eye(groups, dtype=torch.bool, device=query.device).repeat_interleave(len(boxes), dim=1)[:, None]
    other = other.masked_fill(is_own, -torch.inf)  # (G, 1, G * 4): already among `own`
    weights = torch.cat([own, other], dim=-1).softmax(-1)
    own, other = weights[..., : layout.size], weights[..., layout.size :]
    from_others = (other.flatten(2, 3) @ box_value).unflatten(2, (groups, -1))
    seen = seen.index_copy(3, torch.tensor(boxes, device=query.device), own @ value + from_others)
    return seen.flatten(2, 3)


class DecoderLayer(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        width = config.width
        self.cross_attn = DeformableAttention(width, HEADS, LEVELS, POINTS)
        self.norm1 = nn.LayerNorm(width)  # the first norm belongs to the second step: so are the weights named
        self.self_attn = SelfAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.mlp_width)
        self.linear2 = nn.Linear(config.mlp_width, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, position: Tensor, boxes: Tensor, memory: Tensor, sizes: Sizes, layout: Layout | None
    ) -> Tensor:
        """x, position (B, Q, C), boxes (B, Q, 4), memory (B, T, C) -> (B, Q, C)."""
        x = self.norm2(x + self.self_attn(x, position, layout))
        x = self.norm1(x + self.cross_attn(x + position, boxes[:, :, None], memory, sizes))
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))


class Decoder(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        width, layers = config.width, config.layers
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.ref_point_head = Mlp(4 * SINE_FEATURES, width, width, depth=2)
        self.class_embed = nn.ModuleList(nn.Linear(width, CLASSES) for _ in range(layers))
        self.bbox_embed = self._movers(4, layers)
        # What moves the parts. The last head of a list places new tokens, the ones before it serve a layer each;
        # heads of sizes that occur once in the list serve all layers.
        pose_layers, detail_layers = layers - DETECTION_LAYERS, layers - DETAIL_LAYER
        self.pose_embed = self._movers(2, pose_layers + 1)
        self.pose_hw_embed = self._movers(2, 1)
        for part in ("hand", "face"):
            self.add_module(f"bbox_{part}_embed", self._movers(2, pose_layers + 1))
            self.add_module(f"bbox_{part}_hw_embed", self._movers(2, pose_layers))
            self.add_module(f"pose_{part}_embed", self._movers(2, detail_layers + 1))
            self.add_module(f"pose_{part}_hw_embed", self._movers(2, 1))
        self.keypoint_embed = table(config.body_points, width)
        self.hw = table(config.body_points, 2)
        for part, points in (
            ("lhand", config.hand_points),
            ("rhand", config.hand_points),
            ("face", config.face_points),
        ):
            self.add_module(f"{part}_box_embed", table(1, width))
            self.add_module(f"{part}_keypoint_embed", table(points, width))
            self.add_module(f"hw_{part}_bbox", table(1, 2))
            self.add_module(f"hw_{part}_kps", table(points, 2))

    def _movers(self, numbers: int, count: int) -> nn.ModuleList:
        return nn.ModuleList(Mlp(self.config.width, self.config.width, numbers) for _ in range(count))

    def forward(self, x: Tensor, boxes: Tensor, memory: Tensor, sizes: Sizes) -> Decoded:
        """x (B, candidates, C) on boxes (B, candidates, 4), memory (B, T, C) of maps of `sizes` -> groups."""
        layout: Layout | None = None
        for index, layer in enumerate(self.layers):
            if index:
                boxes = self.moved(index - 1, x, boxes, layout)
            if index == DETECTION_LAYERS:
                layout = Layout.of(self.config, with_details=False)
                x, boxes = self._unfold_people(*self._best(x, boxes))
            elif index == DETAIL_LAYER:
                x, boxes = self._unfold_details(x, boxes)
                layout = Layout.of(self.config, with_details=True)
            x = layer(x, self.ref_point_head(box_sines(boxes)), boxes, memory, sizes, layout)
        # Only here are boxes read off normed tokens; between the layers it is the plain ones.
        layout = Layout.of(self.config, with_details=True)
        tokens, groups = self.norm(x), (-1, layout.size)
        boxes = self.moved(index, tokens, boxes, layout)
        return Decoded(tokens.unflatten(1, groups), boxes.unflatten(1, groups), layout)

    def moved(self, index: int, x: Tensor, boxes: Tensor, layout: Layout | None) -> Tensor:
        """The boxes (B, Q, 4) after layer `index`, which left the tokens x (B, Q, C)."""
        move = self.bbox_embed[index](x) if layout is None else self._moves(index, x, layout)
        return (move + logit(boxes)).sigmoid().detach()

    def _best(self, x: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates that look most like people, best first: tokens (B, G, C) and boxes (B, G, 4)."""
        score = self.class_embed[DETECTION_LAYERS - 1](x).amax(-1)
        best = score.topk(min(self.config.groups, score.shape[1]), dim=1).indices[..., None]
        return x.take_along_dim(best, 1), boxes.take_along_dim(best, 1)

    def _unfold_people(self, x: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, G, C) body tokens -> (B, G * 21, C), likewise the boxes."""
        parts = [(x[:, :, None], boxes[:, :, None])]
        parts.append(_unfolded(x, boxes, self.keypoint_embed, self.hw, self.pose_embed[-1]))
        for part, mover in (("lhand", "hand"), ("rhand", "hand"), ("face", "face")):
            embedding, size = self.get_submodule(f"{part}_box_embed"), self.get_submodule(f"hw_{part}_bbox")
            parts.append(_unfolded(x, boxes, embedding, size, self.get_submodule(f"bbox_{mover}_embed")[-1]))
        return _joined(parts)

    def _unfold_details(self, x: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, G * 21, C) -> (B, G * 39, C): after each hand's and face's box come its points."""
        layout = Layout.of(self.config, with_details=False)
        x, boxes = x.unflatten(1, (-1, layout.size)), boxes.unflatten(1, (-1, layout.size))
        parts = [(x[:, :, : layout.left_hand], boxes[:, :, : layout.left_hand])]
        for token, part in ((layout.left_hand, "lhand"), (layout.right_hand, "rhand"), (layout.face, "face")):
            embedding, size = self.get_submodule(f"{part}_keypoint_embed"), self.get_submodule(f"hw_{part}_kps")
            mover = self.get_submodule("pose_face_embed" if part == "face" else "pose_hand_embed")[-1]
            parts.append((x[:, :, [token]], boxes[:, :, [token]]))
            parts.append(_unfolded(x[:, :, token], boxes[:, :, token], embedding, size, mover))
        return _joined(parts)

    def _moves(self, index: int, x: Tensor, layout: Layout) -> Tensor:
        """How layer `index` moves and resizes every token's box, in logits: (B, G * T, C) -> (B, G * T, 4)."""
        x = x.unflatten(1, (-1, layout.size))
        late = index - DETECTION_LAYERS
        moves = [self.bbox_embed[index](x[:, :, :1])]
        moves.append(_move(x[:, :, layout.body], self.pose_embed[late], self.pose_hw_embed[0]))
        for token, part in ((layout.left_hand, "hand"), (layout.right_hand, "hand"), (layout.face, "face")):
            centre, size = self.get_submodule(f"bbox_{part}_embed"), self.get_submodule(f"bbox_{part}_hw_embed")
            moves.append(_move(x[:, :, [token]], centre[late], size[late]))
            if index >= DETAIL_LAYER:
                centre, size = self.get_submodule(f"pose_{part}_embed"), self.get_submodule(f"pose_{part}_hw_embed")
                moves.append(_move(x[:, :, layout.points_of(token)], centre[index - DETAIL_LAYER], size[0]))
        return torch.cat(moves, dim=2).flatten(1, 2)


def _unfolded(
    x: Tensor, boxes: Tensor, embedding: nn.Embedding, size: nn.Embedding, mover: Mlp
) -> tuple[Tensor, Tensor]:
    """Tokens (B, G, C) with boxes (B, G, 4) -> N new tokens each (B, G, N, C), placed and sized within those boxes."""
    new = x[:, :, None] + embedding.weight
    centres = (logit(boxes[:, :, None, :2]) + mover(new)).sigmoid()
    return new, torch.cat([centres, boxes[:, :, None, 2:] * size.weight.sigmoid()], dim=-1).detach()


def _joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    tokens, boxes = zip(*parts, strict=True)
    return torch.cat(tokens, dim=2).flatten(1, 2), torch.cat(boxes, dim=2).flatten(1, 2)


def _move(x: Tensor, centre: Mlp, size: Mlp) -> Tensor:
    return torch.cat([centre(x), size(x)], dim=-1)


def logit(x: Tensor) -> Tensor:
    """The inverse of the sigmoid, kept finite as in the training."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp_min(LOGIT_EPSILON) / (1 - x).clamp_min(LOGIT_EPSILON))


def box_sines(boxes: Tensor) -> Tensor:
    """(…, 4) as x, y, w, h -> (…, 512) sines and cosines, in the order y, x, w, h."""
    return sines(boxes[..., [1, 0, 2, 3]] * 2 * math.pi, SINE_TEMPERATURE).flatten(-2)


def sines(angles_rad: Tensor, temperature: float, features: int = SINE_FEATURES) -> Tensor:
    """(…) -> (…, 128): sines at the even, cosines at the odd places, ever slower."""
    exponent = torch.arange(features // 2, device=angles_rad.device) * (2 / features)
    phases = angles_rad[..., None] / temperature**exponent
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(-2)
