# SPDX-License-Identifier: GPL-3.0-or-later
"""People without pictures: landmarks as they would lie, with a detector's mistakes. What the lifter learns poses from.

    python -m recover_body.tests.synthetic.lifter_simulated out/lifter/simulated.npz --poses 40000

Drawing a person and asking MediaPipe (`lifter_samples`) takes a second and tells how MediaPipe errs; this takes a tenth
of a millisecond and shows the poses and perspectives that there are. Poses, lenses and framings are distributed alike.
Needs ../shared/data/mocap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from recover_body.engine.fit.kinematics import BODY_JOINTS, State, load_skeleton
from recover_body.engine.fit.points import LANDMARK_NAMES, landmark_points
from recover_body.models.body_model import SHIPPED_BODIES, load_body
from recover_body.models.rotations import rotation_between, rotvec_to_matrix
from recover_body.wire.frames import FULL_FRAME_MM

from . import lifter_samples, poses
from .pictures import MOTIONS

VIEWS = 6
"""Cameras, bodies and mistakes for each pose."""
_LEAST_INSIDE = 0.45
_LIMBS = ((13, 15, 17, 19, 21), (14, 16, 18, 20, 22), (25, 27, 29, 31), (26, 28, 30, 32))
_LIMB_OF = np.array([next((n + 1 for n, limb in enumerate(_LIMBS) if mark in limb), 0) for mark in range(33)])
_HIDDEN = np.array([0, 0.18, 0.18, 0.15, 0.15])
"""How often trunk and head, arms and legs are hidden."""
# Landmarks that the fit leaves out, by their points in MediaPipe's face mesh.
_ON_FACE = {1: 362, 3: 263, 4: 133, 6: 33, 9: 291, 10: 61}


def simulated(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """About VIEWS rows for each of `count` poses, as `lifter_samples` has them, without outlines."""
    body, clips = load_body("neutral"), poses.load_clips(MOTIONS)
    pose, towards = np.empty((count, BODY_JOINTS, 3)), np.empty((count, 2))
    for row in range(count):
        azimuth_rad, elevation_rad = towards[row] = lifter_samples.direction(rng)
        pose[row] = lifter_samples.random_pose(rng, body, clips, lifter_samples.unit(azimuth_rad, elevation_rad))[:22]
    parts = []
    for view in range(VIEWS):
        whose = rng.integers(len(SHIPPED_BODIES), size=count)
        if view >= VIEWS // 2:  # limbs that were stretched to the camera are seen from elsewhere, too
            towards = np.stack(
                [towards[:, 0] + rng.normal(0, 0.6, count), rng.normal(0.07, 0.3, count).clip(-0.6, 1.1)], 1
            )
        for number, name in enumerate(SHIPPED_BODIES):
            parts.append(_seen(rng, name, pose[whose == number], towards[whose == number]))
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float32) for name in parts[0]}


def _seen(rng: np.random.Generator, name: str, pose: np.ndarray, towards: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of N people of one sex whose camera lies in the directions (N, 2)."""
    count = len(pose)
    joints, marks = _posed(name, pose, rng.normal(0, 1, (count, 10)).clip(-2.2, 2.2))
    everything = np.concatenate([joints, marks], 1)
    middle = 0.5 * (everything.min(1) + everything.max(1))
    radius_m = 1.05 * np.linalg.norm(everything - middle[:, None], axis=2).max(1)
    lens_mm = np.exp(rng.uniform(*np.log(lifter_samples.LENSES_MM), count))
    extent = rng.uniform(*lifter_samples.EXTENTS, count)
    distance_m = 2 * radius_m * lens_mm / FULL_FRAME_MM / extent
    target = middle + rng.normal(0, 0.12, (count, 3)) * np.minimum(distance_m, 1.5)[:, None]
    head = 0.4 * middle + 0.6 * joints[:, 15] + rng.normal(0, 0.15, (count, 3))
    target = np.where(extent[:, None] > 1, head, target)
    eye = middle + lifter_samples.unit(*towards.T).T * distance_m[:, None]
    R_camera_body = _look_at(eye, target, np.radians(rng.normal(0, 5, count)))
    see = lambda points: np.einsum("bij,bnj->bni", R_camera_body, points - eye[:, None])  # noqa: E731
    joints_cam, marks_cam = see(joints), see(marks)
    aspect = rng.choice(lifter_samples.ASPECTS, count)
    size = lifter_samples.LONGER_PX * np.stack([np.minimum(aspect, 1), 1 / np.maximum(aspect, 1)], 1)
    focal_px = lens_mm / FULL_FRAME_MM * size.max(1)
    true_px = focal_px[:, None, None] * marks_cam[..., :2] / marks_cam[..., 2:].clip(0.05) + size[:, None] / 2
    inside = ((true_px >= 0) & (true_px <= size[:, None])).all(2)
    nearest, farthest = lifter_samples.DISTANCES_M
    good = (distance_m > nearest) & (distance_m < farthest) & (marks_cam[..., 2].min(1) > 0.15)
    good &= inside.mean(1) > _LEAST_INSIDE
    box_px = _boxes(rng, true_px.clip(0, size[:, None]), size)
    points_px, visibility, hidden = _mistaken(
        rng, true_px, inside, np.linalg.norm(box_px[:, 2:] - box_px[:, :2], axis=1)
    )
    metric = _metric(rng, marks_cam, points_px, focal_px, hidden)
    rows = dict(joints_cam=joints_cam, focal_px=focal_px, picture_size=size, points_px=points_px)
    # Nobody has looked at a region: it may be turned as MediaPipe's are, or not at all.
    up_px = points_px[:, 11:13].mean(1) - points_px[:, 23:25].mean(1)
    angle_rad = np.arctan2(up_px[:, 0], -up_px[:, 1]) + rng.normal(0, 0.2, count)
    rows |= dict(angle_rad=np.where(rng.random(count) < 0.5, 0, angle_rad))
    rows |= dict(visibility=visibility, metric_points=metric, box_px=box_px)
    return {name: value[good] for name, value in rows.items()}


