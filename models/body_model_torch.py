# SPDX-License-Identifier: GPL-3.0-or-later
"""The differentiable twin of `body_model`: the same formulas, frames and units, as a torch module.

    body = TorchBodyModel(load_body("neutral")).to(device)
    out = body(pose, betas, translation=translation)

Everything is differentiable in pose, betas, expression and translation; float32 by default, float64 for gradient
checks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .body_model import BodyModel


class TorchBodyOutput(NamedTuple):
    vertices: Tensor
    """(B, V, 3) metres."""
    joints: Tensor
    """(B, J, 3) metres."""
    rotations: Tensor
    """(B, J, 3, 3) each joint's rotation from the rest frame to the model frame."""


class TorchBodyModel(nn.Module):
    def __init__(
        self, body: BodyModel, dtype: torch.dtype = torch.float32, vertex_ids: np.ndarray | None = None
    ) -> None:
        """With `vertex_ids` (N,) only those vertices are computed, in that order."""
        super().__init__()
        ids = slice(None) if vertex_ids is None else vertex_ids
        self.parents = tuple(body.parents.tolist())
        self.beta_count, self.expression_count = body.beta_count, body.expression_count
        self.corrective_joints = [corrective.joint for corrective in body.correctives]

        def keep(name: str, array) -> None:
            # Not part of a state dict: a checkpoint of a network must not carry a (perhaps licensed) body along.
            self.register_buffer(name, torch.as_tensor(np.asarray(array)).to(dtype).contiguous(), persistent=False)

        keep("v_template", body.v_template[ids])
        keep("blend_offsets", body.blend_offsets[:, ids])  # (S + E, V, 3)
        keep("joints_template", body.joints_template)
        keep("joint_blend_offsets", body.joint_shapedirs.transpose(2, 0, 1))  # (S + E, J, 3)
        keep("weights", body.weights[ids])
        if body.posedirs is not None:
            keep("posedirs", body.posedirs[ids].transpose(2, 0, 1))  # (9 (J - 1), V, 3)
        else:
            self.posedirs = None
        if body.correctives:
            keep("corrective_offsets", [corrective.offsets[ids] for corrective in body.correctives])  # (K, V, 3)
            keep("corrective_axes", [corrective.axis for corrective in body.correctives])  # (K, 3)
            keep("corrective_angles_rad", [corrective.full_angle_rad for corrective in body.correctives])  # (K,)

    def forward(
        self,
        pose: Tensor,
        betas: Tensor,
        expression: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> TorchBodyOutput:
        """pose (B, J, 3) rotation vectors in radians, or (B, J, 3, 3) matrices, relative to the parents;
        betas and expression (B or 1, n), missing trailing components are zero; translation (B, 3) metres."""
        local = pose if pose.ndim == 4 else _rodrigues(pose)
        blend = self._blend(betas, expression)
        rest_joints = self.joints_template + torch.tensordot(blend, self.joint_blend_offsets, 1)
        rest = self.v_template + torch.tensordot(blend, self.blend_offsets, 1)
        if self.posedirs is not None:
            features = (local[:, 1:] - torch.eye(3, dtype=local.dtype, device=local.device)).flatten(1)
            rest = rest + torch.tensordot(features, self.posedirs, 1)
        if self.corrective_joints:
            rest = rest + torch.tensordot(self.corrective_weights(local), self.corrective_offsets, 1)

        joints, rotations = self._chain(local, rest_joints)
        # A vertex follows joint j as x -> R_j x + (joint_j - R_j rest_joint_j).
        shifts = joints - (rotations @ rest_joints[..., None])[..., 0]
        motions = torch.cat([rotations, shifts[..., None]], -1).flatten(2)  # (B, J, 12)
        blended = (self.weights @ motions).unflatten(-1, (3, 4))  # (B, V, 3, 4)
        vertices = (blended[..., :3] * rest[..., None, :]).sum(-1) + blended[..., 3]
        if translation is not None:
            vertices, joints = vertices + translation[:, None], joints + translation[:, None]
        return TorchBodyOutput(vertices, joints, rotations)

    def corrective_weights(self, local: Tensor) -> Tensor:
        """(B, J, 3, 3) rotations relative to the parents -> (B, K), each 0 to 1; see `twist_angle_rad` in rotations."""
        m = local[:, self.corrective_joints]
        sine = torch.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
        trace = m.diagonal(dim1=-2, dim2=-1).sum(-1)
        angle = 2 * torch.atan2((sine * self.corrective_axes).sum(-1), 1 + trace)
        return (angle / self.corrective_angles_rad).clamp(0, 1)

    def _blend(self, betas: Tensor, expression: Tensor | None) -> Tensor:
        """(B or 1, S + E) coefficients, padded with zeros."""
        if expression is None:
            expression = betas.new_zeros(1, 0)
        count = max(len(betas), len(expression))
        betas = nn.functional.pad(betas, (0, self.beta_count - betas.shape[1])).expand(count, -1)
        expression = nn.functional.pad(expression, (0, self.expression_count - expression.shape[1])).expand(count, -1)
        return torch.cat([betas, expression], 1)

    def _chain(self, local: Tensor, rest_joints: Tensor) -> tuple[Tensor, Tensor]:
        """Walk the tree: local rotations (B, J, 3, 3), rest joints (B or 1, J, 3) -> posed joints, their rotations."""
        rest_joints = rest_joints.expand(len(local), -1, -1)
        rotations, joints = [local[:, 0]], [rest_joints[:, 0]]
        for j, p in enumerate(self.parents[1:], start=1):
            bone = rest_joints[:, j] - rest_joints[:, p]
            rotations.append(rotations[p] @ local[:, j])
            joints.append(joints[p] + (rotations[p] @ bone[..., None])[..., 0])
        return torch.stack(joints, 1), torch.stack(rotations, 1)


def _rodrigues(rotvecs: Tensor) -> Tensor:
    """(..., 3) rotation vectors in radians -> (..., 3, 3) matrices, with exact values and derivatives at zero too.

    (`rotations_torch.rotvec_to_matrix` repeats the published networks' rounding instead.)
    """
    squared = (rotvecs * rotvecs).sum(-1, keepdim=True)[..., None]
    small = squared < 1e-8
    # The square root's derivative at zero is infinite, and `where` would still pass it on as NaN: clamp before.
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    sine_term = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    # 2 sin^2(t / 2) rather than 1 - cos t, which cancels for small angles.
    cosine_term = torch.where(small, 0.5 - squared / 24, 2 * ((angle / 2).sin() / angle) ** 2)
    x, y, z = rotvecs.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=rotvecs.dtype, device=rotvecs.device)
    return identity + sine_term * cross + cosine_term * (cross @ cross)
