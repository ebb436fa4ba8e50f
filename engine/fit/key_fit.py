# SPDX-License-Identifier: GPL-3.0-or-later
"""People in key frames, fitted with a free shape and focal length, and the camera that they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...wire.messages import RecoverRequest
from ..backends.base import Report
from ..cameras import Pinhole
from ..detect import Detection
from ..follow import Sighting
from .body_fit import BodyFit, Fit, Observations
from .kinematics import State
from .lifted import look_through
from .observations import Masks, observations

FOCAL_INFORMED = 0.8
"""The landmarks told something of the focal length if they narrowed its prior to less than this share."""
TRUSTED_EVIDENCE = 0.12
"""Share of what a fit says of the focal length that is believed. Its landmarks come from a network that takes every
picture for an everyday one: they are wrong together, which a sum over landmarks does not know. On 450 of the people
whom the lifter learned from, what fits said correlates with the truth by 0.17 only, 0.09 within 1.2 m."""


@dataclass(frozen=True)
class KeyFit:
    """People in key frames, fitted without knowing of each other; a still is one key frame."""

    camera: Pinhole
    """What they agree on."""
    problem: BodyFit
    state: State
    fit: Fit


def fit_keys(
    sightings: Sequence[Detection | Sighting],
    whose: np.ndarray,
    camera: Pinhole,
    request: RecoverRequest,
    report: Report,
    keep_camera: bool = False,
) -> KeyFit:
    """Fit a row for each sighting; `whose` (B,) numbers the people, largest first.

    A camera that is known, or to be kept, stays as it is.
    """
    keep_camera = keep_camera or camera.is_known
    heights_m = np.full(len(sightings), np.nan)
    if request.height_m is not None:
        heights_m[whose == 0] = request.height_m  # the typed height is the largest person's
    seen = observations(sightings, camera, heights_m, keep_camera)
    if not keep_camera:
        camera = lens_as_seen(camera, seen, whose)
        count = len(sightings)
        seen = replace(seen, focal_px=camera.focals_px(count), focal_sigma=np.full(count, camera.fx_sigma))
    problem = BodyFit(seen, request.body)
    state, system = problem.from_landmarks()
    if not keep_camera:
        camera = agreed_camera(camera, problem.result(state, system), whose)
        state, system = problem.with_focal(state, camera.fx_px)
    report("fit", 0.7, "matching silhouettes")
    boxes_px = np.array([person.box_px for person in sightings])
    state, system = problem.with_silhouettes(state, system, Masks(sightings), boxes_px)
    return KeyFit(camera, problem, state, problem.result(state, system))


def lens_as_seen(camera: Pinhole, seen: Observations, whose: np.ndarray) -> Pinhole:
    """The focal length that looks at people tell before any body is fitted; `whose` (B,) numbers the rows' people.

    Landmarks alone tell nothing of it: on drawn people the network guesses no better by them than without. Nor is it
    asked of clips, whose frames all show it the same: there perspective and feet that stand tell more.
    """
    count = len(whose)
    counts = seen.appearance.any(1) & (np.bincount(whose)[whose] == 1)
    if not counts.any():
        return camera
    lifted = look_through(seen, np.full(count, camera.fx_px), np.zeros(count, bool))
    evidence = counts / lifted.log_focal_sigma**2
    precision = 1 / camera.fx_sigma**2 + evidence.sum()
    shift = (evidence * (lifted.log_focal - np.log(camera.fx_px))).sum() / precision
    sigma = float(precision**-0.5)
    focal_px = float(camera.fx_px * np.exp(shift))
    source = "estimated" if sigma < FOCAL_INFORMED * camera.fx_sigma else camera.source
    return replace(camera, fx_px=focal_px, fy_px=focal_px, source=source, fx_sigma=sigma)


def agreed_camera(camera: Pinhole, fit: Fit, whose: np.ndarray | None = None) -> Pinhole:
    """One focal length from everybody's: their evidence is added to the prior's, each weighted by its precision.

    `whose` (B,) numbers the people of the rows, by default a person each.

    Where all of them together say too little (people far away look the same through every lens), the assumed focal
    length stays as it was, and stays marked as assumed.
    """
    prior_precision = 1 / camera.fx_sigma**2
    fitted = np.maximum(1 / fit.focal_sigma**2 - prior_precision, 0)
    # A fit's focal length already leans on the prior; what it saw itself is its posterior less the prior.
    centre = np.log(camera.fx_px)
    own = np.log(fit.focal_px) * (prior_precision + fitted) - prior_precision * centre  # evidence times what was seen
    evidence, own = TRUSTED_EVIDENCE * fitted, TRUSTED_EVIDENCE * own
    # All frames of one person together count as one view: they repeat the same mistakes.
    share = np.ones(len(own)) if whose is None else 1 / np.bincount(whose)[whose]
    precision = prior_precision + (share * evidence).sum()
    sigma = float(precision**-0.5)
    if sigma > FOCAL_INFORMED * camera.fx_sigma:
        return camera
    focal_px = float(np.exp((prior_precision * centre + (share * own).sum()) / precision))
    return replace(camera, fx_px=focal_px, fy_px=focal_px, source="estimated", fx_sigma=sigma)


FOCAL_NOTE = "The focal length ("
"""How every sentence of `camera_notes` begins, for those who know better later."""


def camera_notes(camera: Pinhole) -> tuple[str, ...]:
    percent = round(100 * (np.exp(camera.fx_sigma) - 1))
    if camera.source == "assumed":
        return (
            f"{FOCAL_NOTE}{camera.fx_px:.0f} px) is assumed and may be off by {percent} %: at this distance the "
            "picture does not tell it. Give --focal-mm for a trustworthy distance.",
        )
    if camera.source == "estimated":
        return (f"{FOCAL_NOTE}{camera.fx_px:.0f} px, within {percent} %) was estimated from {camera.evidence}.",)
    return ()
