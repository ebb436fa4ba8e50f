# SPDX-License-Identifier: GPL-3.0-or-later
"""A first camera from points alone, in closed form.

With P = (X, Y, Z) a joint and (u, v) its keypoint from the principal point, a pinhole says u (Z + Tz) = f X + f Tx, and
likewise for v. That is linear in (f, f Tx, f Ty, Tz), in fewer unknowns when f or Tz is known; what remains is one
small least-squares problem per person. Dividing each equation by its depth makes the errors those in the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 3
NEAREST_M = 0.2
"""People are not nearer than this; noise can make the equations say so."""
OUTLIER = 3.0
"""Keypoints count less from this many times the typical miss on."""


def closed_form_camera(
    joints: Tensor,
    keypoints_px: Tensor,
    weights: Tensor,
    depth_m: Tensor | None = None,
    focal_px: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Focal lengths (B,) in pixels and translations (B, 3) in metres.

    `joints` (B, K, 3) metres, turned as in the camera's frame; `keypoints_px` (B, K, 2) from the principal point;
    `weights` (B, K). What is known of depth (B,) and focal length (B,) is kept.
    """
    x, y, z = joints.double().unbind(-1)
    u, v = keypoints_px.double().unbind(-1)
    weights = weights.double()
    depth = torch.full_like(u[:, :1], 3.0) if depth_m is None else depth_m.double()[:, None]
    one, none = torch.ones_like(u), torch.zeros_like(u)
    robust = one
    for _ in range(ROUNDS):
        # Columns f, f Tx, f Ty, Tz; what is known moves to the other side.
        rows = torch.stack([torch.stack([x, one, none, -u], -1), torch.stack([y, none, one, -v], -1)], 1)
        rest = torch.stack([u * z, v * z], 1)
        known = torch.zeros_like(rows[:, 0, 0])
        if focal_px is not None:
            known[:, 0] = focal_px
        if depth_m is not None:
            known[:, 3] = depth_m
        free = [column for column, value in enumerate((focal_px, None, None, depth_m)) if value is None]
        rest = rest - (rows * known[:, None, None]).sum(-1)
        scale = (weights * robust).sqrt()[:, None] / (z + depth).clamp_min(NEAREST_M)[:, None]
        matrix = (rows[..., free] * scale[..., None]).flatten(1, 2)  # (B, 2 K, 2 to 4)
        normal = matrix.mT @ matrix
        normal = normal + 1e-9 * torch.diag_embed(normal.diagonal(dim1=-2, dim2=-1) + 1e-12)
        solution = known.clone()
        solution[:, free] = torch.linalg.solve(normal, (matrix.mT @ (rest * scale).flatten(1)[..., None]))[..., 0]
        focal = solution[:, 0].abs().clamp_min(1.0)
        depth = solution[:, 3:].clamp_min(NEAREST_M)
        lateral = solution[:, 1:3] / focal[:, None]
        ahead = (z + depth).clamp_min(NEAREST_M)
        miss_x = focal[:, None] * (x + lateral[:, :1]) / ahead - u
        miss_y = focal[:, None] * (y + lateral[:, 1:]) / ahead - v
        miss = torch.hypot(miss_x, miss_y)
        typical = (miss * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp_min(1e-9)
        robust = 1 / (1 + (miss / (OUTLIER * typical).clamp_min(1e-9)) ** 2)
    translation = torch.cat([lateral, depth], dim=-1)
    return focal.to(joints.dtype), translation.to(joints.dtype)
