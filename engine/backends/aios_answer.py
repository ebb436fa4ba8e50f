# SPDX-License-Identifier: GPL-3.0-or-later
"""What AiOS and BLADE say about people, and what that means for the free body before the full image's camera.

Both speak of SMPL-X, whose joints and axes the free body shares: rotations are copied. Betas and expressions belong to
one body. With the user's SMPL-X imported the shape is carried over by measuring and the fingers' mean pose is SMPL-X's
own; without it the picture tells the shape, and the free body's relaxed hand stands in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from ...models import weights
from ...models.body_model import BodyModel, load_body
from ...models.rotations import matrix_to_rotvec, rotation_between
from ...models.smpl_to_smplx import smpl_to_smplx_shape
from ..camera_refine import Believed, HeldFit
from ..cameras import Pinhole
from ..fit.body_fit import Observations
from ..fit.close_ups import FINGERS, JAW, CloseUps

if TYPE_CHECKING:
    from ...models.aios import People

SMPLX_BODY = "smplx-neutral"
USUAL_EXTENT_M, MOST_TIMES = 1.6, 4.0
"""Diagonal of the box around somebody, about, and by which factor it may be off: of a close-up it is less."""
NEW_PLACE_M = 3.0
"""Any depth: only to have the body in front of the camera while its size is measured."""


@dataclass(frozen=True)
class Answer:
    """A network's words on B people, each in a picture of its own."""

    rotations: np.ndarray
    """(B, 22, 3, 3) local; joint 0 turns the body before the camera that looks straight at `towards_px`."""
    left_hand: np.ndarray
    """(B, 15, 3, 3) relative to SMPL-X's mean hand."""
    right_hand: np.ndarray
    """(B, 15, 3, 3) likewise."""
    jaw: np.ndarray
    """(B, 3, 3)."""
    betas: np.ndarray
    """(B, 10) of SMPL-X's neutral body."""
    expression: np.ndarray
    """(B, 10) of SMPL-X."""
    scores: np.ndarray
    """(B,) how much it looked like a person, 0 to 1."""
    depth_m: np.ndarray
    """(B,) to the pelvis; NaN where no network told it."""
    towards_px: np.ndarray
    """(B, 2) the middle of the network's picture, in the full image."""

    @classmethod
    def of(cls, people: People, depth_m: np.ndarray, towards_px: np.ndarray) -> Answer:
        """One person for each picture (B, 1)."""

        def first(values) -> np.ndarray:
            return values[:, 0].float().cpu().numpy().astype(np.float64)

        return cls(
            rotations=first(people.body_rotations),
            left_hand=first(people.left_hand_rotations),
            right_hand=first(people.right_hand_rotations),
            jaw=first(people.jaw_rotation)[:, 0],
            betas=first(people.betas),
            expression=first(people.expression),
            scores=first(people.scores),
            depth_m=np.asarray(depth_m, np.float64),
            towards_px=np.asarray(towards_px, np.float64),
        )

    @classmethod
    def joined(cls, parts: list[Answer]) -> Answer:
        """All rows, one after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def rows(self, rows) -> Answer:
        """Some of the rows."""
        return Answer(*(getattr(self, field.name)[rows] for field in fields(self)))


def smplx_body() -> BodyModel | None:
    """SMPL-X's neutral body, of which the networks speak, if the user has imported it."""
    found = weights.installed(weights.find(SMPLX_BODY))
    return None if found is None else load_body(found.path)


def is_own_body(body_name: str, smplx: BodyModel | None) -> bool:
    """Whether the body that is recovered is the very one of which the networks speak."""
    return smplx is not None and load_body(body_name) is smplx


def believed(
    answer: Answer,
    seen: Observations,
    camera: Pinhole,
    body_name: str,
    smplx: BodyModel | None,
    betas: np.ndarray | None = None,
) -> Believed:
    """The answer about the free body, seen through the full image's camera in each row; places by the landmarks seen.

    `betas` (B, 10) of the free body, where they are known already.
    """
    rotations = answer.rotations.copy()
    count = len(rotations)
    off = (answer.towards_px - camera.centres_px(count)) / camera.focals_px(count)[:, None]
    rays = np.column_stack([off, np.ones(len(off))])
    # The network looked straight at the middle of its picture; the full image's camera sees that along a ray.
    rotations[:, 0] = rotation_between(np.array([0, 0, 1.0]), rays) @ rotations[:, 0]
    if smplx is not None and betas is None:
        betas = answer.betas
        if not is_own_body(body_name, smplx):
            betas = smpl_to_smplx_shape(smplx, answer.betas, load_body(body_name)).betas
    anywhere = np.column_stack([np.zeros((count, 2)), np.full(count, NEW_PLACE_M)])
    unplaced = Believed(rotations, anywhere, betas)
    return replace(unplaced, pelvis=place_by_landmarks(unplaced, seen, camera, body_name))


def place_by_landmarks(unplaced: Believed, seen: Observations, camera: Pinhole, body_name: str) -> np.ndarray:
    """(B, 3) metres: the pelves that bring the bodies onto the landmarks, in closed form, by these focal lengths."""
    import torch

    from ..camera_start import closed_form_camera

    focals_px = camera.focals_px(len(seen.focal_px))
    held = HeldFit(replace(seen, focal_px=focals_px), unplaced, body_name)
    state = held.start()
    on_body = held.landmarks.body_points(held.skeleton.pose(state)).positions - state.pelvis[:, None]
    indices = held.landmarks.points.indices
    points_px = seen.points_px[:, indices] - seen.centre_px[:, None]
    weights = seen.visibility[:, indices] ** 2 + 1e-4
    _, found = closed_form_camera(
        joints=torch.from_numpy(on_body),
        keypoints_px=torch.from_numpy(points_px),
        weights=torch.from_numpy(weights),
        focal_px=torch.from_numpy(focals_px),
    )
    # A pose that has nothing to do with the landmarks would be brought anywhere, even into the lens.
    usual_m = focals_px * USUAL_EXTENT_M / seen.size_px
    middle_px = np.average(points_px, axis=1, weights=np.broadcast_to(weights[..., None], points_px.shape))
    by_size = np.column_stack([middle_px * (usual_m / focals_px)[:, None], usual_m])
    makes_sense = np.abs(np.log(found.numpy()[:, 2] / usual_m)) < np.log(MOST_TIMES)
    return np.where(makes_sense[:, None], found.numpy(), by_size)


def with_own_hands_and_jaw(close_ups: CloseUps, answer: Answer, body_name: str, smplx: BodyModel | None) -> CloseUps:
    """The network's fingers and jaw, and on SMPL-X itself its expression; the gaze is the close-ups', none is told."""
    mean = load_body(body_name) if smplx is None else smplx
    pose, seen = close_ups.pose.copy(), close_ups.seen.copy()
    for side, hand, mean_hand in (
        ("left", answer.left_hand, mean.hands_mean_left),
        ("right", answer.right_hand, mean.hands_mean_right),
    ):
        pose[:, FINGERS[side]] = matrix_to_rotvec(hand) + mean_hand
        seen[:, FINGERS[side]] = True
    pose[:, JAW] = matrix_to_rotvec(answer.jaw)
    seen[:, JAW] = True
    expression = answer.expression if is_own_body(body_name, smplx) else close_ups.expression
    return replace(close_ups, pose=pose, seen=seen, expression=expression)
