# SPDX-License-Identifier: GPL-3.0-or-later
"""Sightings of people, as the fit takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..cameras import Pinhole
from ..detect import Detection
from ..follow import Sighting
from .body_fit import Observations


def observations(
    people: Sequence[Detection | Sighting], camera: Pinhole, heights_m: np.ndarray, keep_focal: bool = False
) -> Observations:
    """Sightings as the fit takes them, a row each; heights_m (B,), NaN where unknown."""
    count = len(people)
    boxes = np.array([person.box_px for person in people])
    is_known = camera.is_known or keep_focal
    return Observations(
        points_px=np.array([person.points_px for person in people]),
        visibility=np.array([person.visibility for person in people]),
        metric_points=np.array([person.metric_points for person in people]),
        size_px=np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1),
        centre_px=camera.centres_px(count),
        focal_px=camera.focals_px(count),
        focal_sigma=np.full(count, 0.0 if is_known else camera.fx_sigma),
        height_m=heights_m,
        details=tuple(person.details for person in people),
        angle_rad=np.array([person.angle_rad for person in people]),
        appearance=np.array([person.appearance for person in people]),
    )


class Masks(Sequence[np.ndarray]):
    """The sightings' masks (H, W) bool, unpacked one at a time."""

    def __init__(self, people: Sequence[Detection | Sighting]) -> None:
        self._people = people

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, row: int) -> np.ndarray:  # type: ignore[override]  # nobody cuts it into slices
        mask = self._people[row].mask
        return mask if isinstance(mask, np.ndarray) else mask.whole()
