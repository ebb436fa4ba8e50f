# SPDX-License-Identifier: GPL-3.0-or-later
"""One person over a clip: one shape, and all frames fitted together in windows of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from ..blas import one_blas_thread
from ..cameras import Pinhole
from ..follow import Sighting
from ..motion.gaps import fill_rotations, fill_vectors
from .body_fit import BodyFit, Fit
from .close_ups import FINGERS, CloseUps, fit_close_ups, relaxed
from .kinematics import BODY_JOINTS, State
from .observations import Masks, observations
from .temporal import Motion

WINDOW, OVERLAP = 160, 8
"""Frames that are fitted together, and how many of them belong to the neighbouring windows."""
EVERY = 3
"""Every so many frames one is fitted from scratch, for the others to start from."""
LANDMARK_STEPS, SILHOUETTE_STEPS = 2, 3
_THREADS = 2
HELD_S = 0.6
"""Hands and faces that were not looked at for longer count as not seen."""

FitWindow = Callable[[Sequence[Sighting], np.ndarray, Pinhole, np.ndarray, str], tuple[Fit, CloseUps]]
"""Sightings, times (T,), camera, betas (10,), body -> T rows each."""


@dataclass(frozen=True)
class ClipFit:
    """One person's T sightings, fitted."""

    fit: Fit
    """T rows."""
    close_ups: CloseUps
    """T rows."""


def fit_clip(
    people: Sequence[Sighting],
    times_s: np.ndarray,
    camera: Pinhole,
    betas: np.ndarray,
    body_name: str,
    tell: Callable[[float], None] = lambda _: None,
    fit_window: FitWindow | None = None,
) -> ClipFit:
    """Fit one person's sightings at the ascending times (T,), the shape (10,) and the camera in them being known.

    `tell` hears how much of the work is done, 0 to 1. `fit_window` fits a stretch of them together, by default by
    landmarks.
    """
    fit_window = fit_window or fit_window_by_landmarks

    windows = max(math.ceil(len(people) / WINDOW), min(_THREADS, len(people) // (2 * OVERLAP)), 1)
    edges = np.linspace(0, len(people), windows + 1).astype(int)

    def fit(window: int) -> tuple[Fit, CloseUps]:
        first, last = edges[window : window + 2]
        low, high = max(first - OVERLAP, 0), min(last + OVERLAP, len(people))
        parts = fit_window(people[low:high], times_s[low:high], camera.rows(slice(low, high)), betas, body_name)
        own = slice(first - low, last - low)
        return _rows(parts[0], own), _rows(parts[1], own)

    parts = []
    # numpy lets go of the interpreter while it computes, so two windows are fitted at a time.
    with one_blas_thread(), ThreadPoolExecutor(_THREADS, thread_name_prefix="fit") as pool:
        for part in pool.map(fit, range(windows)):
            parts.append(part)
            tell(len(parts) / windows)
    fits, close_ups = zip(*parts, strict=True)
    return ClipFit(_joined(fits), _held(_joined(close_ups), times_s))


def fit_window_by_landmarks(
    people: Sequence[Sighting],
    times_s: np.ndarray,
    camera: Pinhole,
    betas: np.ndarray,
    body_name: str,
    rough: bool = False,
) -> tuple[Fit, CloseUps]:
    """The built-in backend's way; `rough` leaves outlines, hands and faces out."""
    count = len(people)
    seen = observations(people, camera, np.full(count, np.nan), keep_focal=True)
    problem, motion = BodyFit(seen, body_name, np.tile(betas, (count, 1))), Motion(times_s, camera.places(count))
    state = _start(people, camera, betas, body_name)
    state, system = problem.with_motion(state, motion, LANDMARK_STEPS)
    if rough:
        return problem.result(state, system), relaxed(count, body_name)
    boxes_px, masks = np.array([person.box_px for person in people]), Masks(people)
    state, system = problem.with_motion(state, motion, SILHOUETTE_STEPS, masks, boxes_px)
    close_ups = fit_close_ups(seen.details, problem.skeleton.pose(state), body_name)
    return problem.result(state, system), close_ups


def _start(people: Sequence[Sighting], camera: Pinhole, betas: np.ndarray, body_name: str) -> State:
    """Every few frames fitted alone from scratch; the others start from the nearest of those."""
    alone = slice(EVERY // 2, None, EVERY) if len(people) > EVERY // 2 else slice(1)
    chosen = people[alone]
    seen = observations(chosen, camera.rows(alone), np.full(len(chosen), np.nan), keep_focal=True)
    state, _ = BodyFit(seen, body_name, np.tile(betas, (len(chosen), 1))).from_landmarks()
    nearest = np.minimum(np.arange(len(people)) // EVERY, len(chosen) - 1)
    return _rows(state, nearest)


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


def _rows(whole, rows: slice | np.ndarray):
    """Some rows of a dataclass of arrays."""
    return type(whole)(*(getattr(whole, f.name)[rows] for f in fields(whole)))


def _joined(parts: Sequence):
    """Dataclasses of arrays, one after the other."""
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(kind)))
