# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms for what was seen of hands and face from close up: they turn the wrists, the forearms and the head.

Only points that are rigid with the wrist or the head take part; fingers, jaw and expression are fitted afterwards
(`fingers`, `face`), when the hand and the head are where they belong.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

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
    """Hands and faces of those of B people of whom any was seen; nothing where none was. centre_px (B, 2).

    In a clip, close-ups are few: only their frames are computed.
    """
    rows = np.array([row for row, d in enumerate(details) if any(part is not None for part in vars(d).values())], int)
    if not len(rows):
        return ()
    near = [details[row] for row in rows]
    parts = [
        _Part.of([d.left_hand for d in near], hand_root_points(body_name, "left"), HAND_SIGMA, HAND_TRUST),
        _Part.of([d.right_hand for d in near], hand_root_points(body_name, "right"), HAND_SIGMA, HAND_TRUST),
        _Part.of([d.face for d in near], face_points(body_name), FACE_SIGMA, FACE_TRUST),
    ]
    sizes = [len(part.points.indices) for part in parts]
    whose = np.repeat(np.arange(len(parts)), sizes)
    term = LandmarkTerms(
        skeleton=load_skeleton(body_name),
        points=LandmarkPoints(
            *(np.concatenate([getattr(part.points, f.name) for part in parts]) for f in fields(LandmarkPoints))
        ),
        observed_px=np.concatenate([part.seen_px[..., :2] for part in parts], 1) - centre_px[rows, None],
        visibility=np.concatenate([part.trust for part in parts], 1),
        sigma_px=np.concatenate([part.sigma_px for part in parts], 1),
        metric=np.concatenate([part.metric for part in parts], 1),
        # Each part is measured from its own middle.
        middles=((np.arange(len(parts))[:, None] == whose) / np.repeat(sizes, sizes)).astype(np.float32),
        measured_from=whose,
        metric_sigma_m=np.repeat([part.sigma_m for part in parts], sizes),
        rows=rows,
    )
    return (term,)


@dataclass(frozen=True)
class _Part:
    """A hand or the face of R people."""

    points: LandmarkPoints
    seen_px: np.ndarray
    """(R, N, 3) pixels, the third towards the back; zero where it was not seen."""
    trust: np.ndarray
    """(R, N)."""
    sigma_px: np.ndarray
    """(R, N)."""
    metric: np.ndarray
    """(R, N, 3) metres from its middle."""
    sigma_m: float

    @classmethod
    def of(cls, seen: list[np.ndarray | None], points: LandmarkPoints, sigma: float, trust: float) -> _Part:
        count = len(points.indices)
        chosen = np.array([np.zeros((count, 3)) if found is None else found[points.indices] for found in seen])
        was_seen = np.array([found is not None for found in seen])
        size_m, size_px = float(_size(points.rest)), np.maximum(_size(chosen), 1.0)[:, None]
        return cls(
            points=points,
            seen_px=chosen,
            trust=np.tile(trust * was_seen[:, None], (1, count)),
            sigma_px=np.tile(sigma * size_px, (1, count)),
            metric=(chosen - chosen.mean(1, keepdims=True)) * (size_m / size_px)[..., None],
            sigma_m=sigma * size_m,
        )


def _size(points: np.ndarray) -> np.ndarray:
    """Diameter of (..., N, 3) points: twice their root mean square distance from the middle."""
    return 2 * np.sqrt(np.square(points - points.mean(-2, keepdims=True)).sum(-1).mean(-1))
