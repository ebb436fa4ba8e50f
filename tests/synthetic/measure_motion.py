# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a take's motion is from the true one: in the world, about the pelvis, and where feet should stand still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recover_body.engine.motion.contacts import FEET, find_contacts, places
from recover_body.engine.motion.placed import PlacedMotion, placed
from recover_body.engine.tracks import body_track
from recover_body.wire.frames import project
from recover_body.wire.take import Take

from .clips import Label

BODY = slice(0, 22)
STILL_M_S = 0.06
"""A true heel or toe that touches and is slower than this stands still: 2 mm a frame at 30 frames per second."""


@dataclass(frozen=True)
class MotionScore:
    """One person of one take."""

    acceleration_m_s2: float
    """Mean difference between recovered and true acceleration of 22 joints, in the world."""
    slide_mm: float
    """Mean horizontal way of a heel or toe from frame to frame while the true one stands still."""
    slide_95_mm: float
    """95th percentile of the same."""
    mpjpe_mm: float
    """Mean distance of 22 joints with the pelves put together, camera frame."""
    float_mm: float
    """Mean distance of those heels and toes from the floor."""
    overlay_px: float
    """Mean distance of 22 joints in the picture from the true ones."""
    contact_f1: float
    """Heels' and toes' contacts found, against the true ones: harmonic mean of precision and recall."""


def motion_of(take: Take, person: int = 0) -> PlacedMotion:
    """A person of a take, in the world."""
    count = len(take.frame_numbers)
    T_world_camera = np.array(np.broadcast_to(take.camera.T_world_camera, (count, 4, 4)))
    track = body_track(take.people[person], take.camera)
    return placed(track, (take.frame_numbers - 1) / take.fps, T_world_camera, take.people[person].body)


def score_motion(take: Take, label: Label) -> MotionScore:
    """Compare the take's first person, present in all frames, with the label."""
    motion, true = motion_of(take), label.motion
    points, true_points = places(motion)[:, FEET], places(true)[:, FEET]
    touches = find_contacts(true, ground_known=True)[:, FEET]
    true_speed = np.linalg.norm(np.diff(true_points, axis=0), axis=-1) * label.fps
    still = touches[1:] & touches[:-1] & (true_speed < STILL_M_S)
    slide = 1000 * np.linalg.norm(np.diff(points[..., :2], axis=0), axis=-1)[still]
    joints, true_joints = joints_cam(motion, take), label.camera.see(true.joints[:, BODY])
    apart = (joints - joints[:, :1]) - (true_joints - true_joints[:, :1])
    in_picture = project(joints, take.camera.intrinsics()) - project(true_joints, label.camera.intrinsics)
    found = take.people[0].contacts
    both = 0.0 if found is None else 2 * (found[:, FEET] & touches).sum() / (found[:, FEET].sum() + touches.sum())
    return MotionScore(
        acceleration_m_s2=float(np.linalg.norm(_turned_alike(motion, true, label.fps), axis=-1).mean()),
        slide_mm=float(slide.mean()),
        slide_95_mm=float(np.percentile(slide, 95)),
        mpjpe_mm=float(1000 * np.linalg.norm(apart, axis=-1).mean()),
        float_mm=float(1000 * np.abs(points[1:, :, 2][still]).mean()),
        overlay_px=float(np.linalg.norm(in_picture, axis=-1).mean()),
        contact_f1=float(both),
    )


def joints_cam(motion: PlacedMotion, take: Take) -> np.ndarray:
    """(F, 22, 3)."""
    inverse = np.linalg.inv(take.camera.pose())
    return motion.joints[:, BODY] @ inverse[:3, :3].T + inverse[:3, 3]


def _turned_alike(motion: PlacedMotion, true: PlacedMotion, fps: float) -> np.ndarray:
    """(F - 2, 22, 3) differences of accelerations; a heading that differs between the worlds is taken out."""
    found, wanted = (np.diff(m.joints[:, BODY], 2, axis=0) * fps**2 for m in (motion, true))
    ahead = [m.joints.mean((0, 1)) - m.eye.mean(0) for m in (motion, true)]
    angle = np.arctan2(ahead[1][1], ahead[1][0]) - np.arctan2(ahead[0][1], ahead[0][0])
    c, s = np.cos(angle), np.sin(angle)
    return found @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T - wanted


def drift_m(take: Take) -> float:
    """How far the pelvis strays horizontally from where it is in the first second, smoothed over a second."""
    motion = motion_of(take)
    seconds = max(1, round(take.fps))
    smooth = np.stack([np.convolve(axis, np.ones(seconds) / seconds, "valid") for axis in motion.pelvis[:, :2].T], 1)
    return float(np.linalg.norm(smooth - smooth[0], axis=1).max())
