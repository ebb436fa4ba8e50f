# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in backend: landmarks in the picture, and the body that explains them. Needs no licensed file."""

from __future__ import annotations

import numpy as np

from ...wire.messages import RecoverRequest
from .. import detect
from ..cameras import Pinhole
from ..detect import Detection
from ..errors import UnreadableClip
from ..fit.body_fit import Fit
from ..fit.close_ups import CloseUps, fit_close_ups
from ..fit.key_fit import camera_notes, fit_keys
from ..fit.kinematics import BODY_JOINTS
from ..fit.points import LANDMARK_NAMES, landmark_points
from ..frames import Footage
from .base import Bodies, BodyTrack, Report
from .landmarks_clip import recover_clip
from .landmarks_common import CERTAIN, CLOSE_UP_CONFIDENCE, hidden_limbs, how_many


class LandmarksBackend:
    """MediaPipe's landmarks, then a fit of the free body."""

    name = "landmarks"
    title = "Built-in (landmarks)"
    gives: tuple[str, ...] = ("hands", "face", "camera")
    licence = "GPL-3.0-or-later with Apache-2.0 models and a CC0 body; commercial use allowed"

    def missing(self) -> tuple[str, ...]:
        """What this machine lacks, a sentence each."""
        return detect.missing()

    def recover(self, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
        """Detect and follow, fit key frames with a free focal length, agree on it and on the shapes, fit the rest."""
        if len(footage.images) > 1:
            return recover_clip(footage, camera, request, report)
        report("detect", 0.0, "looking for people")
        (image,) = footage.images
        if image is None:
            raise UnreadableClip(f"That frame of {footage.name} cannot be decoded.", "Choose another frame.")
        people = _chosen(detect.find_people(image, request.people == "largest"), request.people)
        if not people:
            return Bodies((), camera)
        report("fit", 0.6, f"fitting {len(people)} {'person' if len(people) == 1 else 'people'}")
        keys = fit_keys(people, np.arange(len(people)), camera, request, report)
        close_ups = fit_close_ups(
            tuple(p.details for p in people), keys.problem.skeleton.pose(keys.state), request.body
        )
        report("fit", 1.0, "")
        tracks = tuple(_track(person, keys.fit, close_ups, row, request.body) for row, person in enumerate(people))
        return Bodies(tracks, keys.camera, camera_notes(keys.camera), versions=detect.versions())


def _chosen(people: list[Detection], wanted: str) -> list[Detection]:
    """The people the request asks for, largest in the picture first."""
    return sorted(people, key=lambda person: -_area(person.box_px))[: how_many(wanted)]


def _area(box_px: np.ndarray) -> float:
    return float(np.prod(box_px[2:] - box_px[:2]))


def _track(person: Detection, fit: Fit, close_ups: CloseUps, row: int, body_name: str) -> BodyTrack:
    """One fitted person as a track of one frame."""
    pose = close_ups.pose[row : row + 1].astype(np.float32)
    pose[0, :BODY_JOINTS] = fit.pose[row]
    certainty = np.where(close_ups.seen[row], CLOSE_UP_CONFIDENCE, 0.0)[None].astype(np.float32)
    certainty[0, :BODY_JOINTS] = fit.certainty[row]
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
        keypoints_px=np.concatenate([person.points_px, person.visibility[:, None]], 1)[None].astype(np.float32),
        joint_confidence=certainty,
        joint_inferred=certainty < CERTAIN,
        masks=(person.mask,),
        reprojected_px=reprojected_px,
        notes=hidden_limbs(person.visibility),
    )
