# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a fit begins: the limbs as the metric landmarks have them, so that few steps are left."""

from __future__ import annotations

import numpy as np

from ...models.rotations import rotation_between, rotvec_to_matrix
from .kinematics import Skeleton

# Upper and lower joint (SMPL-X's numbers), MediaPipe's landmarks of both and of the limb's end, and the hinge's axis at
# rest, about which the lower bone bends.
_LIMBS = (
    (1, 4, (23, 25, 27), (1.0, 0, 0)),
    (2, 5, (24, 26, 28), (1.0, 0, 0)),
    (16, 18, (11, 13, 15), (0, -1.0, 0)),
    (17, 19, (12, 14, 16), (0, 1.0, 0)),
)
CLEARLY_BENT = 0.35
"""Sine of the bend from which on the hinge's direction can be read off the limb."""
KEPT_MARGIN = 0.2
"""Least cosine between that direction and where the hinge would be by itself: else the depths were mistaken."""


def with_limbs(skeleton: Skeleton, rotations: np.ndarray, metric: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """(B, 22, 3, 3) local rotations with arms and legs along the metric landmarks (B, N, 3); indices (N,) of the 33."""
    rotations = rotations.copy()
    place = {int(landmark): row for row, landmark in enumerate(indices)}
    for upper, lower, landmarks, axis in _LIMBS:
        hinge = np.array(axis)
        start, middle, tip = (metric[:, place[landmark]] for landmark in landmarks)
        towards, further = _unit(middle - start), _unit(tip - middle)
        parent = _global(skeleton, rotations, skeleton.parents[upper])
        bone = _unit(skeleton.rest[lower] - skeleton.rest[upper])
        usual = parent @ rotations[:, upper]
        # The smallest turn from how the bone would hang brings it into line, and leaves its twist alone.
        swung = rotation_between(usual @ bone, towards) @ usual
        normal = np.cross(towards, further)
        sine = np.linalg.norm(normal, axis=-1)
        normal = normal / np.maximum(sine, 1e-6)[:, None]
        clear = (sine > CLEARLY_BENT) & (np.einsum("bi,bi->b", normal, swung @ hinge) > KEPT_MARGIN)
        twisted = _frame(towards, normal) @ _frame(bone[None], hinge[None]).swapaxes(1, 2)
        turned = np.where(clear[:, None, None], twisted, swung)
        rotations[:, upper] = parent.swapaxes(1, 2) @ turned
        bend = np.where(clear, np.arctan2(sine, np.einsum("bi,bi->b", towards, further)), 0.1)
        rotations[:, lower] = rotvec_to_matrix(bend[:, None] * hinge)
    return rotations


def _global(skeleton: Skeleton, rotations: np.ndarray, joint: int) -> np.ndarray:
    """(B, 3, 3) rotation of a joint from the rest frame to the camera frame."""
    way = np.flatnonzero(skeleton.path[joint])  # from the root on: parents come before children
    turned = rotations[:, way[0]]
    for step in way[1:]:
        turned = turned @ rotations[:, step]
    return turned


def _frame(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(B, 3), (B, 3) -> (B, 3, 3) right-handed frame, first column `along`, second towards `across`."""
    across = _unit(across - np.einsum("bi,bi->b", across, along)[:, None] * along)
    return np.stack([along, across, np.cross(along, across)], -1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
