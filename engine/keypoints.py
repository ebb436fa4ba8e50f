# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the body has the points that a backend observed, whatever was done to its pose since."""

from __future__ import annotations

import numpy as np

from ..models.body_model import load_body
from ..wire.frames import project
from ..wire.take import CameraTrack
from .backends.base import BodyTrack
from .cameras import Pinhole
from .fit.points import LANDMARK_NAMES, landmark_points


def reprojected(track: BodyTrack, camera: Pinhole | CameraTrack, body: str) -> np.ndarray:
    """(F, K, 2) pixels of the track's keypoints on its body; NaN for those that the body does not have."""
    frames = np.flatnonzero(track.present)
    owners, offsets = _riding(track.keypoint_names, track.betas, body)
    found_px = np.full((len(track.present), len(owners), 2), np.nan)
    posed = load_body(body).forward(
        track.pose[frames], track.betas[None], None, track.translation[frames], vertex_ids=np.zeros(0, int)
    )
    points_cam = posed.joints[:, owners] + (posed.rotations[:, owners] @ offsets[..., None])[..., 0]
    intrinsics = np.stack([camera.intrinsics(int(frame)) for frame in frames])[:, None] if len(frames) else np.eye(3)
    found_px[frames] = project(points_cam, intrinsics)
    return found_px


def _riding(names: tuple[str, ...], betas: np.ndarray, body_name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each keypoint (K,) the joint it rides on, and (K, 3) where it lies from that joint in the rest pose, or NaN.

    Keypoints are MediaPipe's landmarks, or named as the body's joints are.
    """
    body, points = load_body(body_name), landmark_points(body_name)
    rest_joints = body.rest_joints(betas[None])[0]
    rest = points.rest + points.rest_shapedirs @ betas[: points.rest_shapedirs.shape[-1]]
    landmarks = {LANDMARK_NAMES[i]: row for row, i in enumerate(points.indices)} if names == LANDMARK_NAMES else {}
    owners, offsets = np.zeros(len(names), int), np.full((len(names), 3), np.nan)
    for number, name in enumerate(names):
        if name in landmarks:
            owners[number] = points.owners[landmarks[name]]
            offsets[number] = rest[landmarks[name]] - rest_joints[owners[number]]
        elif not landmarks and name in body.joint_names:
            owners[number], offsets[number] = body.joint_names.index(name), 0
    return owners, offsets
