# SPDX-License-Identifier: GPL-3.0-or-later
"""From a person's rotation vectors to what Blender's pose bones store. Pure numbers; no bpy.

A pose bone stores its rotation in its own rest axes. The body model turns joint j by R_j in the body's axes, Blender's
rest bone has the axes Rb (armature space), and B turns the body frame (y up) into Blender's (z up), so

    basis_j = Rb^T (B R_j B^T) Rb        for all joints but the pelvis
    basis_0 = Rb^T (C R_0 B^T) Rb        for the pelvis, C being the camera's rotation in the world

As quaternions the first line only turns the axis: (w, v) -> (w, Rb^T B v).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..wire.frames import B_BLENDER_BODY, transform
from ..wire.take import CameraTrack, PersonTrack


@dataclass(frozen=True)
class BonePose:
    """What is keyed, for the N frames in which the person was found."""

    quaternions: np.ndarray
    """(N, J, 4) w, x, y, z of each bone; neighbouring frames never differ in sign, so that curves do not jump."""
    pelvis_locations: np.ndarray
    """(N, 3) metres, the pelvis bone's location in its own rest axes."""
    root_location: np.ndarray
    """(3,) metres, the ground under the person's first frame; the same for all frames."""


def bone_pose(
    person: PersonTrack,
    camera: CameraTrack,
    rest_rotations: np.ndarray,
    rest_pelvis_body: np.ndarray,
    rest_pelvis_armature: np.ndarray,
) -> BonePose:
    """Pose of every bone in the frames where the person is present; None of the inputs are changed.

    rest_rotations (J, 3, 3): each bone's rest axes in armature space; rest_pelvis_body (3,): the rest pelvis in the
    body frame; rest_pelvis_armature (3,): the same point in the armature, which stands elsewhere.
    """
    frames = np.flatnonzero(person.present)
    T_world_camera = np.stack([camera.pose(i) for i in frames]).reshape(-1, 4, 4)
    quaternions = rotvec_to_quaternion(person.pose[frames].astype(np.float64))
    quaternions[..., 1:] = np.einsum("jkm,kl,njl->njm", rest_rotations, B_BLENDER_BODY, quaternions[..., 1:])

    # The pelvis is the same, times what turns the body frame into the world: Rb^T (C B^T) Rb.
    rest = rest_rotations[0]
    to_world = rest.T @ (T_world_camera[:, :3, :3] @ B_BLENDER_BODY.T) @ rest
    quaternions[:, 0] = multiply(matrix_to_quaternion(to_world), quaternions[:, 0])

    pelvis_cam = person.translation[frames] + rest_pelvis_body
    pelvis_world = np.array([transform(T, point) for T, point in zip(T_world_camera, pelvis_cam, strict=True)])
    root = pelvis_world[0] * [1, 1, 0] if len(frames) else np.zeros(3)
    locations = (pelvis_world.reshape(-1, 3) - root - rest_pelvis_armature) @ rest
    return BonePose(continuous(quaternions), locations, root)


def rotvec_to_quaternion(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vectors, radians -> (..., 4) unit quaternions w, x, y, z."""
    angle = np.linalg.norm(rotvecs, axis=-1, keepdims=True)
    # sinc has the limit at zero built in: sin(a / 2) / a = sinc(a / 2 pi) / 2.
    return np.concatenate([np.cos(angle / 2), rotvecs * np.sinc(angle / (2 * np.pi)) / 2], -1)


def quaternion_to_rotvec(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions w, x, y, z -> (..., 3) rotation vectors of at most pi radians."""
    signed = quaternions * np.where(quaternions[..., :1] < 0, -1.0, 1.0)
    sine = np.linalg.norm(signed[..., 1:], axis=-1, keepdims=True)
    half = np.arctan2(sine, signed[..., :1])
    return signed[..., 1:] * np.where(sine > 1e-12, 2 * half / np.maximum(sine, 1e-12), 2.0)


def euler_xz_to_quaternion(x_rad: float, z_rad: float) -> np.ndarray:
    """(4,) of a turn about x, then about z: how far a finger is closed, and then spread."""
    about_x = np.array([np.cos(x_rad / 2), np.sin(x_rad / 2), 0, 0])
    about_z = np.array([np.cos(z_rad / 2), 0, 0, np.sin(z_rad / 2)])
    return multiply(about_z, about_x)


def matrix_to_quaternion(matrices: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations -> (N, 4) unit quaternions: the eigenvector of Bar-Itzhack's symmetric matrix, which stays
    exact at every angle (and forgives a matrix that is not quite a rotation)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.moveaxis(matrices, 0, -1)
    symmetric = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, yx + xy, zx + xz],
            [xz - zx, yx + xy, yy - xx - zz, zy + yz],
            [yx - xy, zx + xz, zy + yz, zz - xx - yy],
        ]
    )
    return np.linalg.eigh(np.moveaxis(symmetric, -1, 0))[1][..., -1]


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(..., 4) x (..., 4) quaternions -> (..., 4): first `right`, then `left`."""
    w, v, u, x = left[..., :1], left[..., 1:], right[..., :1], right[..., 1:]
    return np.concatenate([w * u - (v * x).sum(-1, keepdims=True), w * x + u * v + np.cross(v, x)], -1)


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """(N, J, 4) -> the same rotations, each with the sign that is nearer to the frame before; the first has w >= 0."""
    if not len(quaternions):
        return quaternions
    first = np.where(quaternions[:1, :, 0] < 0, -1.0, 1.0)
    jumps = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0)
    return quaternions * np.cumprod(np.concatenate([first, jumps]), axis=0)[..., None]
