# SPDX-License-Identifier: GPL-3.0-or-later
"""Two bones and a foot: turns hip and knee so that the ankle comes where it is wanted, with the foot turned as wanted.

The knee stays in the plane it bends in. A leg that is nearly straight is lengthened less and less, so that it never
snaps; what is missing then is left for the root (`root_path`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.rotations import rotation_between, rotvec_to_matrix
from .placed import PlacedMotion

LEGS = ((1, 4, 7), (2, 5, 8))
"""Hip, knee and ankle, left and right."""
STRAIGHT = 0.9995
"""Share of the leg's whole length at which it counts as straight."""


def move_ankles(motion: PlacedMotion, shift: np.ndarray, turn: np.ndarray) -> PlacedMotion:
    """Move the ankles by `shift` (T, 2, 3) metres and turn the feet by `turn` (T, 2, 3) rotation vectors, world."""
    rotations = motion.rotations.copy()
    for leg, (hip, knee, ankle) in enumerate(LEGS):
        joints, turns = motion.joints, motion.turns
        hip_at, knee_at, ankle_at = joints[:, hip], joints[:, knee], joints[:, ankle]
        thigh, shin = (float(np.linalg.norm(motion.rest[b] - motion.rest[a])) for a, b in ((hip, knee), (knee, ankle)))
        wanted = ankle_at + shift[:, leg] - hip_at
        before = np.linalg.norm(ankle_at - hip_at, axis=1)
        after = before + _softly(np.linalg.norm(wanted, axis=1) - before, STRAIGHT * (thigh + shin) - before)
        bend = _knee_turn(thigh, shin, before, after)
        axis = _knee_axis(turns[:, knee], knee_at - hip_at, ankle_at - knee_at)
        by_knee = rotvec_to_matrix(axis * bend[:, None])  # in the world, about the knee
        ankle_bent = knee_at - hip_at + (by_knee @ (ankle_at - knee_at)[..., None])[..., 0]
        by_hip = rotation_between(ankle_bent, wanted)
        turned_hip = by_hip @ turns[:, hip]
        turned_knee = by_hip @ by_knee @ turns[:, knee]
        turned_ankle = rotvec_to_matrix(turn[:, leg]) @ turns[:, ankle]
        parent = turns[:, 0]
        rotations[:, hip] = parent.swapaxes(1, 2) @ turned_hip
        rotations[:, knee] = turned_hip.swapaxes(1, 2) @ turned_knee
        rotations[:, ankle] = turned_knee.swapaxes(1, 2) @ turned_ankle
    return replace(motion, rotations=rotations)


def _softly(longer: np.ndarray, room: np.ndarray) -> np.ndarray:
    """(T,) how much a leg is lengthened that should be by `longer` and has `room` left until it is straight."""
    room = np.maximum(room, 1e-6)
    near = np.clip(longer / room, 0, None)
    # Follows exactly through the first half of the room, then ever less, and never beyond.
    soft = np.where(near > 0.5, 1 - 0.5 * np.exp(-2 * (near - 0.5)), near) * room
    return np.where(longer > 0, soft, longer)


def _knee_turn(thigh: float, shin: float, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(T,) radians by which the knee bends more for the ankle's distance from the hip to change; by the cosine law."""

    def inner(distance: np.ndarray) -> np.ndarray:
        cosine = (thigh**2 + shin**2 - distance**2) / (2 * thigh * shin)
        return np.arccos(np.clip(cosine, -1, 1))

    return inner(before) - inner(after)


def _knee_axis(turn: np.ndarray, thigh: np.ndarray, shin: np.ndarray) -> np.ndarray:
    """(T, 3) unit axis about which the knee bends (world): across thigh and shin, or the joint's own where straight."""
    own = turn[:, :, 0]  # a positive turn about the body's left bends the knee
    across = np.cross(thigh, shin)
    across *= np.sign((across * own).sum(1, keepdims=True))  # never the wrong way round
    # The sine of the bend says how well the plane is known; below ten degrees the joint's own axis takes over.
    sine = np.linalg.norm(across, axis=1, keepdims=True) / (
        np.linalg.norm(thigh, axis=1, keepdims=True) * np.linalg.norm(shin, axis=1, keepdims=True)
    )
    known = np.clip(sine / 0.17, 0, 1)
    unit = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    along = thigh / np.linalg.norm(thigh, axis=1, keepdims=True)
    own = own - (own * along).sum(1, keepdims=True) * along
    own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-9)
    mixed = known * unit + (1 - known) * own
    return mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9)
