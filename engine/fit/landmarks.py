# SPDX-License-Identifier: GPL-3.0-or-later
"""Terms for landmarks: where they lie in the picture, and where MediaPipe says they lie in metres."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...models.rotations import cross_matrix
from .kinematics import ALL_ROWS, BodyPoints, Posed, Rows, Skeleton, projected, rigid_points
from .points import LandmarkPoints
from .solver import System

IMAGE_SIGMA = 0.015
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
    """(B,) standard deviation of an image landmark."""
    metric: np.ndarray
    """(B, N, 3) metres from the middle of the anchors, camera axes."""
    anchors: np.ndarray
    """Which of the N the metric landmarks are relative to (for the whole body, the hips)."""
    metric_sigma_m: float = METRIC_SIGMA_M
    """Standard deviation of a metric landmark; infinite where others know the depths better."""
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
        system.add_seen(pixels - self.observed_px, by_pixels, self.sigma_px[:, None], self.visibility, width, self.rows)
        if not np.isfinite(self.metric_sigma_m):
            return
        residual, jacobian = self._metric(on_body)
        width, weight = METRIC_WIDTH if robust else None, METRIC_WEIGHT * self.visibility
        system.add_seen(residual, jacobian, self.metric_sigma_m, weight, width, self.rows)

    def of_rows(self, rows: np.ndarray) -> LandmarkTerms:
        """Of some of the system's people."""
        if isinstance(self.rows, slice):
            kept, own = rows, self.rows
        else:
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

        Metric landmarks are as seen by an orthographic camera that looks at the anchors, so they are turned by the
        viewing ray before they are compared (specification 4.1).
        """
        share = np.zeros(self.metric.shape[1], np.float32)
        share[self.anchors] = 1 / len(self.anchors)
        middle = share @ on_body.positions
        distance = np.sqrt(np.square(middle).sum(-1))[:, None, None]
        ray = middle / distance[:, 0]
        turned = self.metric @ _onto(ray).swapaxes(1, 2)
        by_middle = on_body.jacobian @ share  # (B, 80, 3)
        # As the ray swings, the metric landmarks turn about ray x d(ray); a turn w moves a point by w x point.
        swing = by_middle @ (cross_matrix(ray) / distance).astype(np.float32).swapaxes(1, 2)
        by_swing = cross_matrix(turned.astype(np.float32)).transpose(0, 3, 2, 1)  # (B, 3, 3, N)
        jacobian = (swing @ by_swing.reshape(len(ray), 3, 3 * turned.shape[1])).reshape(on_body.jacobian.shape)
        jacobian += on_body.jacobian
        jacobian -= by_middle[..., None]
        return on_body.positions - middle[:, None] - turned, jacobian


def _onto(ray: np.ndarray) -> np.ndarray:
    """(B, 3) unit, in front of the camera -> (B, 3, 3): the smallest rotation from the optical axis to the ray."""
    x, y, z = ray.T
    zero = np.zeros_like(x)
    cross = cross_matrix(np.stack([-y, x, zero], -1))
    return np.eye(3) + cross + cross @ cross / (1 + z)[:, None, None]
