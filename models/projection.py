# SPDX-License-Identifier: GPL-3.0-or-later
"""From points in space to points in the picture: three cameras, from the simplest to the true one.

    orthographic       depth is dropped; metres stay metres
    weak perspective   orthographic, then one scale and one shift for the whole body (HMR, HMR2.0, TokenHMR)
    perspective        every point is divided by its own depth (BLADE, and the cameras of this project)

Weak perspective is what perspective becomes when the camera is far away compared with the body's own depth.
Camera frame: x right, y down, z forward.
"""

from __future__ import annotations

import torch
from torch import Tensor

# HMR2.0 and TokenHMR imagine this lens, in pixels of their own 256 px crop. It is a convention of the training, not a
# guess about anybody's camera.
CROP_FOCAL_PX = 5000.0
CROP_SIDE_PX = 256


def orthographic(points: Tensor) -> Tensor:
    """(…, 3) metres -> (…, 2) metres."""
    return points[..., :2]


def weak_perspective(points: Tensor, crop_camera: Tensor) -> Tensor:
    """(B, N, 3) metres, (B, 3) scale, tx, ty -> (B, N, 2) in crop widths, -0.5 at the left and upper edges.

    The scale is in half crops per metre (Kanazawa et al., "HMR", CVPR 2018), the shift in metres.
    """
    scale, shift = crop_camera[:, None, :1], crop_camera[:, None, 1:]
    return 0.5 * scale * (orthographic(points) + shift)


def perspective(points_cam: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, N, 3) metres in the camera frame, (B, 3, 3) pixels -> (B, N, 2) pixels."""
    pixels = points_cam @ intrinsics.mT
    return pixels[..., :2] / pixels[..., 2:]


def crop_translation(crop_camera: Tensor) -> Tensor:
    """(B, 3) scale, tx, ty -> (B, 3) metres that bring SMPL's vertices before the crop's own, very long lens.

    That camera has `CROP_FOCAL_PX` and its principal point in the middle of the 256 px crop.
    """
    scale, tx, ty = crop_camera.unbind(-1)
    return torch.stack([tx, ty, 2 * CROP_FOCAL_PX / (CROP_SIDE_PX * scale + 1e-9)], dim=-1)


def project_to_crop(points: Tensor, translation: Tensor) -> Tensor:
    """(B, N, 3) metres, (B, 3) metres -> (B, N, 2) in crop widths, through the lens of `crop_translation`."""
    points_cam = points + translation[:, None]
    return points_cam[..., :2] / points_cam[..., 2:] * (CROP_FOCAL_PX / CROP_SIDE_PX)
