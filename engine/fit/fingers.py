# SPDX-License-Identifier: GPL-3.0-or-later
"""Finger joints from the 21 points of each hand.

Every finger is a chain of three joints from its root to its tip, and does not know of the others: all fingers of all
hands are solved as one batch of small Gauss-Newton problems. Points are compared relative to the finger's own root, in
metres, in the wrist's frame; where the hand is, is the body's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.body_model import load_body
from ...models.rotations import cross_matrix, matrix_to_rotvec, rotation_between, rotvec_to_matrix
from .priors import rotvec_by_turn

FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # SMPL-X's order
_POINTS = {"thumb": (1, 2, 3, 4), "index": (5, 6, 7, 8), "middle": (9, 10, 11, 12)}
_POINTS |= {"ring": (13, 14, 15, 16), "pinky": (17, 18, 19, 20)}
PICTURE_SIGMA_M = 0.006
"""Standard deviation of a point across the picture, on a hand of normal size."""
DEPTH_SIGMA_M = 0.015
"""… and along the ray."""
ITERATIONS = 8

# Spread of each joint about the relaxed hand, radians, about x (twist), y (spread) and z (flexion) of the T-pose's
# hand, whose fingers lie along x with the palm down. The thumb flexes about y.
_FINGER_SPREAD = ((0.05, 0.20, 0.70), (0.03, 0.03, 0.80), (0.03, 0.03, 0.50))
_THUMB_SPREAD = ((0.40, 0.40, 0.40), (0.10, 0.50, 0.20), (0.10, 0.60, 0.20))


@dataclass(frozen=True)
class _Hand:
    """One side's fingers at rest, relative to the wrist; body frame, metres."""

    bones: np.ndarray
    """(5, 3, 3) from each joint to the next, the last to the tip."""
    mean: np.ndarray
    """(5, 3, 3) rotation vectors of a relaxed hand."""
    root_points: np.ndarray
    """(6, 3) wrist and finger roots, for the hand's size."""


def fit_fingers(
    hands: list[np.ndarray], sides: list[str], R_camera_wrist: np.ndarray, ray: np.ndarray, body_name: str
) -> np.ndarray:
    """(H, 15, 3) rotation vectors of the finger joints, SMPL-X order.

    hands: H arrays (21, 3) in pixels, the third towards the back; sides: left or right; R_camera_wrist (H, 3, 3) from
    the rest frame to the camera; ray (H, 3) from the camera to the wrist.
    """
    rest = [_hand(body_name, side) for side in sides]
    # MediaPipe sees a hand as if it lay on the optical axis, so its points are turned by the viewing ray.
    R_wrist_seen = R_camera_wrist.swapaxes(1, 2) @ rotation_between(np.array([0, 0, 1.0]), ray)
    targets, axes = [], []
    for found, hand, R in zip(hands, rest, R_wrist_seen, strict=True):
        roots = found[[0, 1, 5, 9, 13, 17]]
        metres = found * (_spread(hand.root_points) / max(_spread(roots), 1e-6))
        chains = np.array([metres[list(_POINTS[name])] for name in FINGERS])
        targets.append((chains[:, 1:] - chains[:, :1]) @ R.T)
        axes.append(np.tile(R, (5, 1, 1)))
    bones, mean = np.concatenate([h.bones for h in rest]), np.concatenate([h.mean for h in rest])
    rotvecs = _solve(np.concatenate(targets), np.concatenate(axes), bones, mean)
    return rotvecs.reshape(len(hands), 15, 3)


def _solve(targets: np.ndarray, R_wrist_seen: np.ndarray, bones: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Gauss-Newton over K fingers: (K, 3, 3) points, (K, 3, 3) axes of sight, bones, means -> (K, 3, 3) rotvecs."""
    count = len(targets)
    spread = np.tile(np.array([_FINGER_SPREAD] * 4 + [_THUMB_SPREAD]), (count // 5, 1, 1))
    precision = 1 / spread**2
    # Points err more along the ray than across the picture: whiten in the directions of sight.
    whiten = np.diag([1 / PICTURE_SIGMA_M, 1 / PICTURE_SIGMA_M, 1 / DEPTH_SIGMA_M]) @ R_wrist_seen.swapaxes(1, 2)
    rotations = rotvec_to_matrix(mean)
    for _ in range(ITERATIONS):
        turned = np.empty_like(rotations)
        turned[:, 0] = rotations[:, 0]
        turned[:, 1] = turned[:, 0] @ rotations[:, 1]
        turned[:, 2] = turned[:, 1] @ rotations[:, 2]
        points = np.cumsum((turned @ bones[..., None])[..., 0], 1)
        joints = np.concatenate([np.zeros((count, 1, 3)), points[:, :2]], 1)
        jacobian = np.zeros((count, 3, 3, 3, 3))  # finger, point, coordinate, joint, axis
        for joint in range(3):
            lever = points[:, joint:] - joints[:, joint : joint + 1]
            jacobian[:, joint:, :, joint] = -cross_matrix(lever) @ turned[:, joint][:, None]
        rows = (whiten[:, None] @ jacobian.reshape(count, 3, 3, 9)).reshape(count, 9, 9)
        residual = (whiten[:, None] @ (points - targets)[..., None]).reshape(count, 9)
        rotvecs = matrix_to_rotvec(rotations)
        by_turn = np.zeros((count, 9, 9))
        for joint in range(3):
            part = slice(3 * joint, 3 * joint + 3)
            by_turn[:, part, part] = rotvec_by_turn(rotvecs[:, joint])
        pull = precision.reshape(count, 9)
        transposed = rows.swapaxes(1, 2)
        prior = by_turn.swapaxes(1, 2) * pull[:, None]
        gradient = (transposed @ residual[..., None])[..., 0]
        gradient += (prior @ (rotvecs - mean).reshape(count, 9, 1))[..., 0]
        hessian = transposed @ rows + prior @ by_turn + 1e-3 * np.eye(9)
        step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
        step *= np.minimum(1, 0.6 / np.maximum(np.abs(step).max(1), 1e-9))[:, None]
        rotations = rotations @ rotvec_to_matrix(step.reshape(count, 3, 3))
    return matrix_to_rotvec(rotations)


@lru_cache(maxsize=8)
def _hand(body_name: str, side: str) -> _Hand:
    body = load_body(body_name)
    number = {name: i for i, name in enumerate(body.joint_names)}
    at = {name: body.joints_template[i].astype(np.float64) for name, i in number.items()}
    bones = []
    for finger in FINGERS:
        chain = [at[f"{side}_{finger}{k}"] for k in (1, 2, 3)]
        chain.append(body.v_template[body.landmark_vertices[f"{side}_{finger}_tip"]].astype(np.float64))
        bones.append(np.diff(np.array(chain), axis=0))
    mean = body.hands_mean_left if side == "left" else body.hands_mean_right
    roots = ("wrist", "thumb1", "index1", "middle1", "ring1", "pinky1")
    root_points = np.array([at[f"{side}_{name}"] for name in roots])
    return _Hand(np.array(bones), mean.reshape(5, 3, 3).astype(np.float64), root_points)


def _spread(points: np.ndarray) -> float:
    return float(np.sqrt(np.square(points - points.mean(0)).sum(1).mean()))
