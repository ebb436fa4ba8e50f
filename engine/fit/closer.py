# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms for what was seen of hands and face from close up: they turn the wrists, the forearms and the head.

Only points that are rigid with the wrist or the head take part; fingers, jaw and expression are fitted afterwards
(`fingers`, `face`), when the hand and the head are where they belong.
"""

from __future__ import annotations

import numpy as np

from ..mediapipe_graphs import Details
from .kinematics import load_skeleton
from .landmarks import LandmarkTerms
from .points import LandmarkPoints, face_points, hand_root_points

HAND_SIGMA, FACE_SIGMA = 0.15, 0.05
"""Standard deviation of a point, as a share of the size of the hand's root or of the face: people differ."""
HAND_TRUST, FACE_TRUST = 0.4, 0.25
"""Weight of each point. Those of one hand or face err together."""


def closer_terms(details: tuple[Details, ...], body_name: str, centre_px: np.ndarray) -> tuple[LandmarkTerms, ...]:
    """Left hands, right hands and faces of B people; weight 0 where one was not seen. centre_px (B, 2)."""
    hands = [
        _term(
            [getattr(d, f"{side}_hand") for d in details],
            hand_root_points(body_name, side),
            body_name,
            centre_px,
            HAND_SIGMA,
            HAND_TRUST,
        )
        for side in ("left", "right")
    ]
    faces = _term([d.face for d in details], face_points(body_name), body_name, centre_px, FACE_SIGMA, FACE_TRUST)
    return tuple(term for term in (*hands, faces) if term.visibility.any())


def _term(
    seen: list[np.ndarray | None],
    points: LandmarkPoints,
    body_name: str,
    centre_px: np.ndarray,
    sigma: float,
    trust: float,
) -> LandmarkTerms:
    count, number = len(seen), len(points.indices)
    size_m = _size(points.rest)
    observed, metric = np.zeros((count, number, 2)), np.zeros((count, number, 3))
    visibility, sigma_px = np.zeros((count, number)), np.ones(count)
    for row, found in enumerate(seen):
        if found is None:
            continue
        chosen = found[points.indices]
        size_px = max(_size(chosen), 1.0)
        observed[row] = chosen[:, :2] - centre_px[row]
        metric[row] = (chosen - chosen.mean(0)) * size_m / size_px
        visibility[row], sigma_px[row] = trust, sigma * size_px
    return LandmarkTerms(
        skeleton=load_skeleton(body_name),
        points=points,
        observed_px=observed,
        visibility=visibility,
        sigma_px=sigma_px,
        metric=metric,
        anchors=np.arange(number),
        metric_sigma_m=sigma * size_m,
    )


def _size(points: np.ndarray) -> float:
    """Diameter of (N, 3) points: twice their root mean square distance from the middle."""
    return 2 * float(np.sqrt(np.square(points - points.mean(0)).sum(1).mean()))
