# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of training data becomes: a labelled person in a picture.

Pixels of 2-D keypoints and centres are *indices* here, as the data sets have them and as the crops are cut: (0, 0) is
the centre of the upper left pixel. Our own files count from its corner; their reader converts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..augment import Sample
from .bad_data import Where

KEYPOINTS = 44
SMPL_BODY = 23
CONFIDENT_FROM = 0.3
"""2-D keypoints below count as not labelled."""
LARGEST_BETA = 3.0
"""Shapes beyond are failed fits."""
FEWEST_KEYPOINTS = 5
LARGEST_FIT_ERROR = 31000.0
"""Reprojection loss from which on a fitted label is thrown away, in the unit of the released labels."""

MEASURED_SETS = ("H36M", "BEDLAM")
"""Data sets whose 3-D labels were measured or rendered; in others they were fitted to the picture."""


@dataclass(frozen=True)
class CameraLabels:
    """What is known of the camera and of where the person stands; SMPL-X."""

    intrinsics: np.ndarray
    """(3, 3) pixels of the whole picture, from its upper left corner."""
    pose: np.ndarray
    """(55, 3) rotation vectors, the root in the camera frame."""
    betas: np.ndarray
    """(10,)"""
    translation: np.ndarray
    """(3,) metres, added after posing."""
    pelvis_cam: np.ndarray
    """(3,) metres: the pelvis in the camera frame; its third number is what BLADE calls Tz."""
    box_px: np.ndarray
    """(4,) x1, y1, x2, y2 from the upper left corner."""


@dataclass(frozen=True)
class LabelledPerson:
    where: Where
    sample: Sample
    """Picture, box, keypoints and SMPL pose, in the form in which `augment` varies them."""
    betas: np.ndarray
    """(10,) SMPL, or those of the body that the data were made with."""
    has_pose: float
    has_betas: float
    measured: float
    """1 where 3-D labels were measured or rendered, 0 where they were fitted to the picture."""
    camera: CameraLabels | None = None


class PictureSet(Protocol):
    """A data set. Index it by picture; a picture holds any number of people."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def people(self, index: int) -> list[LabelledPerson]:
        """The people of a picture that are fit for training, perhaps none. Raises `BadSample`."""
        ...


def is_measured(dataset: str) -> float:
    return float(dataset.upper().startswith(MEASURED_SETS))


def filtered(person: LabelledPerson, fit_error: float = 0.0) -> LabelledPerson | None:
    """The person as the networks' training takes it, or None where too little or nothing reliable is labelled.

    Poses that are improbable in motion capture are dropped too, as in the released training: see `plausible`.
    """
    keypoints = person.sample.keypoints_2d.copy()
    keypoints[keypoints[:, 2] < CONFIDENT_FROM, 2] = 0
    if (keypoints[:, 2] > 0).sum() < FEWEST_KEYPOINTS or fit_error >= LARGEST_FIT_ERROR:
        return None
    plausible = float(np.abs(person.betas).max() <= LARGEST_BETA)
    both = person.has_pose * person.has_betas * plausible  # pose and shape were fitted together
    # A missing shape becomes the mean one and counts as labelled: so it was trained. Only measured ones are used.
    sample = replace(person.sample, keypoints_2d=keypoints)
    return replace(person, sample=sample, betas=person.betas * both, has_pose=both, has_betas=1.0)
