# SPDX-License-Identifier: GPL-3.0-or-later
"""Between what backends give (`BodyTrack`, `Pinhole`) and what a take holds (`PersonTrack`, `CameraTrack`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..wire.take import CameraTrack, PersonTrack
from . import doubts
from .backends.base import BodyTrack
from .cameras import FilmedCamera, Pinhole
from .keypoints import reprojected
from .masks import from_mask_track, to_mask_track
from .verdict import Verdict


def camera_track(camera: Pinhole) -> CameraTrack:
    """A camera as it was given; else one that stands still, in a world that is still its own frame."""
    if isinstance(camera, FilmedCamera):
        return camera.track
    one = lambda value: np.array([value], np.float64)  # noqa: E731 - four times the same small thing
    return CameraTrack(
        fx_px=one(camera.fx_px),
        fy_px=one(camera.fy_px),
        cx_px=one(camera.cx_px),
        cy_px=one(camera.cy_px),
        width=camera.width,
        height=camera.height,
        T_world_camera=np.eye(4)[None],
        source=camera.source,
        fx_sigma=camera.fx_sigma,
    )


def seen_person(number: int, name: str, track: BodyTrack, body: str) -> PersonTrack:
    """A backend's track as a take keeps it; nobody has judged it yet."""
    unknown = np.full(len(track.present), np.nan)
    return PersonTrack(
        id=number,
        name=name,
        **{field: getattr(track, field) for field in _SHARED},
        keypoint_names=track.keypoint_names,
        overlay_iou=unknown,
        reprojection_px=unknown,
        reprojection_percent=unknown,
        body=body,
        notes=track.notes,
        masks=to_mask_track(track.masks),
    )


def body_track(person: PersonTrack, camera: CameraTrack) -> BodyTrack:
    """The inverse: a take's person as everything after the network works on it."""
    track = BodyTrack(
        **{name: getattr(person, name) for name in _SHARED},
        keypoint_names=person.keypoint_names,
        masks=from_mask_track(person.masks, len(person.present), camera.width, camera.height),
        reprojected_px=person.keypoints_px[..., :2],
        notes=person.notes,
    )
    return replace(track, reprojected_px=reprojected(track, camera, person.body))


def moved_person(person: PersonTrack, track: BodyTrack, contacts: np.ndarray) -> PersonTrack:
    """The person with the track's motion; id, name, body and masks stay."""
    return replace(person, **{name: getattr(track, name) for name in _SHARED}, notes=track.notes, contacts=contacts)


def judged_person(person: PersonTrack, judged: Verdict) -> PersonTrack:
    """The person with a verdict, also in words."""
    person = replace(
        person,
        overlay_iou=judged.overlay_iou,
        reprojection_px=judged.reprojection_px,
        reprojection_percent=judged.reprojection_percent,
        joint_error_mm=judged.joint_error_mm,
        doubts=(*person.doubts, *judged.doubts),
    )
    told = doubts.sentence(person.expected_error_mm, person.doubts)
    return replace(person, notes=(*person.notes, told)) if told else person


_SHARED = (
    "present",
    "boxes_px",
    "score",
    "pose",
    "betas",
    "expression",
    "translation",
    "keypoints_px",
    "joint_confidence",
    "joint_inferred",
    "joint_error_mm",
    "doubts",
)
