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
    """Left hands, right hands and faces of those of B people whose were seen. centre_px (B, 2)."""
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
    return tuple(term for term in (*hands, faces) if term is not None)


def _term(
    seen: list[np.ndarray | None],
    points: LandmarkPoints,
    body_name: str,
    centre_px: np.ndarray,
    sigma: float,
    trust: float,
) -> LandmarkTerms | None:
    """None where nobody's was seen. In a clip, close-ups are few: only their frames are computed."""
    rows = np.array([row for row, found in enumerate(seen) if found is not None], int)
    if not len(rows):
        return None
    chosen = np.array([found[points.indices] for found in seen if found is not None])  # (R, N, 3)
    size_m, size_px = _size(points.rest), np.maximum(_size(chosen), 1.0)
    return LandmarkTerms(
        skeleton=load_skeleton(body_name),
        points=points,
        observed_px=chosen[..., :2] - centre_px[rows, None],
        visibility=np.full(chosen.shape[:2], trust),
        sigma_px=sigma * size_px,
        metric=(chosen - chosen.mean(1, keepdims=True)) * (size_m / size_px)[:, None, None],
        anchors=np.arange(len(points.indices)),
        metric_sigma_m=sigma * float(size_m),
        rows=rows,
    )


def _size(points: np.ndarray) -> np.ndarray:
    """Diameter of (..., N, 3) points: twice their root mean square distance from the middle."""
    return 2 * np.sqrt(np.square(points - points.mean(-2, keepdims=True)).sum(-1).mean(-1))
