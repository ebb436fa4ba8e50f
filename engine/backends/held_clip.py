# SPDX-License-Identifier: GPL-3.0-or-later
"""What all backends share on clips whose network tells the pose: people are held near it and moved onto the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..camera_refine import HeldFit
from ..cameras import Pinhole
from ..fit.body_fit import Fit
from ..fit.clip_fit import LANDMARK_STEPS, SILHOUETTE_STEPS
from ..fit.close_ups import CloseUps, fit_close_ups, relaxed
from ..fit.key_fit import agreed_camera
from ..fit.observations import Masks
from ..fit.temporal import Motion
from ..follow import Sighting
from .clip_path import Keys


def agreed_on(held: HeldFit, keys: Keys, camera: Pinhole, keep_camera: bool) -> tuple[Pinhole, np.ndarray]:
    """The camera that everybody's key frames agree on, or the one to be kept, and betas (K, 10)."""
    start, count = held.start(), len(keys.rows)
    if not keep_camera:
        camera = agreed_camera(camera, held.outcome(held.near(start)), keys.whose)
    boxes_px = np.array([row.box_px for row in keys.rows])
    return camera, held.on_picture(start, camera.focals_px(count), Masks(keys.rows), boxes_px).betas


def fit_window_held(
    held: HeldFit, people: Sequence[Sighting], times_s: np.ndarray, camera: Pinhole, body_name: str, rough: bool
) -> tuple[Fit, CloseUps]:
    """One person's T frames together, the shape being known; `rough` leaves outlines, hands and faces out."""
    motion = Motion(times_s, camera.places(len(people)))
    state, system = held.with_motion(held.near(held.start()), motion, LANDMARK_STEPS)
    if rough:
        return held.result(state, system), relaxed(len(people), body_name)
    boxes_px = np.array([person.box_px for person in people])
    state, system = held.with_motion(state, motion, SILHOUETTE_STEPS, Masks(people), boxes_px)
    close_ups = fit_close_ups(tuple(person.details for person in people), held.skeleton.pose(state), body_name)
    return held.result(state, system), close_ups
