# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitted poses that nobody was ever recorded in are no labels.

TokenHMR's and HMR2.0's training looks every joint's rotation up in a histogram of motion capture (100³ bins, smoothed
with a sigma of 2), and drops poses of which one joint lies where hardly any recording does. Their statistics are not
distributed; these are made of whatever motions are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ....models.pose_prior import MIRROR
from .bad_data import BadSample
from .motions import JOINTS, PoseSet
from .people import LabelledPerson, PictureSet

BINS, SIGMA_BINS = 100, 2.0
RARE = 1e-3
"""Of the recorded poses, joint by joint, count as improbable themselves: the published thresholds are not known."""


@dataclass(frozen=True, eq=False)
class Plausible:
    density: np.ndarray
    """(21, B, B, B) float32: recorded poses per bin of each joint's rotation vector, from -pi to pi, smoothed."""
    least: np.ndarray
    """(21,) below this a joint's rotation is improbable."""

    @classmethod
    def of(cls, sets: list[PoseSet], bins: int = BINS) -> Plausible:
        """Left and right count for each other."""
        poses = np.concatenate([one.poses for one in sets])
        poses = np.concatenate([poses, poses[:, MIRROR] * np.array([1, -1, -1], np.float32)])
        density = np.zeros((JOINTS, bins, bins, bins), np.float32)
        places = _bins(poses, bins)
        for joint in range(JOINTS):
            np.add.at(density[joint], tuple(places[:, joint].T), 1)
            density[joint] = _smoothed(density[joint])
        least = np.array([np.quantile(row, RARE, method="lower") for row in _looked_up(density, places).T])
        return cls(density, least)

    def allows(self, pose: np.ndarray) -> bool:
        """(21, 3) rotation vectors, each of at most half a turn."""
        return bool((_looked_up(self.density, _bins(pose[None], self.density.shape[1]))[0] >= self.least).all())


@dataclass(frozen=True, eq=False)
class PlausibleSet:
    """A data set whose improbable poses are not labelled, and neither are the shapes that were fitted with them.

    Measured and rendered poses are taken as they are.
    """

    given: PictureSet
    plausible: Plausible

    @property
    def name(self) -> str:
        return self.given.name

    @property
    def problems(self) -> list[BadSample]:
        return getattr(self.given, "problems", [])

    def __len__(self) -> int:
        return len(self.given)

    def people(self, index: int) -> list[LabelledPerson]:
        return [self._kept(person) for person in self.given.people(index)]

    def _kept(self, person: LabelledPerson) -> LabelledPerson:
        if not person.has_pose or person.measured or self.plausible.allows(person.sample.body_pose[:JOINTS]):
            return person
        return replace(person, has_pose=0.0, betas=np.zeros_like(person.betas))


def _bins(poses: np.ndarray, bins: int) -> np.ndarray:
    """(N, 21, 3) -> which bin along each axis."""
    # Beyond half a turn the same rotation has a shorter vector the other way round.
    angle = np.linalg.norm(poses, axis=-1, keepdims=True)
    shorter = np.where(angle > np.pi, poses * (1 - 2 * np.pi / np.maximum(angle, 1e-9)), poses)
    return ((shorter / (2 * np.pi) + 0.5) * bins).astype(int).clip(0, bins - 1)


def _looked_up(density: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(N, 21)."""
    return density[np.arange(JOINTS), places[..., 0], places[..., 1], places[..., 2]]


def _smoothed(volume: np.ndarray) -> np.ndarray:
    for _ in range(3):  # one axis after the other; each turn brings the next one to the front
        bins = len(volume)
        flat = cv2.GaussianBlur(volume.reshape(bins, -1), (1, 0), sigmaX=1e-9, sigmaY=SIGMA_BINS)
        volume = np.ascontiguousarray(np.moveaxis(flat.reshape(bins, bins, bins), 0, 2))
    return volume
