# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovered tracks made ready for animation: short gaps are filled, jitter is smoothed. Whatever the backend was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...wire.motion import MotionOptions
from ...wire.take import CameraTrack
from ..backends.base import BodyTrack
from ..cameras import Pinhole
from ..keypoints import reprojected
from .smooth import fill_rotations, fill_vectors, gaps, smooth_rotations, smooth_vectors, windows

LONGEST_GAP_S = 0.7
"""Who is away for longer may have done anything meanwhile."""
SMOOTHING_S = 0.05
"""Standard deviation of the Gaussian: takes the jitter from frame to frame away and leaves a tennis serve as it is."""


def refine(
    track: BodyTrack, times_s: np.ndarray, motion: MotionOptions, camera: Pinhole | CameraTrack, body: str
) -> BodyTrack:
    """The track with gaps filled (marked as inferred, score 0) and smoothed, as far as `motion` asks for it.

    times_s (F,) ascending. A still comes back as it is.
    """
    if len(times_s) < 2:
        return track
    smoothing_s = SMOOTHING_S if motion.smoothing_s is None else motion.smoothing_s
    filled = fill_gaps(track, times_s) if motion.fill_gaps else track
    return smoothed(filled, times_s, smoothing_s, camera, body) if smoothing_s > 0 else filled


def fill_gaps(track: BodyTrack, times_s: np.ndarray) -> BodyTrack:
    """Between two sightings shortly after each other, everything moves evenly."""
    found = gaps(track.present, times_s, LONGEST_GAP_S)
    if not found:
        return track
    arrays: dict[str, Any] = {
        name: np.array(getattr(track, name))
        for name in ("boxes_px", "pose", "expression", "translation", "keypoints_px", "reprojected_px", "score")
    }
    present, inferred = track.present.copy(), track.joint_inferred.copy()
    confidence = track.joint_confidence.copy()
    for before, after in found:
        inside = slice(before + 1, after)
        fill_rotations(arrays["pose"], before, after, times_s)
        for name in ("boxes_px", "expression", "translation", "keypoints_px", "reprojected_px"):
            fill_vectors(arrays[name], before, after, times_s)
        arrays["score"][inside], arrays["keypoints_px"][inside, :, 2] = 0, 0
        present[inside], inferred[inside], confidence[inside] = True, True, 0
    return replace(track, present=present, joint_inferred=inferred, joint_confidence=confidence, **arrays)


def smoothed(
    track: BodyTrack, times_s: np.ndarray, time_s: float, camera: Pinhole | CameraTrack, body: str
) -> BodyTrack:
    """Pose, place and expression smoothed; the body's keypoints follow."""
    frames = np.flatnonzero(track.present)
    near = windows(times_s[frames], time_s)
    pose, translation, expression = track.pose.copy(), track.translation.copy(), track.expression.copy()
    pose[frames] = smooth_rotations(track.pose[frames], near)
    translation[frames] = smooth_vectors(track.translation[frames], near)
    expression[frames] = smooth_vectors(track.expression[frames], near)
    after = replace(track, pose=pose, translation=translation, expression=expression)
    return replace(after, reprojected_px=reprojected(after, camera, body))
