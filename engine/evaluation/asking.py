# SPDX-License-Identifier: GPL-3.0-or-later
"""How a backend is asked about a labelled picture: as users ask it, or box by box as the published evaluations do."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from ...models.body_model import BodyModel, load_body
from ...models.rotations import matrix_to_rotvec
from ...wire.messages import CameraHint, RecoverRequest
from ..backends.base import Backend
from ..backends.neural import SMPL_BODY, CropNetworkBackend
from ..bodies import open_body
from ..cameras import initial_camera
from ..chosen import overlap
from ..crop import cut, imagined_focal_px, normalised
from ..errors import NobodyFound
from ..frames import STILL_FPS, Footage
from .datasets import Labelled
from .people import Keypoints, Person, posed

LEAST_OVERLAP = 0.1
"""Boxes that overlap less (IoU) are not the same person's."""


class Answer(NamedTuple):
    """What was recovered of each labelled person, None where nothing was."""

    people: tuple[Person | None, ...]
    intrinsics: np.ndarray | None
    """(3, 3) of the recovered camera."""


class Asker(Protocol):
    @property
    def how(self) -> str:
        """In words, for the report."""

    def __call__(self, picture: Labelled) -> Answer: ...


class WholeProgram:
    """The backend finds the people itself and says where they stand; they are matched to labels by their boxes."""

    how = "whole program: it finds people, camera and bodies; matched to labels by their boxes"

    def __init__(self, backend: Backend, body_name: str, keypoints: Keypoints, *, is_camera_given: bool) -> None:
        self._backend, self._body_name, self._keypoints = backend, body_name, keypoints
        self._body: BodyModel = open_body(body_name)
        self._is_camera_given = is_camera_given

    def __call__(self, picture: Labelled) -> Answer:
        height, width = picture.image_rgb.shape[:2]
        hint = CameraHint()
        if self._is_camera_given and picture.intrinsics is not None:
            fx, cx, cy = (float(picture.intrinsics[place]) for place in ((0, 0), (0, 2), (1, 2)))
            hint = CameraHint(fx_px=fx, cx_px=cx, cy_px=cy)
        footage = Footage("picture", (picture.image_rgb,), np.array([1]), STILL_FPS, None, width, height)
        request = RecoverRequest(
            "evaluate", "picture", backend=self._backend.name, camera=hint, body=self._body_name, want_rigs=False
        )
        try:
            bodies = self._backend.recover(footage, initial_camera(width, height, hint, None), request, lambda *_: None)
        except NobodyFound:
            return Answer((None,) * len(picture.people), None)
        matrix = bodies.camera.matrix
        found = [
            posed(
                self._body, track.pose[0], track.betas, track.translation[0], track.boxes_px[0], self._keypoints,
                matrix, track.expression[0],
            )
            for track in bodies.people
            if track.present[0]
        ]  # fmt: skip
        return Answer(matched(picture.people, found), matrix)


class CropNetwork:
    """The network alone, in labelled boxes, on SMPL: what TokenHMR's and HMR2.0's tables were made with."""

    how = "network alone, in the labelled boxes, on SMPL's neutral body (as published)"

    def __init__(self, backend: CropNetworkBackend, keypoints: Keypoints) -> None:
        self._backend, self._keypoints = backend, keypoints
        self._smpl = load_body(SMPL_BODY)

    def __call__(self, picture: Labelled) -> Answer:
        image_bgr, crops = np.ascontiguousarray(picture.image_rgb[..., ::-1]), list(picture.crops)
        inputs = np.stack([normalised(cut(image_bgr, crop, antialias=False)) for crop in crops])
        predicted = self._backend.answer(inputs)
        height, width = picture.image_rgb.shape[:2]
        focal_px = imagined_focal_px((width, height))
        intrinsics = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
        people = tuple(
            posed(
                self._smpl,
                matrix_to_rotvec(predicted.rotations[row]),
                predicted.betas[row],
                crops[row].full_image_translation(predicted.crop_camera[row], (width, height)),
                person.box_px,
                self._keypoints,
                intrinsics,
                is_placed=False,  # its lens is imagined, so is the depth
            )
            for row, person in enumerate(picture.people)
        )
        return Answer(people, intrinsics)


def matched(labelled: tuple[Person, ...], found: list[Person]) -> tuple[Person | None, ...]:
    """For each labelled person the recovered one whose box overlaps best; nobody is taken twice."""
    overlaps = np.array([[overlap(one.box_px, other.box_px) for other in found] for one in labelled])
    answer: list[Person | None] = [None] * len(labelled)
    while overlaps.size and overlaps.max() >= LEAST_OVERLAP:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        answer[row] = found[column]
        overlaps[row], overlaps[:, column] = -1, -1
    return tuple(answer)
