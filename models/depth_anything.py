# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth Anything V2, metric: a picture becomes feature maps that know distances, and a depth map in metres.

Papers: Yang et al., "Depth Anything V2" (NeurIPS 2024); its parts are DINOv2 (Oquab et al., 2023) and the dense
prediction transformer (Ranftl et al., ICCV 2021). Tensor names are those of the released checkpoints
(`depth_anything_v2_metric_….pth`). BLADE looks at the finest fused feature map and leaves the depth map aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .state import Shape, assembled, count_numbered, need, shapes_without_memory
from .vit import NORM_EPSILON, Attention, Mlp, ViTConfig

NETWORK = "Depth Anything V2"
HEAD_WIDTH = 64
"""Width of one attention head in every DINOv2. Heads leave no trace in the tensors' shapes."""
UNUSED = ("pretrained.mask_token",)
"""In the file, but only the training of DINOv2 asked for it."""

TAPPED_BLOCKS = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23), 40: (9, 19, 29, 39)}
"""Depth of the encoder -> the blocks after which the neck looks at the tokens."""
INDOOR_RANGE_M = 20.0
"""What the depth map's 1 means in the weights trained on Hypersim."""

# Added to the grid before it is divided by the trained one; without it the released network's positions are missed.
POSITION_OFFSET = 0.1


