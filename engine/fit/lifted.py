# SPDX-License-Identifier: GPL-3.0-or-later
"""The term for joints as the landmark lifter has them: where limbs point, in depth above all, and where they end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...models.landmark_lifter import Lifted, View, load_lifter
from .kinematics import BODY_JOINTS, Posed, Skeleton, projected, rigid_points
from .points import LANDMARK_NAMES
from .solver import System

if TYPE_CHECKING:
    from .body_fit import Observations

LIFTED_WIDTH = 4.0
"""Standard deviations at which a joint begins to count as an outlier."""
UNSEEN = 0.2
"""Weight of a joint whose landmark was not seen: the network knows how unsure it is of it, but not quite."""
PICTURE_SIGMAS = 2.0
"""Standard deviation of a joint in the picture, in what the network says of it: landmarks say much the same again."""
SIZES = (0.8, 1.25)
"""Bodies are at most so much smaller and larger than the network has them."""
_SHOWN_BY = {"hip": "hip", "knee": "knee", "ankle": "ankle", "foot": "foot_index", "shoulder": "shoulder"}
_SHOWN_BY |= {"collar": "shoulder", "elbow": "elbow", "wrist": "wrist"}
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_HEAD = ("nose", "left_ear", "right_ear")


def look_through(seen: Observations, focal_px: np.ndarray, is_known: np.ndarray) -> Lifted:
    """What the network says of B people through lenses (B,) that are known (B,) or presumed."""
    return load_lifter().lift(
        View(
            points_px=seen.points_px - seen.centre_px[:, None],
            visibility=seen.visibility,
            metric_points=seen.metric_points,
            size_px=seen.size_px,
            angle_rad=seen.angle_rad,
            appearance=seen.appearance,
            focal_px=focal_px,
            is_known=is_known,
        )
    )


@dataclass(frozen=True)
class LiftedTerms:
    """22 joints of B people: where they are about the pelvis, and where in the picture."""

    skeleton: Skeleton
    lifted: Lifted
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
        rest_joints: np.ndarray,
    ) -> LiftedTerms:
        """From what was seen of B people through lenses (B,) that are known (B,) or presumed; rest_joints (B, 22, 3) of
        the bodies they are taken to have."""
        shown = np.stack([seen.visibility[:, _shown_by(name)].mean(1) for name in joint_names[:BODY_JOINTS]], 1)
        lifted = look_through(seen, focal_px, is_known)
        size = _size(lifted, rest_joints, skeleton.parents)
        return cls(skeleton, replace(lifted, joints=lifted.joints * size[:, None, None]), shown)

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Robust, since a limb may be taken for the other side's."""
        skeleton, lifted = self.skeleton, self.lifted
        on_body = rigid_points(skeleton, posed, skeleton.rest, skeleton.rest_betas, np.arange(BODY_JOINTS))
        weight = UNSEEN + (1 - UNSEEN) * self.shown
        share, width = self.shown / weight, LIFTED_WIDTH if robust else None
        pixels, by_pixels = projected(on_body, posed.state.focal_px)
        sigma_px = PICTURE_SIGMAS * lifted.sigma_px
        system.add_seen(pixels - lifted.points_px, by_pixels, sigma_px, weight, width, seen_share=share)
        off_m = on_body.positions[:, 1:] - on_body.positions[:, :1] - lifted.joints[:, 1:]
        by_off = on_body.jacobian[..., 1:] - on_body.jacobian[..., :1]
        system.add_seen(off_m, by_off, lifted.sigma_m[:, 1:], weight[:, 1:], width, seen_share=share[:, 1:])

    def of_rows(self, rows: np.ndarray) -> LiftedTerms:
        """Of some of the people."""
        return replace(self, lifted=self.lifted.of_rows(rows), shown=self.shown[rows])


def _size(lifted: Lifted, rest_joints: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """(B,) how much larger a body is than the network has it.

    Pictures do not tell how large people are, and what is uncertain is told too short: the mean of all the places where
    a hand may be lies nearer than any of them. So the network tells where bones point, not how long they are.
    """
    bones = np.linalg.norm(rest_joints - rest_joints[:, parents], axis=2)[:, 1:]
    told = np.linalg.norm(lifted.joints - lifted.joints[:, parents], axis=2)[:, 1:]
    trust = lifted.sigma_m[:, 1:] ** -2
    return ((trust * bones).sum(1) / (trust * told).sum(1)).clip(*SIZES)


def _shown_by(joint_name: str) -> list[int]:
    """The landmarks whose visibility tells whether a joint was seen."""
    side, _, part = joint_name.partition("_")
    if part in _SHOWN_BY:
        return [LANDMARK_NAMES.index(f"{side}_{_SHOWN_BY[part]}")]
    return [LANDMARK_NAMES.index(name) for name in (_HEAD if joint_name in ("head", "neck") else _TRUNK)]
