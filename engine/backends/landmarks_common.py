# SPDX-License-Identifier: GPL-3.0-or-later
"""What stills and clips, and the built-in and the neural backends, share."""

from __future__ import annotations

import numpy as np

from ..detect import Detection
from ..doubts import both_sides, listed
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps
from ..fit.kinematics import BODY_JOINTS
from ..fit.points import LANDMARK_NAMES, landmark_points
from .base import BodyTrack

CERTAIN = 0.25
"""A joint whose spread the landmarks reduced by less than this comes from the prior, whatever number it has."""
CLOSE_UP_CONFIDENCE = 0.7
"""Of fingers, jaw and eyes that were seen."""


_PARTS = {"left arm": (13, 15), "right arm": (14, 16), "left leg": (25, 27), "right leg": (26, 28)}


def hidden_limbs(visibility: np.ndarray) -> tuple[str, ...]:
    """A sentence on limbs whose landmarks (33,) were not seen, or none."""
    hidden = [f"the {name}" for name, points in _PARTS.items() if visibility[list(points)].max() < 0.5]
    if not hidden:
        return ()
    words = listed(both_sides(hidden))
    verb = "is" if len(hidden) == 1 else "are"
    return (f"{words[0].upper()}{words[1:]} could not be seen and {verb} inferred.",)


def with_close_ups(of_body: np.ndarray, close_ups: CloseUps, row: int) -> np.ndarray:
    """(55,) float32 confidence of all joints: (22,) of the body, and of fingers, jaw and eyes where they were seen."""
    confidence = np.where(close_ups.seen[row], CLOSE_UP_CONFIDENCE, 0.0).astype(np.float32)
    confidence[:BODY_JOINTS] = of_body
    return confidence


def still_track(
    person: Detection,
    fit: Fit,
    close_ups: CloseUps,
    row: int,
    body_name: str,
    confidence: np.ndarray,
    inferred: np.ndarray,
    notes: tuple[str, ...],
) -> BodyTrack:
    """One person, row `row` of the fit, as a track of one frame; confidence and inferred (55,)."""
    pose = close_ups.pose[row : row + 1].astype(np.float32)
    pose[0, :BODY_JOINTS] = fit.pose[row]
    reprojected_px = np.full((1, len(LANDMARK_NAMES), 2), np.nan, np.float32)
    reprojected_px[0, landmark_points(body_name).indices] = fit.points_px[row]
    return BodyTrack(
        present=np.ones(1, bool),
        boxes_px=person.box_px[None].astype(np.float32),
        score=np.array([person.score], np.float32),
        pose=pose,
        betas=fit.betas[row].astype(np.float32),
        expression=close_ups.expression[row : row + 1].astype(np.float32),
        translation=fit.translation[row : row + 1].astype(np.float32),
        keypoint_names=tuple(LANDMARK_NAMES),
        keypoints_px=np.column_stack([person.points_px, person.visibility])[None].astype(np.float32),
        joint_confidence=confidence[None],
        joint_inferred=inferred[None],
        masks=(person.mask,),
        reprojected_px=reprojected_px,
        notes=notes,
    )