@dataclass(frozen=True)
class DepthAnythingConfig:
    """Sizes; the defaults are those of the large model."""

    width: int = 1024  # numbers per token
    depth: int = 24  # blocks
    heads: int = 16
    mlp_width: int = 4096
    patch_px: int = 14  # side of the square a token sees
    trained_grid: int = 37  # tokens along one side of the pictures of the training, 518 px
    neck_widths: tuple[int, int, int, int] = (256, 512, 1024, 1024)  # channels per level, fine to coarse
    fused_width: int = 256  # channels of the fused maps

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DepthAnythingConfig:
        """Sizes read from the tensors of a checkpoint."""
        width, _, patch_px, _ = need(state, "pretrained.patch_embed.proj.weight", NETWORK).shape
        return cls(
            width=width,
            depth=count_numbered(state, "pretrained.blocks."),
            heads=max(1, width // HEAD_WIDTH),
            mlp_width=need(state, "pretrained.blocks.0.mlp.fc1.weight", NETWORK).shape[0],
            patch_px=patch_px,
            trained_grid=round((need(state, "pretrained.pos_embed", NETWORK).shape[1] - 1) ** 0.5),
            neck_widths=tuple(
                need(state, f"depth_head.projects.{level}.weight", NETWORK).shape[0] for level in range(4)
            ),
            fused_width=need(state, "depth_head.scratch.layer1_rn.weight", NETWORK).shape[0],
        )


class LayerScale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        sizes = ViTConfig(width=config.width, heads=config.heads, mlp_width=config.mlp_width)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = Attention(sizes)
        self.ls1 = LayerScale(config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mlp = Mlp(sizes)
        self.ls2 = LayerScale(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_px, config.patch_px)

    def forward(self, picture: Tensor) -> Tensor:
        return self.proj(picture).flatten(2).transpose(1, 2)  # (B, h * w, width), row by row


class DinoV2(nn.Module):
    """Pictures (B, 3, H, W), sides multiples of 14 -> the tapped blocks' tokens, 4 x (B, 1 + h * w, width)."""

    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.trained_grid**2, config.width))
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def forward(self, picture: Tensor) -> list[Tensor]:
        rows, columns = (side // self.config.patch_px for side in picture.shape[2:])
        patches = self.patch_embed(picture)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.positions(rows, columns)
        tapped = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPPED_BLOCKS[self.config.depth]:
                tapped.append(self.norm(x))  # every tap goes through the final norm
        return tapped

    def positions(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows * columns, width): the trained positions, stretched to this grid."""
        grid = self.config.trained_grid
        if (rows, columns) == (grid, grid):
            return self.pos_embed
        trained = self.pos_embed[:, 1:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
        scale = ((rows + POSITION_OFFSET) / grid, (columns + POSITION_OFFSET) / grid)
        stretched = F.interpolate(trained, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([self.pos_embed[:, :1], stretched], dim=1)


class ResidualUnit(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fusion(nn.Module):
    """A coarser fused map joins the map of one level, and leaves in the size of the next."""

    def __init__(self, width: int):
        super().__init__()
        self.resConfUnit1 = ResidualUnit(width)  # idle in the coarsest level, which nothing joins
        self.resConfUnit2 = ResidualUnit(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor, coarser: Tensor | None, size: tuple[int, int]) -> Tensor:
        x = level if coarser is None else coarser + self.resConfUnit1(level)
        # The 1x1 convolution came after the enlargement. Both are linear and the weights of the enlargement sum to 1,
        # so they may change places, which leaves a quarter of the work.
        return _resized(self.out_conv(self.resConfUnit2(x)), size)


class Scratch(nn.Module):
    """Only a place in the tensors' names: everything after the level maps."""

    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        fused = config.fused_width
        for level, width in enumerate(config.neck_widths, start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(width, fused, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", Fusion(fused))
        self.output_conv1 = nn.Conv2d(fused, fused // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(fused // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.Sigmoid()
        )


class DepthHead(nn.Module):
    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        widths = config.neck_widths
        self.projects = nn.ModuleList(nn.Conv2d(config.width, width, 1) for width in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(config)

    def forward(self, tapped: list[Tensor], grid: tuple[int, int]) -> Tensor:
        """Tokens of the four taps on a grid (h, w) -> the finest fused map (B, 256, 8 h, 8 w)."""
        levels = []
        for index, tokens in enumerate(tapped):
            level = tokens[:, 1:].transpose(1, 2).unflatten(-1, grid)  # (B, width, h, w)
            level = self.resize_layers[index](self.projects[index](level))
            levels.append(self.scratch.get_submodule(f"layer{index + 1}_rn")(level))
        sizes = [tuple(level.shape[2:]) for level in levels]
        sizes.insert(0, (2 * sizes[0][0], 2 * sizes[0][1]))
        fused = None
        for index in reversed(range(len(levels))):  # coarse to fine
            fused = self.scratch.get_submodule(f"refinenet{index + 1}")(levels[index], fused, sizes[index])
        return fused

    def relative_depth(self, fused: Tensor, size: tuple[int, int]) -> Tensor:
        """The fused map -> (B, 1, H, W) in 0..1, of the picture's size."""
        return self.scratch.output_conv2(_resized(self.scratch.output_conv1(fused), size))


class DepthAnything(nn.Module):
    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        self.config = config
        self.pretrained = DinoV2(config)
        self.depth_head = DepthHead(config)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DepthAnything:
        """The network of a checkpoint. Raises `IncompleteWeights` when a tensor is missing, surplus or misshapen."""
        config = DepthAnythingConfig.from_state(state)
        used = {name: tensor for name, tensor in state.items() if name not in UNUSED}
        return assembled(lambda: cls(config), used, NETWORK)

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (B, 3, H, W), normalised RGB -> features (B, 256, 4 H / 7, 4 W / 7)."""
        rows, columns = (side // self.config.patch_px for side in pictures.shape[2:])
        return self.depth_head(self.pretrained(pictures), (rows, columns))

    def depth_m(self, pictures: Tensor, range_m: float = INDOOR_RANGE_M) -> Tensor:
        """pictures (B, 3, H, W), normalised RGB -> metres (B, H, W)."""
        return range_m * self.depth_head.relative_depth(self(pictures), tuple(pictures.shape[2:]))[:, 0]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def is_used(name: str) -> bool:
    """Whether the network is made of the tensor that a checkpoint has under this name."""
    return name not in UNUSED


def expected_shapes(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes of a complete file of the sizes that `state` speaks of."""
    config = DepthAnythingConfig.from_state(state)
    return shapes_without_memory(lambda: DepthAnything(config))
