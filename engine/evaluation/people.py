# SPDX-License-Identifier: GPL-3.0-or-later
"""One person, labelled or recovered, in the form in which both are compared; and how such a person is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...models.body_model import SHIPPED_BODIES, BodyModel
from ...models.surface_fit import Posed
from ...wire.frames import project
from ..training.bodies import KeypointMap, keypoint_map

SMPL_JOINTS = 24


@dataclass(frozen=True, eq=False)
class Human36Joints:
    joints: np.ndarray
    """(17, 3) metres."""
    is_exact: bool
    """Whether SMPL-X's own transfer led to SMPL's surface, or the person was on SMPL from the beginning."""


@dataclass(frozen=True, eq=False)
class Person:
    """Camera frame, metres; pixels count from the picture's upper left corner."""

    box_px: np.ndarray
    """(4,) x1, y1, x2, y2."""
    body: BodyModel
    """Whose surface it is."""
    vertices: np.ndarray
    """(V, 3)."""
    joints: np.ndarray
    """(J, 3); the first 22 mean the same in SMPL, SMPL-X and the shipped bodies."""
    keypoints: np.ndarray | None = None
    """(44, 3), where the body tells them."""
    keypoints_px: np.ndarray | None = None
    """(44, 3) x, y and confidence."""
    is_placed: bool = True
    """Whether the place in the camera's frame means something; some labels know only the body about its pelvis."""
    parameters: Posed | None = None
    """What the body was posed with."""
    h36m: Human36Joints | None = None
    """Joints that Human3.6M's regressor finds, where it was asked."""

    def has_surface_of(self, other: Person) -> bool:
        """Whether vertex n is the same place on both bodies."""
        mine, theirs = self.body.faces, other.body.faces
        return mine is theirs or (mine.shape == theirs.shape and np.array_equal(mine, theirs))


@dataclass
class Keypoints:
    """The 44 keypoints of any body that tells them: shipped ones do, SMPL with its regressor, SMPL-X does not."""

    regressor: Path | None = None
    _maps: dict[str, KeypointMap | None] = field(default_factory=dict)

    def of(self, body: BodyModel, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray | None:
        """(44, 3) of a posed body, or None. Raises `UnusableBody` for a regressor that is none."""
        if body.name not in self._maps:
            is_shipped = body.gender in SHIPPED_BODIES and bool(body.landmark_vertices)
            is_regressed = body.joint_count == SMPL_JOINTS and self.regressor is not None
            self._maps[body.name] = keypoint_map(body, self.regressor) if is_shipped or is_regressed else None
        found = self._maps[body.name]
        return None if found is None else found(vertices[None], joints[None])[0]


def posed(
    body: BodyModel,
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray,
    box_px: np.ndarray,
    keypoints: Keypoints,
    intrinsics: np.ndarray | None = None,
    expression: np.ndarray | None = None,
    is_placed: bool = True,
) -> Person:
    """A body in its pose (J, 3), with its keypoints in space and, through `intrinsics` (3, 3), in the picture."""
    out = body.forward(
        pose[None], betas[None], None if expression is None else expression[None], np.asarray(translation)[None]
    )
    vertices, joints = out.vertices[0].astype(np.float64), out.joints[0].astype(np.float64)
    solid = keypoints.of(body, vertices, joints)
    flat = None
    if solid is not None and intrinsics is not None:
        flat = np.concatenate([project(solid, intrinsics), np.ones((len(solid), 1))], 1)
    parameters = Posed(pose, betas, np.asarray(translation))
    return Person(np.asarray(box_px, np.float64), body, vertices, joints, solid, flat, is_placed, parameters)
