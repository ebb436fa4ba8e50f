# SPDX-License-Identifier: GPL-3.0-or-later
"""What a decoded pose is judged by while the pose tokenizer is trained: rotations, mesh and joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BODY_JOINTS = slice(1, 22)  # the joints that the tokenizer speaks of, among those of the body model


@dataclass(frozen=True)
class PosedBodies:
    """A batch of bodies as the losses compare them."""

    rotations: Tensor
    """(B, 21, 3, 3)."""
    vertices: Tensor
    """(B, V, 3) metres."""
    joints: Tensor
    """(B, 22 or more, 3) metres, the root first."""


def vertex_weights(rest_vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) metres, (F, 3) -> (V,): the areas of a vertex's triangles in rest, scaled to 0..1 each, added up.

    Dense regions (face, hands) would otherwise count more than the back, for no better reason than their topology.
    """
    corners = rest_vertices[faces]  # (F, 3, 3)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=-1)
    areas = normals.norm(dim=-1) / 2
    scaled = (areas - areas.min()) / (areas.max() - areas.min())
    weights = torch.zeros(len(rest_vertices), dtype=scaled.dtype, device=scaled.device)
    return weights.index_add_(0, faces.flatten(), scaled.repeat_interleave(3))


def released_loss(decoded: PosedBodies, target: PosedBodies, weights: Tensor, commitment: Tensor | float) -> Tensor:
    """The released weights were trained with this: squared errors, the mesh weighted by `vertex_weights`."""
    pose = (decoded.rotations - target.rotations).square().mean()
    mesh = (weights[:, None] * (decoded.vertices - target.vertices).square()).mean()
    joints = (decoded.joints - target.joints)[:, BODY_JOINTS].square().mean()
    return 20 * pose + 100 * mesh + 100 * joints + commitment


def paper_loss(
    decoded: PosedBodies, target: PosedBodies, embedding: Tensor | float, commitment: Tensor | float
) -> Tensor:
    """As the paper says it: absolute errors of rotations and joints."""
    pose = (decoded.rotations - target.rotations).abs().mean()
    joints = (decoded.joints - target.joints)[:, BODY_JOINTS].abs().mean()
    return 50 * (pose + joints) + embedding + commitment
