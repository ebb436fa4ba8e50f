# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen worse than usual for a moment, so that nothing is known of it: a leg behind another, a passing car."""

from __future__ import annotations

import numpy as np

from ..backends.base import BodyTrack

USUAL_WITHIN_S = 2.0
HIDDEN = 0.6
"""Less than this share of what is usual within that time counts as hidden."""
_SHOWN_BY = tuple(
    (f"{side}_ankle", f"{side}_{point}") for side in ("left", "right") for point in ("heel", "foot_index")
)
"""The keypoints that show each of the feet's contact points."""


def feet_hidden_for_a_moment(track: BodyTrack, times_s: np.ndarray) -> np.ndarray:
    """(F, 4) bool for heels and toes; times_s (F,). Nobody's who was not seen, or has no such keypoints."""
    hidden, frames = np.zeros((len(times_s), len(_SHOWN_BY)), bool), np.flatnonzero(track.present)
    if not len(frames) or not {name for names in _SHOWN_BY for name in names} <= set(track.keypoint_names):
        return hidden
    columns = np.array([[track.keypoint_names.index(name) for name in names] for names in _SHOWN_BY])
    seen = track.keypoints_px[frames][:, columns, 2].mean(-1)
    at_s = times_s[frames]
    first, last = (np.searchsorted(at_s, at_s + by_s) for by_s in (-USUAL_WITHIN_S, USUAL_WITHIN_S))
    usual = np.array([np.median(seen[a : max(b, a + 1)], 0) for a, b in zip(first, last, strict=True)])
    hidden[frames] = seen < HIDDEN * usual
    return hidden
