# SPDX-License-Identifier: GPL-3.0-or-later
"""What all backends share on clips whose network tells the pose: people are held near it and moved onto the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..camera_depth import Believe
from ..camera_refine import HeldFit
from ..cameras import Pinhole
from ..fit.body_fit import Fit
from ..fit.clip_fit import LANDMARK_STEPS, SILHOUETTE_STEPS
from ..fit.close_ups import CloseUps, fit_close_ups, relaxed
from ..fit.key_fit import agreed_camera
from ..fit.observations import Masks, observations
from ..fit.temporal import Motion
from ..follow import Sighting
from ..frames import Footage
from .base import BodyTrack
from .clip_path import Keys, Person
from .neural import with_network_confidence


def agreed_on(
    believe: Believe, keys: Keys, camera: Pinhole, keep_camera: bool, body_name: str
) -> tuple[Pinhole, np.ndarray]:
    """The camera that everybody's key frames agree on, or the one to be kept, and betas (K, 10)."""
    seen = observations(keys.rows, camera, keys.heights_m, keep_camera)
    held = HeldFit(seen, believe(camera), body_name)
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


def with_own_words(track: BodyTrack, person: Person, footage: Footage, words: str, body_name: str) -> BodyTrack:
    """The track as sure as a network makes it, and with what the network itself says of the person's first frame."""
    note = f"In frame {footage.frame_numbers[person.frames[0]]}: {words}"
    return replace(with_network_confidence(track, body_name), notes=(*track.notes, note))
