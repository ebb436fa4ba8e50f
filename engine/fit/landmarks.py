# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms for landmarks: where they lie in the picture, and where MediaPipe says they lie in metres."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...models.rotations import cross_matrix
from .kinematics import ALL_ROWS, UNKNOWNS, BodyPoints, Posed, Rows, Skeleton, projected, rigid_points
from .points import LandmarkPoints
from .solver import System

IMAGE_SIGMA = 0.022
"""Standard deviation of an image landmark, as a share of the person's size in the picture."""
IMAGE_WIDTH = 3.0
"""Standard deviations at which an image landmark begins to count as an outlier."""
METRIC_SIGMA_M = 0.10
"""Standard deviation of a metric landmark relative to the hips, mostly in depth (measured on renders)."""
METRIC_WIDTH = 2.5
METRIC_WEIGHT = 1.0
"""Metric and image landmarks come from one network, so they are not two independent observations."""


@dataclass(frozen=True)
class LandmarkTerms:
    """N image and metric landmarks of B people."""

    skeleton: Skeleton
    points: LandmarkPoints
    observed_px: np.ndarray
    """(B, N, 2) pixels from the principal point."""
    visibility: np.ndarray
    """(B, N) 0 to 1."""
    sigma_px: np.ndarray
    """(B, N), or (B, 1) for all alike, standard deviation of an image landmark."""
    metric: np.ndarray
    """(B, N, 3) metres from where it is measured, camera axes."""
    middles: np.ndarray
    """(G, N) float32, rows sum to 1: means that landmarks are measured from (for the whole body, of the hips)."""
    measured_from: np.ndarray
    """(N,) which of the middles a metric landmark is relative to."""
    metric_sigma_m: float | np.ndarray = METRIC_SIGMA_M
    """Standard deviation of a metric landmark; infinite where others know the depths better. For all, or (N,)."""
    rows: Rows = field(default_factory=lambda: ALL_ROWS)
    """Which of the system's people the B are."""

    def body_points(self, posed: Posed) -> BodyPoints:
        """The landmarks on the body."""
        points = self.points
        return rigid_points(self.skeleton, posed, points.rest, points.rest_shapedirs, points.owners)

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Both kinds of landmarks."""
        on_body = self.body_points(posed.rows(self.rows))
        pixels, by_pixels = projected(on_body, posed.state.focal_px[self.rows])
        width = IMAGE_WIDTH if robust else None
        system.add_seen(pixels - self.observed_px, by_pixels, self.sigma_px, self.visibility, width, self.rows)
        if not np.isfinite(self.metric_sigma_m).all():
            return
        residual, jacobian = self._metric(on_body)
        width, weight = METRIC_WIDTH if robust else None, METRIC_WEIGHT * self.visibility
        system.add_seen(residual, jacobian, self.metric_sigma_m, weight, width, self.rows)

    def of_rows(self, rows: np.ndarray) -> LandmarkTerms:
        """Of some of the system's people."""
        kept, own = rows, self.rows
        if not isinstance(self.rows, slice):
            kept = np.flatnonzero(np.isin(self.rows, rows))
            own = np.searchsorted(rows, self.rows[kept])
        return replace(
            self,
            observed_px=self.observed_px[kept],
            visibility=self.visibility[kept],
            sigma_px=self.sigma_px[kept],
            metric=self.metric[kept],
            rows=own,
        )

    def _metric(self, on_body: BodyPoints) -> tuple[np.ndarray, np.ndarray]:
        """(B, N, 3) metres and (B, 80, 3, N).

        Metric landmarks are as seen by an orthographic camera that looks at what they are measured from, so they are
        turned by the viewing ray before they are compared (specification 4.1).
        """
        count, points = self.metric.shape[:2]
        middle = (self.middles @ on_body.positions)[:, self.measured_from]
        distance = np.sqrt(np.square(middle).sum(-1))[..., None]
        ray = middle / distance
        turned = (_onto(ray) @ self.metric[..., None])[..., 0]
        # As the ray swings, the metric landmarks turn about ray x d(ray); a turn w moves a point by w x point.
        by_middle = cross_matrix(turned) @ cross_matrix(ray) / distance[..., None] - np.eye(3)  # (B, N, 3, 3)
        own = np.arange(len(self.middles))[:, None] == self.measured_from
        by_middle = by_middle.astype(np.float32).transpose(0, 3, 2, 1)[:, :, None] * own[:, None]  # (B, 3, G, 3, N)
        middles = on_body.jacobian @ self.middles.T  # (B, 80, 3, G)
        jacobian = middles.reshape(count, UNKNOWNS, 3 * len(own)) @ by_middle.reshape(count, 3 * len(own), 3 * points)
        jacobian = jacobian.reshape(on_body.jacobian.shape)
        jacobian += on_body.jacobian
        return on_body.positions - middle - turned, jacobian


def _onto(ray: np.ndarray) -> np.ndarray:
    """(..., 3) unit, in front of the camera -> (..., 3, 3): the smallest rotation from the optical axis to the ray."""
    x, y, z = np.moveaxis(ray, -1, 0)
    zero = np.zeros_like(x)
    cross = cross_matrix(np.stack([-y, x, zero], -1))
    return np.eye(3) + cross + cross @ cross / (1 + z)[..., None, None]
