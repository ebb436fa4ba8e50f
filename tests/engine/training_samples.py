# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled pictures of the shipped body, painted in milliseconds, in the layout that training reads.

    python -m recover_body.tests.engine.training_samples FOLDER --count 32

The pictures are plain (a shaded body before blotches); what matters is that labels and pixels agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from recover_body.engine.raster import Look, shade
from recover_body.engine.training.bodies import keypoint_map
from recover_body.engine.training.data.layout import PeopleLabels
from recover_body.engine.training.data.shards import ShardWriter
from recover_body.models.body_model import load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import project

UPRIGHT = np.array([np.pi, 0, 0])
"""From the body's frame (y up) to the camera's (y down)."""


def sample(random: np.random.Generator, size_px: int) -> tuple[np.ndarray, PeopleLabels, np.ndarray]:
    """Picture (S, S, 3), labels of its one person, mask (S, S)."""
    body = load_body("neutral")
    pose = np.zeros((55, 3), np.float32)
    pose[1:22] = random.normal(0, 0.25, (21, 3))
    heading = rotvec_to_matrix(np.array([0, random.uniform(-1, 1), 0]))
    pose[0] = matrix_to_rotvec(rotvec_to_matrix(UPRIGHT) @ heading)
    betas = random.normal(0, 1, (1, 10)).clip(-2, 2).astype(np.float32)
    depth_m = random.uniform(1.5, 6.0)
    focal_px = size_px * depth_m / random.uniform(1.9, 2.3)
    intrinsics = np.array([[focal_px, 0, size_px / 2], [0, focal_px, size_px / 2], [0, 0, 1]])
    rest = body.rest_joints(betas)[0, 0]
    across = random.uniform(-0.2, 0.2, 2)
    translation = np.array([*across, depth_m]) - rest + (0, -0.1, 0)
    out = body.forward(pose[None], betas, translation=translation[None])
    vertices, joints = out.vertices[0], out.joints[0]

    colour = tuple(int(c) for c in random.integers(90, 230, 3))
    shaded = shade(vertices, body.faces, intrinsics, size_px, size_px, body.face_materials, Look(colours=(colour,)))
    blotches = random.integers(0, 200, (6, 6, 3), dtype=np.uint8)
    image = cv2.resize(blotches, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    mask = shaded[..., 3] > 0
    image[mask] = shaded[mask, :3]

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    keypoints = keypoint_map(body)(out.vertices, out.joints)[0]
    pixels = project(keypoints, intrinsics)
    inside = ((pixels >= 0) & (pixels < size_px)).all(1)
    ones = np.ones((1,), np.float32)
    labels = PeopleLabels(
        intrinsics=intrinsics,
        box_px=np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float32),
        keypoints_2d=np.concatenate([pixels, inside[:, None]], 1)[None].astype(np.float32),
        keypoints_3d=np.concatenate([keypoints, np.ones((44, 1))], 1)[None].astype(np.float32),
        pose=pose[None],
        betas=betas,
        translation=translation[None].astype(np.float32),
        pelvis_cam=joints[None, 0],
        body=np.array(["neutral"]),
        measured=ones,
        has_pose=ones,
        has_betas=ones,
    )
    return image, labels, mask.astype(np.uint8)


def write(folder: Path, count: int, size_px: int = 256, seed: int = 0) -> Path:
    """A shard with `count` pictures; returns the folder."""
    with ShardWriter(folder, "painted") as shards:
        for number in range(count):
            image, labels, mask = sample(np.random.default_rng((seed, number)), size_px)
            shards.add(f"{number:06}", image, labels, mask)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.folder, given.count, given.size, given.seed)
