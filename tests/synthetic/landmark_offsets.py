# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the detector's landmarks lie on true bodies: what the offsets in `engine/fit/points.py` should be.

A landmark at rest lies at a mix of joints and vertices plus an offset in its owner's rest frame. Seen through a known
camera on a known body, each landmark gives two linear equations for the offset; both sides share one, mirrored.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from recover_body.engine.fit.points import _NOSE_OFFSET_MM, _SIDED, LANDMARK_NAMES
from recover_body.models.body_model import load_body
from recover_body.models.rotations import rotvec_to_matrix

VISIBLE = 0.7
OUTLIER_M = 0.15
WIDTH_M = 0.04  # of the robust weight
MINIMUM_COUNT = 10


@dataclass(frozen=True)
class Offset:
    """One landmark's offset (left side: x outward, y up, z forward), millimetres."""

    name: str
    present_mm: np.ndarray
    """(3,) in the engine's table."""
    measured_mm: np.ndarray
    """(3,)."""
    error_mm: np.ndarray
    """(3,) standard error."""
    scatter_mm: float
    """Robust spread of one observation in the picture plane after correction."""
    count: int


class OffsetMeter:
    """Collects observations, then solves."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)

    def add(self, keypoints_px: np.ndarray, truth: dict[str, np.ndarray], person: int) -> None:
        """Observed (33, 3) x, y, visibility of a person of `truth`."""
        model, intrinsics = load_body("neutral"), truth["intrinsics"]
        names = {name: number for number, name in enumerate(model.joint_names)}
        joints, rest_joints = truth["joints_cam"][person], truth["rest_joints"][person]
        rest_vertices = truth["rest_vertices"][person]
        rotations = _global_rotations(truth["pose"][person], model.parents)

        def rest_point(mix: dict[str, float], prefix: str) -> np.ndarray:
            places = {"j": (rest_joints, names), "v": (rest_vertices, model.landmark_vertices)}
            terms = [(places[point[0]], point[2:], weight) for point, weight in mix.items()]
            return sum(weight * points[numbers[prefix + name]] for (points, numbers), name, weight in terms)

        wanted = [("nose", "", 1, "head", {"v:nose": 1.0})]
        wanted += [
            (name, prefix, outward, owner, mix)
            for name, (owner, mix, _) in _SIDED.items()
            for prefix, outward in (("left_", 1), ("right_", -1))
        ]
        for name, prefix, outward, owner, mix in wanted:
            x, y, visibility = keypoints_px[LANDMARK_NAMES.index(prefix + name)]
            if visibility < VISIBLE:
                continue
            j = names.get(prefix + owner, names.get(owner))
            point = rotations[j] @ (rest_point(mix, prefix) - rest_joints[j]) + joints[j]
            if point[2] < 0.1:
                continue
            slope = point[:2] / point[2]
            seen = (np.array([x, y]) - intrinsics[:2, 2]) / intrinsics[0, 0]
            residual = (seen - slope) * point[2]  # metres in the plane of the landmark
            derivative = np.c_[np.eye(2), -slope] @ rotations[j] @ np.diag([outward, 1, 1])
            if np.linalg.norm(residual) < OUTLIER_M:
                self._rows[name].append((derivative, residual))

    def solve(self) -> list[Offset]:
        """Robust least squares for each landmark with enough observations."""
        offsets = []
        for name, rows in self._rows.items():
            if len(rows) < MINIMUM_COUNT:
                continue
            derivatives, residuals = (np.array(part) for part in zip(*rows, strict=True))
            offset, weight = np.zeros(3), np.ones(len(rows))
            for _ in range(20):
                weighted = derivatives * weight[:, None, None]
                hessian = np.einsum("nki,nkj->ij", weighted, derivatives)
                offset = np.linalg.solve(hessian, np.einsum("nki,nk->i", weighted, residuals))
                left = np.linalg.norm(residuals - derivatives @ offset, axis=1)
                weight = (WIDTH_M**2 / (WIDTH_M**2 + left**2)) ** 2
            scatter = float(np.median(left) / 1.1774)  # of a 2-D normal distribution
            error = scatter * np.sqrt(np.diag(np.linalg.inv(np.einsum("nki,nkj->ij", derivatives, derivatives))))
            present = _NOSE_OFFSET_MM if name == "nose" else _SIDED[name][2]
            offsets.append(Offset(name, np.array(present), 1000 * offset, 1000 * error, 1000 * scatter, len(rows)))
        return offsets


def _global_rotations(pose: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """(55, 3) -> (55, 3, 3) from the rest frame to the camera frame."""
    rotations = rotvec_to_matrix(pose.astype(np.float64))
    for joint, parent in enumerate(parents):
        if parent >= 0:
            rotations[joint] = rotations[parent] @ rotations[joint]
    return rotations
