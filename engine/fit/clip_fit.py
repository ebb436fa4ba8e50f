# SPDX-License-Identifier: GPL-3.0-or-later
"""One person over a clip: one shape, and all frames fitted together in windows of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from ..cameras import Pinhole
from ..follow import Sighting
from ..motion.smooth import fill_rotations, fill_vectors
from .body_fit import BodyFit, Fit, one_blas_thread
from .close_ups import FINGERS, CloseUps, fit_close_ups
from .kinematics import BODY_JOINTS
from .observations import Masks, observations
from .temporal import Motion

WINDOW, OVERLAP = 192, 16
"""Frames that are fitted together, and how many of them belong to the neighbouring windows."""
LANDMARK_STEPS, SILHOUETTE_STEPS = 4, 3
SILHOUETTE_ROUNDS = 1
HELD_S = 0.6
"""Hands and faces that were not looked at for longer count as not seen."""


@dataclass(frozen=True)
class ClipFit:
    """One person's T sightings, fitted."""

    fit: Fit
    """T rows."""
    close_ups: CloseUps
    """T rows."""


def fit_clip(
    people: Sequence[Sighting], times_s: np.ndarray, camera: Pinhole, betas: np.ndarray, body_name: str
) -> ClipFit:
    """Fit one person's sightings at the ascending times (T,), the shape (10,) and the camera being known."""
    parts = []
    with one_blas_thread():
        for first in range(0, len(people), WINDOW):
            last = min(first + WINDOW, len(people))
            low, high = max(first - OVERLAP, 0), min(last + OVERLAP, len(people))
            fit, close_ups = _fit_window(people[low:high], times_s[low:high], camera, betas, body_name)
            own = slice(first - low, last - low)
            parts.append((_rows(fit, own), _rows(close_ups, own)))
    fits, close_ups = zip(*parts, strict=True)
    return ClipFit(_joined(fits), _held(_joined(close_ups), times_s))


def _fit_window(
    people: Sequence[Sighting], times_s: np.ndarray, camera: Pinhole, betas: np.ndarray, body_name: str
) -> tuple[Fit, CloseUps]:
    count = len(people)
    seen = observations(people, camera, np.full(count, np.nan), keep_focal=True)
    problem, motion = BodyFit(seen, body_name, np.tile(betas, (count, 1))), Motion(times_s)
    state, _ = problem.from_landmarks()
    state, system = problem.with_motion(state, motion, LANDMARK_STEPS)
    boxes_px, masks = np.array([person.box_px for person in people]), Masks(people)
    for _ in range(SILHOUETTE_ROUNDS):
        state, system = problem.with_motion(state, motion, SILHOUETTE_STEPS, masks, boxes_px)
    close_ups = fit_close_ups(seen.details, problem.skeleton.pose(state), body_name)
    return problem.result(state, system), close_ups


def _held(close_ups: CloseUps, times_s: np.ndarray) -> CloseUps:
    """Hands and face are looked at now and then; between, they move evenly, and before and after they are held."""
    pose, seen, expression = close_ups.pose.copy(), close_ups.seen.copy(), close_ups.expression.copy()
    for part in (FINGERS["left"], FINGERS["right"], slice(BODY_JOINTS, 25)):
        looked = np.flatnonzero(close_ups.seen[:, part.start])
        if not len(looked):
            continue
        pose[: looked[0], part], pose[looked[-1] :, part] = pose[looked[0], part], pose[looked[-1], part]
        is_face = part.start == BODY_JOINTS
        if is_face:
            expression[: looked[0]], expression[looked[-1] :] = expression[looked[0]], expression[looked[-1]]
        for before, after in pairwise(looked):
            turning = pose[:, part]
            fill_rotations(turning, before, after, times_s)
            if is_face:
                fill_vectors(expression, before, after, times_s)
        since_s = np.abs(times_s[:, None] - times_s[looked]).min(1)
        seen[:, part] = (since_s < HELD_S)[:, None]
    return CloseUps(pose, seen, expression)


def _rows(whole, rows: slice):
    """Some rows of a dataclass of arrays."""
    return type(whole)(*(getattr(whole, f.name)[rows] for f in fields(whole)))


def _joined(parts: Sequence):
    """Dataclasses of arrays, one after the other."""
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(kind)))
