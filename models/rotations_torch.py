# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations for the networks, batched and differentiable. Matrices act on column vectors: v' = R v.

Six numbers for a rotation are not one convention. Here a 6-vector is two triples (a, b); `sixd_rows` means that they
become the first two ROWS of the matrix (TokenHMR and its tokenizer), `sixd_columns` the first two COLUMNS (HMR2.0).
The same six numbers read the other way give the transposed matrix.
Source: Zhou et al., "On the Continuity of Rotation Representations in Neural Networks" (CVPR 2019).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sixd_rows_to_matrix(sixd: Tensor) -> Tensor:
    """(..., 6) two triples -> (..., 3, 3) with the orthonormalised triples as rows 0 and 1."""
    return torch.stack(_orthonormal_frame(sixd), dim=-2)


def sixd_columns_to_matrix(sixd: Tensor) -> Tensor:
    """(..., 6) two triples -> (..., 3, 3) with the orthonormalised triples as columns 0 and 1."""
    return torch.stack(_orthonormal_frame(sixd), dim=-1)


def matrix_to_sixd_rows(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6): rows 0 and 1, one after the other."""
    return matrix[..., :2, :].flatten(-2)


def matrix_to_sixd_columns(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6): columns 0 and 1, one after the other."""
    return matrix[..., :, :2].transpose(-1, -2).flatten(-2)


def rotvec_to_matrix(rotvec_rad: Tensor) -> Tensor:
    """(..., 3) rotation vectors in radians -> (..., 3, 3).

    The angle is |v + 1e-8|, as in the programs that made the published annotations and losses: it keeps the direction
    finite for v = 0 and moves no rotation by more than the precision of float32.
    """
    angle = (rotvec_rad + 1e-8).norm(dim=-1, keepdim=True)
    quaternion = torch.cat([torch.cos(angle / 2), torch.sin(angle / 2) * rotvec_rad / angle], dim=-1)
    return quaternion_to_matrix(quaternion)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """(..., 4) as (w, x, y, z), any length -> (..., 3, 3)."""
    w, x, y, z = F.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4) as (w, x, y, z), w >= 0. Accurate at every angle, pi included."""
    m = matrix
    # 4 q qᵀ read off the matrix; the row with the largest diagonal entry divides by the largest number there is.
    trace_like = torch.stack(
        [
            1 + m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2],
            1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2],
        ],
        dim=-1,
    )
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    ww, xx, yy, zz = trace_like.unbind(-1)
    rows = [[ww, wx, wy, wz], [wx, xx, xy, xz], [wy, xy, yy, yz], [wz, xz, yz, zz]]
    candidates = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)  # (..., 4, 4)
    best = trace_like.argmax(dim=-1)[..., None, None].expand(*trace_like.shape[:-1], 1, 4)
    quaternion = F.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3) rotation vectors in radians, angle in [0, pi]."""
    quaternion = matrix_to_quaternion(matrix)
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    sine = xyz.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, w)
    # Near zero the angle over its half-angle sine tends to 2; the clamp keeps the gradient finite there.
    scale = torch.where(sine < 1e-7, torch.full_like(sine, 2.0), angle / sine.clamp_min(1e-7))
    return xyz * scale


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """(..., 3, 3) twice -> (...) the angle that turns one into the other, radians, with a gradient at every angle."""
    m = a.mT @ b
    twice_sine = torch.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1
    )
    # The root of a sum of squares has no derivative at zero, the arc cosine none at either end.
    sine = (twice_sine.square().sum(-1) + 1e-12).sqrt() / 2
    cosine = (m.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def _orthonormal_frame(sixd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first = F.normalize(sixd[..., :3], dim=-1)  # lengths are clamped at 1e-12, as when the weights were trained
    second = sixd[..., 3:] - (first * sixd[..., 3:]).sum(-1, keepdim=True) * first
    second = F.normalize(second, dim=-1)
    return first, second, torch.linalg.cross(first, second, dim=-1)
