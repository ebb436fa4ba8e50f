# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in backend: landmarks in the picture, and the body that explains them. Needs no licensed file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...wire.messages import RecoverRequest
from .. import detect
from ..cameras import Pinhole
from ..detect import Detection
from ..errors import BadRequest
from ..fit.body_fit import BodyFit, Fit, Observations
from ..fit.close_ups import CloseUps, fit_close_ups
from ..fit.kinematics import BODY_JOINTS
from ..fit.points import LANDMARK_NAMES, landmark_points
from ..frames import Footage
from .base import Bodies, BodyTrack, Report

CERTAIN = 0.25
"""A joint whose spread the landmarks reduced by less than this comes from the prior, whatever number it has."""
CLOSE_UP_CONFIDENCE = 0.7
"""Of fingers, jaw and eyes that were seen."""
FOCAL_INFORMED = 0.8
"""The landmarks told something of the focal length if they narrowed its prior to less than this share."""


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
        """Detect, fit everybody with a free focal length, agree on one focal length, fit again."""
        report("detect", 0.0, "looking for people")
        people = _chosen(detect.find_people(footage.images[0], request.people == "largest"), request.people)
        if not people:
            return Bodies((), camera)
        report("fit", 0.6, f"fitting {len(people)} {'person' if len(people) == 1 else 'people'}")
        problem = BodyFit(_observations(people, camera, request.height_m), request.body)
        state, system = problem.from_landmarks()
        if not camera.is_known:
            camera = agreed_camera(camera, problem.result(state, system))
            state, system = problem.with_focal(state, camera.fx_px)
        report("fit", 0.7, "matching silhouettes")
        boxes_px = np.array([person.box_px for person in people])
        state, system = problem.with_silhouettes(state, system, [person.mask for person in people], boxes_px)
        fit = problem.result(state, system)
        close_ups = fit_close_ups(
            tuple(person.details for person in people), problem.skeleton.pose(state), request.body
        )
        report("fit", 1.0, "")
        tracks = tuple(_track(person, fit, close_ups, row, request.body) for row, person in enumerate(people))
        return Bodies(tracks, camera, _camera_notes(camera))


def _chosen(people: list[Detection], wanted: str) -> list[Detection]:
    """The people the request asks for, largest in the picture first."""
    people = sorted(people, key=lambda person: -_area(person.box_px))
    if wanted == "all":
        return people
    if wanted == "largest":
        return people[:1]
    if wanted.isdigit() and int(wanted) > 0:
        return people[: int(wanted)]
    raise BadRequest(f"People is {wanted!r}; it can be all, largest or a number.")


def _area(box_px: np.ndarray) -> float:
    return float(np.prod(box_px[2:] - box_px[:2]))


def _observations(people: list[Detection], camera: Pinhole, height_m: float | None) -> Observations:
    count = len(people)
    heights_m = np.full(count, np.nan)
    if height_m is not None:
        heights_m[0] = height_m  # the typed height is the largest person's
    boxes = np.array([person.box_px for person in people])
    visibility = np.array([person.visibility for person in people])
    return Observations(
        points_px=np.array([person.points_px for person in people]),
        visibility=visibility,
        metric_points=np.array([person.metric_points for person in people]),
        size_px=np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1),
        centre_px=np.tile([camera.cx_px, camera.cy_px], (count, 1)),
        focal_px=np.full(count, camera.fx_px),
        focal_sigma=np.full(count, 0.0 if camera.is_known else camera.fx_sigma),
        height_m=heights_m,
        details=tuple(person.details for person in people),
    )


def agreed_camera(camera: Pinhole, fit: Fit) -> Pinhole:
    """One focal length from everybody's: their evidence is added to the prior's, each weighted by its precision.

    Where all of them together say too little (people far away look the same through every lens), the assumed focal
    length stays as it was, and stays marked as assumed.
    """
    prior_precision = 1 / camera.fx_sigma**2
    evidence = np.maximum(1 / fit.focal_sigma**2 - prior_precision, 0)
    precision = prior_precision + evidence.sum()
    # A fit's focal length already leans on the prior; what it saw itself is its posterior less the prior.
    posterior = np.log(fit.focal_px) * (prior_precision + evidence)
    centre = np.log(camera.fx_px)
    own = posterior - prior_precision * centre  # (B,) evidence times what was seen
    sigma = float(precision**-0.5)
    if sigma > FOCAL_INFORMED * camera.fx_sigma:
        return camera
    focal_px = float(np.exp((prior_precision * centre + own.sum()) / precision))
    return replace(camera, fx_px=focal_px, fy_px=focal_px, source="estimated", fx_sigma=sigma)


def _camera_notes(camera: Pinhole) -> tuple[str, ...]:
    percent = round(100 * (np.exp(camera.fx_sigma) - 1))
    if camera.source == "assumed":
        return (
            f"The focal length ({camera.fx_px:.0f} px) is assumed and may be off by {percent} %: at this distance the "
            "picture does not tell it. Give --focal-mm for a trustworthy distance.",
        )
    if camera.source == "estimated":
        return (f"The focal length ({camera.fx_px:.0f} px, within {percent} %) was estimated from perspective.",)
    return ()


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
        notes=_person_notes(person),
    )


_PARTS = {"left arm": (13, 15), "right arm": (14, 16), "left leg": (25, 27), "right leg": (26, 28)}


def _person_notes(person: Detection) -> tuple[str, ...]:
    hidden = [name for name, points in _PARTS.items() if person.visibility[list(points)].max() < 0.5]
    notes = [f"The {' and the '.join(hidden)} could not be seen and {'is' if len(hidden) == 1 else 'are'} inferred."]
    return tuple(notes) if hidden else ()
