# SPDX-License-Identifier: GPL-3.0-or-later
"""What standing feet tell of the lens: a foot that stands stays where it is, whatever the body above it does.

A clip's depths go with the focal length, while what a body measures does not. Whoever steps, leans or bends with a
foot on the ground moves in depth by what the legs tell and, through a wrong lens, by more or less: then the foot would
slide. And whoever crosses a wide picture is seen under changing angles, which a wrong lens takes for turns of the
body. Every focal length within reason is tried, and weighed by how still it lets feet stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...models.rotations import rotation_between
from ...wire.frames import project
from .. import world
from ..backends.base import BodyTrack
from ..cameras import Pinhole
from ..motion.contacts import FEET, KNEES, find_contacts, places, runs
from ..motion.placed import PlacedMotion, placed, split
from ..motion.smooth import smooth_motion
from .key_fit import FOCAL_INFORMED

RATIOS = np.exp(np.linspace(-1.5, 1.2, 55))
"""Focal lengths that are tried, as multiples of the one so far."""
CONTACT_RATIOS = (1.4, 1.0, 0.7, 0.5)
"""Feet stand that stand still through one of these lenses."""
ALONG_SHARE, LEG_SIGMA_M, ACROSS_SIGMA_M = 0.002, 0.08, 0.02
"""Standard deviations: of a depth told by size, as a share of it; of how far a leg reaches along the ray; of where a
foot is across it."""
WIDTH = 3.0
"""Standard deviations from which a stray foot counts less and less."""
REPEATS_S, SHORTEST_S = 0.3, 0.2
"""For so long one mistake repeats itself; and shorter stances are not looked at."""
TRUSTED_EVIDENCE = 0.5
"""Share that is believed: somebody who only stands there leans and sways, which is taken for evidence too."""
THINNED_FPS, MOST_FRAMES, SMOOTHING_S, LONGEST_GAP_S = 15.0, 450, 0.05, 0.7


@dataclass(frozen=True)
class Rough:
    """Somebody's frames, fitted roughly."""

    times_s: np.ndarray
    """(T,)."""
    track: BodyTrack
    """T frames."""


def thinned(times_s: np.ndarray) -> np.ndarray:
    """Rows of (T,) times that are worth a rough fit: some half a minute of them, not too dense."""
    step = max(1, round(1 / (THINNED_FPS * float(np.median(np.diff(times_s)))))) if len(times_s) > 1 else 1
    rows = np.arange(0, len(times_s), step)
    surplus = len(rows) - MOST_FRAMES
    return rows if surplus <= 0 else rows[surplus // 2 : surplus // 2 + MOST_FRAMES]


def camera_by_stances(camera: Pinhole, people: Sequence[Rough], before: Pinhole, body_name: str) -> Pinhole:
    """The camera with the focal length that lets feet stand still, as far as they tell it.

    `people` were fitted through `camera`, largest first; what that one knows of the focal length counts too. Where
    everything together tells hardly more than was known `before`, that camera is returned.
    """
    T_up, _ = world.place(tuple(person.track for person in people), body_name)
    told = np.sum([_cost_of_stances(person, camera, body_name, T_up) for person in people], 0)
    steps = np.log(RATIOS)
    cost = TRUSTED_EVIDENCE * told + 0.5 * (steps / camera.fx_sigma) ** 2
    weight = np.exp(cost.min() - cost)
    weight /= weight.sum()
    mean = float(weight @ steps)
    sigma = float(np.sqrt(weight @ (steps - mean) ** 2))
    if not told.any() or sigma > FOCAL_INFORMED * before.fx_sigma:
        return camera
    focal_px = camera.fx_px * float(np.exp(mean))
    evidence = f"{camera.evidence} and feet that stand" if camera.source == "estimated" else "feet that stand"
    return replace(camera, fx_px=focal_px, fy_px=focal_px, source="estimated", fx_sigma=sigma, evidence=evidence)


def _cost_of_stances(person: Rough, camera: Pinhole, body_name: str, T_up: np.ndarray) -> np.ndarray:
    """(R,) negative log likelihood for each of `RATIOS`, up to a constant."""
    cost, first = np.zeros(len(RATIOS)), 0
    whole = placed(person.track, person.times_s, np.tile(np.eye(4), (len(person.times_s), 1, 1)), body_name)
    for part in split(whole, LONGEST_GAP_S):
        rows = slice(first, first + len(part.times_s))
        first = rows.stop
        if len(part.times_s) < 3:
            continue
        motion = smooth_motion(part, SMOOTHING_S)
        points_px = project(places(motion)[:, FEET], camera.matrix)
        with np.errstate(invalid="ignore"):
            shown = ((points_px > 0) & (points_px < (camera.width, camera.height))).all(-1)
        shown &= ~person.track.joint_inferred[rows][:, KNEES]
        stances = _stances(motion, shown, T_up)
        cost += [_unrest(through(motion, ratio), stances) for ratio in RATIOS]
    return cost


def _stances(motion: PlacedMotion, shown: np.ndarray, T_up: np.ndarray) -> list[tuple[int, slice]]:
    """Which heel or toes stand, and when; shown (T, 4) bool."""
    touches = np.zeros(shown.shape, bool)
    for ratio in CONTACT_RATIOS:
        touches |= find_contacts(through(motion, ratio).moved(T_up), ground_known=False)[:, FEET]
    stands = [(point, part) for point in range(shown.shape[1]) for part in runs((touches & shown)[:, point])]
    return [(n, part) for n, part in stands if motion.times_s[part.stop - 1] - motion.times_s[part.start] >= SHORTEST_S]


def _unrest(motion: PlacedMotion, stances: list[tuple[int, slice]]) -> float:
    """How unlikely it is that the feet stood; the camera is at the origin."""
    points, cost = places(motion)[:, FEET], 0.0
    frame_s = float(np.median(np.diff(motion.times_s)))
    for number, part in stances:
        own = points[part, number]
        away_m = np.linalg.norm(own, axis=1)
        rays, moved = own / away_m[:, None], own - np.median(own, 0)
        along = (moved * rays).sum(1)
        across = np.linalg.norm(moved - along[:, None] * rays, axis=1)
        squared = along**2 / ((ALONG_SHARE * away_m) ** 2 + LEG_SIGMA_M**2) + (across / ACROSS_SIGMA_M) ** 2
        cost += 0.5 * min(1.0, frame_s / REPEATS_S) * float((WIDTH**2 * squared / (WIDTH**2 + squared)).sum())
    return cost


def through(motion: PlacedMotion, ratio: float) -> PlacedMotion:
    """As seen through a lens `ratio` times as long by a camera at the origin: so many times farther away, and turned as
    the ray on which the person is seen."""
    pelvis = motion.pelvis * [1, 1, ratio]
    rotations = motion.rotations.copy()
    rotations[:, 0] = rotation_between(motion.pelvis, pelvis) @ rotations[:, 0]
    return replace(motion, rotations=rotations, pelvis=pelvis)