def _posed(name: str, pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 22, 3) and landmarks (N, 33, 3) from the pelvis, body frame."""
    body, points = load_body(name), landmark_points(name)
    owners = np.full(len(LANDMARK_NAMES), body.joint_names.index("head"))
    rest, dirs = np.zeros((len(owners), 3)), np.zeros((len(owners), 3, 10))
    owners[points.indices], rest[points.indices], dirs[points.indices] = (
        points.owners,
        points.rest,
        points.rest_shapedirs,
    )
    corners, bary = body.face_embedding()
    for mark, on_face in _ON_FACE.items():
        rest[mark] = bary[on_face] @ body.v_template[corners[on_face]]
        dirs[mark] = np.einsum("c,cik->ik", bary[on_face], body.shapedirs[corners[on_face]][..., :10])
    at_origin = State(rotvec_to_matrix(pose), np.zeros((len(pose), 3)), betas, np.zeros(len(pose)))
    posed = load_skeleton(name).pose(at_origin)
    joints = posed.joints - posed.joints[:, :1]
    offsets = rest + np.einsum("nik,bk->bni", dirs, betas) - posed.rest_joints[:, owners]
    return joints, joints[:, owners] + np.einsum("bnij,bnj->bni", posed.rotations[:, owners], offsets)


def _look_at(eye: np.ndarray, target: np.ndarray, roll_rad: np.ndarray) -> np.ndarray:
    """(N, 3, 3) R_camera_body (camera x right, y down, z forward; body y up)."""
    forward = (target - eye) / np.linalg.norm(target - eye, axis=1, keepdims=True)
    right = np.cross(forward, (0, 1.0, 0))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll_rad)[:, None], np.sin(roll_rad)[:, None]
    return np.stack([cos * right + sin * down, cos * down - sin * right, forward], 1)


def _boxes(rng: np.random.Generator, seen_px: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(N, 4) with the flesh around the landmarks."""
    low, high = seen_px.min(1), seen_px.max(1)
    around = 0.06 * (high - low).max(1, keepdims=True)
    low = (low - around * rng.uniform(0.3, 1.2, low.shape)).clip(0)
    return np.concatenate([low, np.minimum(high + around * rng.uniform(0.3, 1.2, low.shape), size)], 1)


def _mistaken(
    rng: np.random.Generator, true_px: np.ndarray, inside: np.ndarray, size_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (N, 33, 2) with mistakes, limb by limb and each its own; visibility (N, 33) and what was hidden."""
    count = len(true_px)
    hidden = (rng.random((count, 5)) < _HIDDEN)[:, _LIMB_OF]
    share = np.where(_LIMB_OF > 0, 0.011, 0.008) * rng.gamma(3, 1 / 3, (count, 1)) * np.where(hidden, 3.5, 1)
    share = share * np.where(inside, 1, 3)
    off = rng.normal(0, 1, true_px.shape) + 0.7 * rng.normal(0, 1, (count, 5, 2))[:, _LIMB_OF]
    visibility = np.where(hidden, rng.uniform(0.05, 0.8, hidden.shape), rng.uniform(0.8, 1, hidden.shape)) * inside
    return true_px + off * share[..., None] * size_px[:, None, None], visibility, hidden


def _metric(
    rng: np.random.Generator, marks_cam: np.ndarray, points_px: np.ndarray, focal_px: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """(N, 33, 3) metric landmarks as MediaPipe gives them: sideways partly as in the picture, flattened in depth."""
    count = len(marks_cam)
    hips = marks_cam[:, 23:25].mean(1)
    turned = rotation_between(np.array([0, 0, 1.0]), hips / np.linalg.norm(hips, axis=1, keepdims=True))
    metric = (marks_cam - hips[:, None]) @ turned
    in_picture = (points_px - points_px[:, 23:25].mean(1, keepdims=True)) * (hips[:, 2] / focal_px)[:, None, None]
    share = rng.uniform(0.2, 1, (count, 1, 1))
    metric[..., :2] = (1 - share) * metric[..., :2] + share * in_picture
    flattened = rng.uniform(0.55, 1.05, (count, 5))[:, _LIMB_OF]
    off_m = 0.06 * rng.normal(0, 1, (count, 5))[:, _LIMB_OF] * np.where(hidden, 2, 1)
    metric[..., 2] = metric[..., 2] * flattened + off_m + rng.normal(0, 0.04, hidden.shape)
    metric = metric * np.exp(rng.normal(0, 0.07, (count, 1, 1))) + rng.normal(0, 0.02, metric.shape)
    return metric - metric[:, 23:25].mean(1, keepdims=True)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="NPZ")
    parser.add_argument("--poses", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = simulated(np.random.default_rng(options.seed), options.poses)
    np.savez(options.out, **rows)
    print(f"{len(rows['focal_px'])} rows")


if __name__ == "__main__":
    main()
