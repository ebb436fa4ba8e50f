# SPDX-License-Identifier: GPL-3.0-or-later
"""A silhouette with soft edges, through which a mesh feels where it should be. Only the published solver needs it.

Papers: Liu et al., "Soft Rasterizer" (ICCV 2019); Ravi et al., "Accelerating 3D Deep Learning with PyTorch3D" (2020),
whose meaning of distance, blur and blending this follows: two nearest triangles per pixel, each with the sigmoid of the
signed squared distance to its *own* edges. Deep inside a fine mesh the result therefore tends to 0.5 or 0.75, not to 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHARPNESS = 1e-4
"""Squared distance, in half picture sides, at which a triangle's presence falls to 1 / (1 + e)."""
REACH = math.log(1 / SHARPNESS - 1) * SHARPNESS * 0.01
"""Squared distance beyond which a pixel outside a triangle does not see it."""
NEAREST = 2
"""Triangles that a pixel sees."""


def soft_silhouette(points: Tensor, depths: Tensor, faces: Tensor, size_px: int) -> Tensor:
    """(S, S) presence 0..1 of a mesh in a square picture, differentiable in `points`.

    `points` (V, 2) in half picture sides from the middle, x right and y down; `depths` (V,) metres; `faces` (F, 3),
    counter-clockwise seen from outside. Triangles that turn away are not seen.
    """
    triangle, pixel, rank = _nearest_triangles(points.detach(), depths.detach(), faces, size_px)
    distance = _signed_squared_distance(points[faces[triangle]], _pixel_centres(pixel, size_px))
    absence = points.new_ones(size_px * size_px, NEAREST)
    absence = absence.index_put((pixel, rank), torch.sigmoid(distance / SHARPNESS))
    return (1 - absence.prod(1)).view(size_px, size_px)


def _nearest_triangles(points: Tensor, depths: Tensor, faces: Tensor, size_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of triangle and pixel that count: the triangle, the pixel, and 0 for its nearest, 1 for the next."""
    corners = points[faces]  # (F, 3, 2)
    front = torch.nonzero(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) < 0).squeeze(1)
    front = front[(depths[faces[front]] > 0).all(1)]
    triangle, pixel = _boxes_to_pairs(corners[front], front, size_px)
    spot = _pixel_centres(pixel, size_px)
    own = corners[triangle]
    is_near = _signed_squared_distance(own, spot) < REACH
    triangle, pixel, spot, own = triangle[is_near], pixel[is_near], spot[is_near], own[is_near]
    depth = _depth_at(own, depths[faces[triangle]], spot)
    by_depth = depth.argsort(stable=True)
    order = by_depth[pixel[by_depth].argsort(stable=True)]
    triangle, pixel = triangle[order], pixel[order]
    place = torch.arange(len(pixel), device=pixel.device)
    is_first = torch.ones_like(pixel, dtype=torch.bool)
    is_first[1:] = pixel[1:] != pixel[:-1]
    rank = place - torch.where(is_first, place, 0).cummax(0).values
    kept = rank < NEAREST
    return triangle[kept], pixel[kept], rank[kept]


def _boxes_to_pairs(corners: Tensor, triangle: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
    """Every pixel in the box around every triangle."""
    margin = math.sqrt(REACH)
    low = ((corners.amin(1) - margin + 1) * size_px / 2 - 0.5).ceil().clamp(0, size_px).long()
    high = ((corners.amax(1) + margin + 1) * size_px / 2 - 0.5).floor().clamp(-1, size_px - 1).long() + 1
    width, height = (high - low).clamp_min(0).unbind(-1)
    count = width * height
    box = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    inner = torch.arange(len(box), device=count.device) - (count.cumsum(0) - count)[box]
    x, y = low[box, 0] + inner % width[box], low[box, 1] + inner // width[box]
    return triangle[box], y * size_px + x


def _signed_squared_distance(corners: Tensor, spot: Tensor) -> Tensor:
    """(N, 3, 2) triangles, (N, 2) points -> (N,) squared distance to the nearest edge, negative inside."""
    along = corners.roll(-1, 1) - corners
    to_spot = spot[:, None] - corners
    fraction = ((to_spot * along).sum(-1) / (along**2).sum(-1).clamp_min(1e-12)).clamp(0, 1)
    squared = ((to_spot - fraction[..., None] * along) ** 2).sum(-1).amin(1)
    is_inside = (_cross(along, to_spot) < 0).all(1)
    return torch.where(is_inside, -squared, squared)


def _depth_at(corners: Tensor, depths: Tensor, spot: Tensor) -> Tensor:
    """(N,) depth of the triangle's plane at a point; outside the triangle, where its nearest mixture of corners is."""
    to_spot = spot[:, None] - corners
    opposite = _cross(to_spot.roll(-1, 1), to_spot.roll(-2, 1))  # (N, 3) twice the area facing each corner
    shares = opposite / opposite.sum(1, keepdim=True)
    shares = shares / depths  # lines of equal share are not equal steps in depth
    shares = (shares / shares.sum(1, keepdim=True)).clamp(0, 1)
    return (shares * depths).sum(1) / shares.sum(1)


def _pixel_centres(pixel: Tensor, size_px: int) -> Tensor:
    x, y = pixel % size_px, pixel // size_px
    return (torch.stack([x, y], dim=-1) + 0.5) * (2 / size_px) - 1


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
