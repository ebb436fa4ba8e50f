# SPDX-License-Identifier: GPL-3.0-or-later
"""Principal components of many T-posed bodies, and the joint regressor that holds over all of them."""

import numpy as np
from scipy.optimize import nnls

from .skeleton import JOINT_MIRROR, JOINTS, PARENTS


def principal_components(
    vertices: np.ndarray, faces: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, V, 3) bodies -> mean (V, 3), offsets (V, 3, count) per standard deviation, explained variance (count,).

    The sign is such that every coefficient above zero adds volume.
    """
    samples = len(vertices)
    mean = vertices.mean(0, dtype=np.float64)
    centred = (vertices - mean.astype(np.float32)).reshape(samples, -1)
    # Fewer bodies than coordinates: the small Gram matrix has the same leading eigenvalues as the covariance.
    variance, combinations = np.linalg.eigh((centred @ centred.T).astype(np.float64) / samples)
    variance, combinations = variance[::-1], combinations[:, ::-1]
    offsets = (centred.T @ (combinations[:, :count] / np.sqrt(samples))).astype(np.float64).reshape(-1, 3, count)
    a, b, c = mean[faces].transpose(1, 0, 2)
    outward = np.cross(b - a, c - a)  # of twice each triangle's area
    growth = np.einsum("fjck,fc->k", offsets[faces], outward)
    return mean, offsets * np.where(growth < 0, -1, 1), variance[:count] / variance.sum()


def fit_joint_regressor(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bodies (N, V, 3) and their joints (N, 55, 3) -> regressor (55, V), mean error (55,) in metres.

    Each row is a convex combination of vertices around the joint (non-negative, sums to one), so that a joint stays
    inside the limb for shapes never seen. The right side mirrors the left.
    """
    regressor = np.zeros((len(JOINTS), vertices.shape[1]))
    mean_vertices, mean_joints = vertices.mean(0), joints.mean(0)
    for joint, twin in enumerate(JOINT_MIRROR):
        if twin < joint:
            regressor[joint] = regressor[twin][mirror]
            continue
        candidates = _around(joint, mean_joints, mean_vertices, weights)
        row = np.zeros(vertices.shape[1])
        row[candidates] = _convex_fit(vertices[:, candidates], joints[:, joint])
        regressor[joint] = (row + row[mirror]) / 2 if twin == joint else row
    error = [
        np.linalg.norm(np.einsum("v,nvc->nc", r, vertices) - joints[:, j], axis=1) for j, r in enumerate(regressor)
    ]
    return regressor, np.mean(error, 1)


def _around(joint: int, joints: np.ndarray, vertices: np.ndarray, weights: np.ndarray, count: int = 240) -> np.ndarray:
    """Vertices of the joint's own limb, spread evenly over the surface near it."""
    parent = PARENTS[joint]
    limb = weights[:, joint] + (weights[:, parent] if parent >= 0 else 0) > 0.05
    distance = np.where(limb, 0, 1e3) + np.linalg.norm(vertices - joints[joint], axis=1)
    near = np.argsort(distance, kind="stable")[: int(np.clip(limb.sum(), 60, 900))]
    # Farthest-point sampling: each next vertex is the one farthest from all chosen ones.
    chosen, gap = [near[0]], np.full(len(near), np.inf)
    for _ in range(min(count, len(near)) - 1):
        gap = np.minimum(gap, np.linalg.norm(vertices[near] - vertices[chosen[-1]], axis=1))
        chosen.append(near[gap.argmax()])
    return np.unique(chosen)


def _convex_fit(vertices: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """(N, C, 3) candidates, (N, 3) joint -> (C,) non-negative weights that sum to one."""
    system = vertices.transpose(0, 2, 1).reshape(-1, vertices.shape[1]).astype(np.float64)
    sums_to_one = 1e3 * np.ones((1, system.shape[1]))
    small = 5e-4 * np.sqrt(len(system)) * np.eye(system.shape[1])  # prefers many small weights to a few large ones
    target = np.concatenate([joint.reshape(-1), [1e3], np.zeros(system.shape[1])])
    row, _ = nnls(np.concatenate([system, sums_to_one, small]), target, maxiter=10_000)
    row[row < 1e-4] = 0
    return row / row.sum()
