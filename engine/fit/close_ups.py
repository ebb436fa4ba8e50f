# SPDX-License-Identifier: GPL-3.0-or-later
"""What hands, jaw, eyes and face of the fitted people do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.body_model import load_body
from ..blas import one_blas_thread
from ..mediapipe_graphs import Details
from .contours import relaxed_hands
from .face import fit_face
from .fingers import fit_fingers
from .kinematics import BODY_JOINTS, Posed

JAW, EYES = 22, slice(23, 25)
FINGERS = {"left": slice(25, 40), "right": slice(40, 55)}
_WRIST = {"left": 20, "right": 21}


@dataclass(frozen=True)
class CloseUps:
    """B people from the wrists and the neck on."""

    pose: np.ndarray
    """(B, 55, 3) rotation vectors of jaw, eyes and fingers; zero for the body's joints, relaxed where unseen."""
    seen: np.ndarray
    """(B, 55) bool, which of them were seen."""
    expression: np.ndarray
    """(B, 10)."""


def fit_close_ups(details: tuple[Details, ...], posed: Posed, body_name: str) -> CloseUps:
    """Fit what was seen of hands and faces; `posed` says where wrists are and how they are turned."""
    nothing = relaxed(len(details), body_name)
    pose, seen, expression = nothing.pose, nothing.seen, nothing.expression
    hands = [
        (row, side, points)
        for row, person in enumerate(details)
        for side, points in (("left", person.left_hand), ("right", person.right_hand))
        if points is not None
    ]
    with one_blas_thread():
        if hands:
            rows, sides, points = zip(*hands, strict=True)
            wrists = [_WRIST[side] for side in sides]
            fingers = fit_fingers(
                list(points), list(sides), posed.rotations[rows, wrists], posed.joints[rows, wrists], body_name
            )
            for row, side, rotvecs in zip(rows, sides, fingers, strict=True):
                pose[row, FINGERS[side]], seen[row, FINGERS[side]] = rotvecs, True
        for row, person in enumerate(details):
            if person.face is not None:
                face = fit_face(person.face, body_name)
                pose[row, JAW], pose[row, EYES], expression[row] = face.jaw, face.eyes, face.expression
                seen[row, BODY_JOINTS:25] = True
    return CloseUps(pose, seen, expression)


def relaxed(count: int, body_name: str) -> CloseUps:
    """What is taken for `count` people of whose hands and faces nothing was seen."""
    pose = np.tile(relaxed_hands(load_body(body_name)), (count, 1, 1)).astype(np.float64)
    return CloseUps(pose, np.zeros(pose.shape[:2], bool), np.zeros((count, 10)))
