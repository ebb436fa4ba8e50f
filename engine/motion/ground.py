# SPDX-License-Identifier: GPL-3.0-or-later
"""One ground for everybody in a shot: the plane through what touches it, as level as people's balance had it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...models.rotations import rotation_between
from .contacts import FEET, find_contacts, places, runs
from .placed import PlacedMotion

TILT_SIGMA = math.tan(math.radians(5))
"""How far off level the balance of people may be."""
HEIGHT_SIGMA_M = 0.03
"""Spread of the heights at which feet touch, mostly because depths are uncertain."""
OUTLIER_M = 0.12
"""Contacts much farther from the plane than this are on a step, a chair or somebody's foot."""
_STEPS = 20


@dataclass(frozen=True)
class Ground:
    """What was found."""

    T_level_world: np.ndarray
    """(4, 4) turns and lowers the world so that the ground lies at z = 0."""
    residual_m: float
    """Root mean square distance of the contacts from it, outliers left out."""
    contacts: int
    """How many stretches of contact it lies through."""
    tilt_deg: float
    """How far the plane was off level before."""
    height_m: float
    """How high it lay before."""


def find_ground(stretches: list[PlacedMotion], level_is_known: bool) -> Ground | None:
    """From everybody's stretches of motion; None where no foot touches anything.

    With `level_is_known` (a camera that was solved elsewhere) only the height is found.
    """
    touching = [_touches(motion) for motion in stretches]
    if not any(len(points) for points, _ in touching):
        return None
    points, weight = (np.concatenate(parts) for parts in zip(*touching, strict=True))
    about = np.average(points[:, :2], axis=0, weights=weight)
    x, y = (points[:, :2] - about).T
    design = np.stack([np.zeros_like(x) if level_is_known else x, np.zeros_like(y) if level_is_known else y], 1)
    design = np.concatenate([design, np.ones((len(points), 1))], 1)
    prior = np.diag([TILT_SIGMA**-2, TILT_SIGMA**-2, 1e-6])
    plane = np.array([0, 0, np.median(points[:, 2])])
    for _ in range(_STEPS):
        apart = points[:, 2] - design @ plane
        trust = weight * (OUTLIER_M**2 / (OUTLIER_M**2 + apart**2)) ** 2 / HEIGHT_SIGMA_M**2
        plane = np.linalg.solve(prior + (design.T * trust) @ design, (design.T * trust) @ points[:, 2])
    apart = np.abs(points[:, 2] - design @ plane)
    near = apart < OUTLIER_M
    normal = np.array([-plane[0], -plane[1], 1.0])
    R = rotation_between(normal, np.array([0, 0, 1.0]))
    T = np.eye(4)
    T[:3, :3] = R
    # The plane's point below the middle of the contacts stays below it.
    foot = np.array([*about, plane[2]])
    T[:3, 3] = np.array([*about, 0.0]) - R @ foot
    residual_m = float(np.sqrt(np.mean(apart[near] ** 2))) if near.any() else float("nan")
    tilt_deg = math.degrees(math.acos(min(1.0, float(normal[2] / np.linalg.norm(normal)))))
    return Ground(T, residual_m, int(near.sum()), tilt_deg, float(plane[2]))


def _touches(motion: PlacedMotion) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) the middle of each stretch of contact of a heel or toes, and (N,) its weight."""
    contacts, points = find_contacts(motion, ground_known=False), places(motion)
    found, weights = [], []
    for number in range(*FEET.indices(contacts.shape[1])):
        for part in runs(contacts[:, number]):
            found.append(np.median(points[part, number], 0))
            lasts_s = motion.times_s[part.stop - 1] - motion.times_s[part.start]
            weights.append(min(1.0, 0.25 + lasts_s))  # long contacts repeat one mistake
    return np.array(found).reshape(-1, 3), np.array(weights)
