# SPDX-License-Identifier: GPL-3.0-or-later
"""The outline of a mesh in a picture: exact, for many people at once, and with the vertices that make it.

An edge between a triangle that faces the camera and one that does not is part of the contour. Contour edges run so that
the body lies on their left (seen in the picture); how often they wind about a pixel is how many layers cover it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .mesh_edges import MeshEdges

NEAR_M = 0.02
"""Triangles with a corner nearer than this (or behind the camera) count as turned away."""


@dataclass(frozen=True)
class Edges:
    """The edges of a mesh: where each runs in the triangle to its left, and the triangles on both sides."""

    start: Tensor  # (E,) vertex
    end: Tensor  # (E,)
    left: Tensor  # (E,) triangle in which the edge runs from start to end
    right: Tensor  # (E,) triangle in which it runs back, or the number of triangles where there is none
    faces: Tensor  # (F, 3)

    @classmethod
    def of(cls, faces: np.ndarray, device: torch.device | str = "cpu") -> Edges:
        """From (F, 3) triangles, counter-clockwise seen from outside. Holes and seams are allowed."""
        edges = MeshEdges.of(faces)
        arrays = (edges.start, edges.end, edges.left, edges.right, np.asarray(faces, np.int64))
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))


@dataclass(frozen=True)
class Contour:
    """N contour edges of B people, all in one list."""

    person: Tensor  # (N,) 0..B-1
    start: Tensor  # (N,) vertex
    end: Tensor  # (N,)


def contour_of(points_px: Tensor, depths_m: Tensor, edges: Edges) -> Contour:
    """`points_px` (B, V, 2) x right and y down, `depths_m` (B, V)."""
    # One flat selection per coordinate: many times quicker than indexing with the (F, 3) table.
    flat = edges.faces.flatten()
    x, y = (points_px[..., axis].index_select(1, flat).unflatten(1, (-1, 3)) for axis in (0, 1))  # (B, F, 3)
    ahead = (depths_m > NEAR_M).index_select(1, flat).unflatten(1, (-1, 3)).all(-1)
    turned = (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0])
    turned = turned - (y[..., 1] - y[..., 0]) * (x[..., 2] - x[..., 0])
    is_front = (turned < 0) & ahead
    is_front = torch.nn.functional.pad(is_front, (0, 1))  # nothing, beyond a hole's rim, faces nobody
    left, right = is_front.index_select(1, edges.left), is_front.index_select(1, edges.right)
    forth, back = torch.nonzero(left & ~right), torch.nonzero(~left & right)
    return Contour(
        person=torch.cat([forth[:, 0], back[:, 0]]),
        start=torch.cat([edges.start[forth[:, 1]], edges.end[back[:, 1]]]),
        end=torch.cat([edges.end[forth[:, 1]], edges.start[back[:, 1]]]),
    )


def filled(contour: Contour, points_px: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) bool: the pixels whose centre is covered."""
    start, end = points_px[contour.person, contour.start], points_px[contour.person, contour.end]
    goes_down = start[:, 1] <= end[:, 1]
    top, bottom = torch.where(goes_down[:, None], start, end), torch.where(goes_down[:, None], end, start)
    # Rows whose centre lies in [top, bottom): a shared end point is counted once.
    first = (top[:, 1] - 0.5).ceil().clamp(0, height).long()
    count = (bottom[:, 1] - 0.5).ceil().clamp(0, height).long() - first
    edge = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    row = torch.arange(len(edge), device=edge.device) - (count.cumsum(0) - count)[edge] + first[edge]
    slope = (bottom[:, 0] - top[:, 0])[edge] / (bottom[:, 1] - top[:, 1])[edge]
    x = top[edge, 0] + (row + 0.5 - top[edge, 1]) * slope
    column = (x - 0.5).ceil().clamp(0, width).long()
    people = len(points_px)
    layers = torch.zeros(people * height * (width + 1), dtype=torch.int32, device=x.device)
    cell = (contour.person[edge] * height + row) * (width + 1) + column
    layers.index_add_(0, cell, torch.where(goes_down[edge], 1, -1).int())
    return layers.view(people, height, width + 1).cumsum(-1, dtype=torch.int32)[..., :width] != 0
