# SPDX-License-Identifier: GPL-3.0-or-later
"""The term for joints as the landmark lifter has them: where limbs point, in depth above all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...models.landmark_lifter import load_lifter
from .kinematics import BODY_JOINTS, Posed, Skeleton, rigid_points
from .points import LANDMARK_NAMES
from .solver import System

if TYPE_CHECKING:
    from .body_fit import Observations

LIFTED_WIDTH = 3.0
"""Standard deviations at which a joint begins to count as an outlier."""
UNSEEN = 0.1
"""Weight of a joint whose landmark was not seen: what the network infers from the others is better than nothing."""
_SHOWN_BY = {"hip": "hip", "knee": "knee", "ankle": "ankle", "foot": "foot_index", "shoulder": "shoulder"}
_SHOWN_BY |= {"collar": "shoulder", "elbow": "elbow", "wrist": "wrist"}
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_HEAD = ("nose", "left_ear", "right_ear")


@dataclass(frozen=True)
class LiftedTerms:
    """22 joints of B people relative to the pelvis."""

    skeleton: Skeleton
    joints: np.ndarray
    """(B, 22, 3) metres relative to the pelvis, camera frame."""
    sigma_m: np.ndarray
    """(B, 22)."""
    shown: np.ndarray
    """(B, 22) 0 to 1, visibility of the landmarks that show the joint."""

    @classmethod
    def of(
        cls,
        skeleton: Skeleton,
        joint_names: tuple[str, ...],
        seen: Observations,
        focal_px: np.ndarray,
        is_known: np.ndarray,
    ) -> LiftedTerms:
        """From the landmarks of B people through lenses (B,) that are known (B,) or assumed."""
        from_centre_px = seen.points_px - seen.centre_px[:, None]
        lifted = load_lifter().lift(
            from_centre_px, seen.visibility, seen.metric_points, seen.size_px, focal_px, is_known
        )
        shown = np.stack([seen.visibility[:, _shown_by(name)].mean(1) for name in joint_names[:BODY_JOINTS]], 1)
        return cls(skeleton, lifted.joints, lifted.sigma_m, shown)

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Robust, since a limb may be taken for the other side's."""
        skeleton = self.skeleton
        on_body = rigid_points(skeleton, posed, skeleton.rest, skeleton.rest_betas, np.arange(BODY_JOINTS))
        residual = on_body.positions[:, 1:] - on_body.positions[:, :1] - self.joints[:, 1:]
        jacobian = on_body.jacobian[..., 1:] - on_body.jacobian[..., :1]
        shown = self.shown[:, 1:]
        weight = UNSEEN + (1 - UNSEEN) * shown
        width = LIFTED_WIDTH if robust else None
        system.add_seen(residual, jacobian, self.sigma_m[:, 1:], weight, width, seen_share=shown / weight)

    def of_rows(self, rows: np.ndarray) -> LiftedTerms:
        """Of some of the people."""
        return replace(self, joints=self.joints[rows], sigma_m=self.sigma_m[rows], shown=self.shown[rows])


def _shown_by(joint_name: str) -> list[int]:
    """The landmarks whose visibility tells whether a joint was seen."""
    side, _, part = joint_name.partition("_")
    if part in _SHOWN_BY:
        return [LANDMARK_NAMES.index(f"{side}_{_SHOWN_BY[part]}")]
    return [LANDMARK_NAMES.index(name) for name in (_HEAD if joint_name in ("head", "neck") else _TRUNK)]
