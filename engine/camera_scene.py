# SPDX-License-Identifier: GPL-3.0-or-later
"""What the camera solver is told, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MISS_WEIGHT = 0.5
"""How much overlap a mean keypoint error of one size is worth."""


@dataclass(frozen=True)
class Articulation:
    """How the bodies move when their pose is free."""

    pose: Tensor  # (B, P) to begin with, radians
    posed: Callable[[Tensor], tuple[Tensor, Tensor]]  # (B, P) -> vertices (B, V, 3), joints (B, K, 3)
    sigma_rad: float = 0.1  # how far the pose may be off, one standard deviation

    def slopes(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Metres per radian: of vertices (B, V, 3, P) and of joints (B, K, 3, P)."""

        def along(direction: Tensor) -> tuple[Tensor, Tensor]:
            return torch.func.jvp(self.posed, (pose,), (direction.expand_as(pose),))[1]

        directions = torch.eye(pose.shape[1], dtype=pose.dtype, device=pose.device)
        return tuple(slope.movedim(0, -1) for slope in torch.func.vmap(along)(directions))


@dataclass(frozen=True)
class Scene:
    """B bodies, each with its own picture. Pixels count from the upper left corner."""

    vertices: Tensor  # (B, V, 3) metres, posed and turned as in the camera's frame, without translation
    joints: Tensor  # (B, K, 3) likewise: those that the keypoints show
    keypoints_px: Tensor  # (B, K, 2)
    weights: Tensor  # (B, K) 0..1
    masks: Tensor  # (B, H, W) bool
    centres_px: Tensor  # (B, 2) principal points
    depth_m: Tensor | None = None  # (B,) what is believed about Tz
    focal_px: Tensor | None = None  # (B,) the focal length where it is known
    inside: Tensor | None = None  # (B, H, W) bool, false where the mask tells nothing (a padded picture's rim)
    articulation: Articulation | None = None

    @property
    def sizes_px(self) -> Tensor:
        """(B,) of the people in the picture."""
        is_seen = self.weights[..., None] > 0
        low = self.keypoints_px.masked_fill(~is_seen, torch.inf).amin(1)
        high = self.keypoints_px.masked_fill(~is_seen, -torch.inf).amax(1)
        return (high - low).norm(dim=-1).nan_to_num(posinf=1.0, neginf=1.0).clamp_min(1.0)


@dataclass(frozen=True)
class Freedom:
    """What may change, and how far it may be from what is believed (one standard deviation)."""

    depth: bool = False
    turn: bool = False
    depth_sigma: float = 0.05  # of ln Tz
    turn_sigma_rad: float = 0.1


STILL = Freedom()
"""Depth and body stay: only focal length and sideways place are sought."""


@dataclass(frozen=True)
class Camera:
    """One answer per person."""

    focal_px: Tensor  # (B,)
    translation: Tensor  # (B, 3) metres
    turn: Tensor  # (B, 3, 3) turns vertices and joints about their origin, before the translation
    pose: Tensor  # (B, P) as in the articulation; P is 0 without one
    iou: Tensor  # (B,) of the hard masks
    miss: Tensor  # (B,) mean keypoint error in sizes of the person, each error limited

    @property
    def score(self) -> Tensor:
        """What is maximised."""
        return self.iou - MISS_WEIGHT * self.miss


def chosen(is_first: Tensor, first: Camera, second: Camera) -> Camera:
    """Per person the first where `is_first` (B,), else the second."""
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Camera(*(torch.where(is_first.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
