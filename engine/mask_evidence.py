# SPDX-License-Identifier: GPL-3.0-or-later
"""What person masks and drawn outlines say about each other: distances, borders, and who borders on the background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .contour import Contour

BORDER_POINTS = 400
"""As many places of a mask's border are enough to pull."""
PIECES = 3
"""Contour edges are looked at in so many places each."""
OUTSIDE_PX = 0.75
"""A contour borders on the background when nothing covers the place this far out."""


@dataclass(frozen=True)
class MaskEvidence:
    """What is measured once in B masks. Pixels count from the upper left corner."""

    masks: Tensor  # (B, H, W) bool
    distances_px: Tensor  # (B, H, W) from a pixel's centre to the mask's border, negative inside
    border_px: Tensor  # (B, N, 2) places on the border; where there are fewer than N, the rest is infinitely far
    areas_px: Tensor  # (B,)
    inside: Tensor  # (B, H, W) bool, false where the picture shows nothing and nothing is known

    @classmethod
    def of(cls, masks: Tensor, inside: Tensor | None, dtype: torch.dtype) -> MaskEvidence:
        inside = torch.ones_like(masks) if inside is None else inside
        masks = masks & inside
        pairs = list(zip(*(x.cpu().numpy().astype(np.uint8) for x in (masks, inside)), strict=True))
        distances = np.stack([_signed_distance(*pair) for pair in pairs])
        borders = np.stack([_border(*pair) for pair in pairs])
        distances, borders = (torch.from_numpy(x).to(masks.device, dtype) for x in (distances, borders))
        return cls(masks, distances, borders, masks.sum((1, 2)).to(dtype), inside)

    def overlap(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Intersection over union with silhouettes (B, H, W), and the union in pixels, where something is known."""
        drawn = drawn & self.inside
        both = (drawn & self.masks).sum((1, 2))
        union = (drawn.sum((1, 2)) + self.areas_px - both).clamp_min(1)
        return both / union, union

    def distance(self, person: Tensor, spot_px: Tensor) -> tuple[Tensor, Tensor]:
        """Distance (N,) at places (N, 2), and how it grows per pixel (N, 2)."""
        height, width = self.distances_px.shape[1:]
        x = (spot_px[:, 0] - 0.5).clamp(0, width - 1.001)
        y = (spot_px[:, 1] - 0.5).clamp(0, height - 1.001)
        left, top = x.long(), y.long()
        x, y = x - left, y - top
        a, b = self.distances_px[person, top, left], self.distances_px[person, top, left + 1]
        c, d = self.distances_px[person, top + 1, left], self.distances_px[person, top + 1, left + 1]
        slope = torch.stack([(b - a) * (1 - y) + (d - c) * y, (c - a) * (1 - x) + (d - b) * x], -1)
        return (a * (1 - x) + b * x) * (1 - y) + (c * (1 - x) + d * x) * y, slope


@dataclass(frozen=True)
class Pieces:
    """N pieces of the outlines that border on the background, of all people in one list."""

    person: Tensor  # (N,)
    edge: Tensor  # (N,) which contour edge
    share: Tensor  # (N,) where on it: 0 at its start, 1 at its end
    spot_px: Tensor  # (N, 2)
    normal: Tensor  # (N, 2) unit vector away from the body
    length_px: Tensor  # (N,)


def outer_pieces(contour: Contour, points_px: Tensor, drawn: Tensor, inside: Tensor) -> Pieces:
    """`points_px` (B, V, 2) of the vertices, `drawn` (B, H, W) the silhouettes that the contour encloses.

    Only pieces `inside` (B, H, W) the known part of the pictures.
    """
    start, end = points_px[contour.person, contour.start], points_px[contour.person, contour.end]
    along = end - start
    length = along.norm(dim=-1)
    normal = torch.stack([-along[:, 1], along[:, 0]], -1) / length.clamp_min(1e-6)[:, None]
    share = (torch.arange(PIECES, device=start.device, dtype=start.dtype) + 0.5) / PIECES
    edge = torch.arange(len(start), device=start.device).repeat_interleave(PIECES)
    share = share.repeat(len(start))
    spot = start[edge] + share[:, None] * along[edge]
    column, row = (spot + OUTSIDE_PX * normal[edge]).floor().long().unbind(-1)
    height, width = drawn.shape[1:]
    in_frame = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    person = contour.person[edge]
    pixel = person, row.clamp(0, height - 1), column.clamp(0, width - 1)
    kept = torch.nonzero(in_frame & ~drawn[pixel] & inside[pixel])[:, 0]
    edge = edge[kept]
    return Pieces(person[kept], edge, share[kept], spot[kept], normal[edge], length[edge] / PIECES)


def nearest_pieces(evidence: MaskEvidence, pieces: Pieces) -> tuple[Tensor, Tensor]:
    """For each place of the masks' borders the piece nearest to it (M,), and the way from piece to place (M, 2)."""
    chosen, ways = [], []
    for index, border in enumerate(evidence.border_px):
        own = torch.nonzero(pieces.person == index)[:, 0]
        border = border[torch.isfinite(border[:, 0])]
        if len(own) and len(border):
            nearest = own[torch.cdist(border, pieces.spot_px[own]).argmin(1)]
            chosen.append(nearest)
            ways.append(border - pieces.spot_px[nearest])
    if not chosen:
        return pieces.person[:0], pieces.spot_px[:0]
    return torch.cat(chosen), torch.cat(ways)


def _signed_distance(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    to_person = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The person may go on where nothing is known, so that is no background to measure to.
    to_background = cv2.distanceTransform(mask | (1 - known), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Distances are to the centres of pixels; the border lies half a pixel before them.
    return np.where(mask > 0, 0.5 - to_background, to_person - 0.5)


def _border(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(BORDER_POINTS, 2) places where a pixel of the person meets one of the background."""
    rows, columns = np.nonzero((mask[:, 1:] != mask[:, :-1]) & ((known[:, 1:] & known[:, :-1]) > 0))
    upright = np.stack([columns + 1.0, rows + 0.5], -1)
    rows, columns = np.nonzero((mask[1:] != mask[:-1]) & ((known[1:] & known[:-1]) > 0))
    level = np.stack([columns + 0.5, rows + 1.0], -1)
    places = np.concatenate([upright, level])
    if len(places) > BORDER_POINTS:
        places = places[np.linspace(0, len(places) - 1, BORDER_POINTS).round().astype(int)]
    return np.pad(places, [(0, BORDER_POINTS - len(places)), (0, 0)], constant_values=np.inf)
