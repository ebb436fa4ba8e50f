# SPDX-License-Identifier: GPL-3.0-or-later
"""Threshold-adaptive loss scaling: labels that are only roughly right pull only until the prediction is roughly right.

Paper: Dwivedi et al., "TokenHMR" (CVPR 2024), section 3.1; the details are those of the released training, which differ
from the paper's (a squared distance is compared with the 2-D threshold, and it applies to every data set). All losses
are sums over the batch, as released.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PELVIS = 39  # root of the 44 joints
ROOT_THRESHOLD_RAD = 0.46

# Squared distance in crop widths, times confidence, from which on a 2-D joint pulls fully; 44 joints.
KEYPOINT_THRESHOLDS = (
    *(0.0085024, 0.00648666, 0.00747825, 0.01103439, 0.01355629, 0.00741691, 0.01096735, 0.01414461, 0.00974212),
    *(0.01127469, 0.01663222, 0.00564927, 0.01126335, 0.01615757, 0.00532595, 0.00829731, 0.00831497, 0.00737241),
    *(0.00743286, 0.00543739, 0.00550524, 0.00535504, 0.00565414, 0.00581685, 0.00573041, 0.00554029, 0.01515258),
    *(0.00986267, 0.00997563, 0.01519944, 0.00511402, 0.01288267, 0.01105894, 0.00710525, 0.00709785, 0.01092387),
    *(0.01388091, 0.00648326, 0.00766487, 0.00931454, 0.00646622, 0.00677057, 0.00744011, 0.00752381),
)
# Angle in radians from which on a joint's rotation pulls fully, before the factor below; SMPL joints 1..23.
_POSE_STATISTICS_RAD = (
    *(0.273709, 0.26481161, 0.1838198, 0.41490657, 0.37521194, 0.20793171, 0.24905021, 0.33887333, 0.14481062),
    *(0.35632194, 0.34944217, 0.30542146, 0.32835298, 0.33110567, 0.34813467, 0.36357761, 0.40062272, 0.43493496),
    *(0.4400709, 0.78017052, 0.7375746, 0.24927082, 0.24966981),
)
POSE_THRESHOLDS_RAD = tuple(0.8 * angle for angle in _POSE_STATISTICS_RAD)


@dataclass(frozen=True)
class Weights:
    """How much each term counts in the total; as released."""

    keypoints_3d: float = 0.05
    keypoints_2d: float = 0.01
    global_orient: float = 0.001
    body_pose: float = 0.001
    betas: float = 0.0005


@dataclass(frozen=True)
class Predicted:
    keypoints_2d: Tensor
    """(B, 44, 2) crop widths, -0.5 to 0.5."""
    keypoints_3d: Tensor
    """(B, 44, 3) metres."""
    global_orient: Tensor
    """(B, 1, 3, 3)."""
    body_pose: Tensor
    """(B, 23, 3, 3)."""
    betas: Tensor
    """(B, 10)."""


@dataclass(frozen=True)
class Labels(Predicted):
    confidence_2d: Tensor
    """(B, 44), 0 where a joint is not labelled."""
    confidence_3d: Tensor
    """(B, 44)."""
    has_pose: Tensor
    """(B,) 1 where the pose is labelled."""
    has_betas: Tensor
    """(B,)."""
    measured: Tensor
    """(B,) 1 where 3-D labels were measured or rendered (Human3.6M, BEDLAM), 0 where they were fitted to pictures."""


@dataclass(frozen=True)
class Terms:
    """Scalars; `keypoints_2d` and so on are not weighted yet."""

    keypoints_2d: Tensor
    keypoints_3d: Tensor
    global_orient: Tensor
    body_pose: Tensor
    betas: Tensor

    def total(self, weights: Weights | None = None) -> Tensor:
        weights = weights or Weights()
        return sum(getattr(self, name) * getattr(weights, name) for name in Weights.__dataclass_fields__)


def plain_losses(predicted: Predicted, labels: Labels) -> Terms:
    """Without thresholds: what validation reports, and training with the scaling switched off."""
    return Terms(
        keypoints_2d=(labels.confidence_2d[..., None] * _flat_errors(predicted, labels)).sum(),
        keypoints_3d=(labels.confidence_3d[..., None] * _rooted_errors(predicted, labels)).sum(),
        global_orient=(labels.has_pose[:, None] * _squared(predicted.global_orient, labels.global_orient)).sum(),
        body_pose=(labels.has_pose[:, None] * _squared(predicted.body_pose, labels.body_pose)).sum(),
        betas=(labels.has_betas[:, None] * (predicted.betas - labels.betas).square()).sum(),
    )


def adaptive_losses(predicted: Predicted, labels: Labels, loose: float = 0.05) -> Terms:
    """With thresholds: beyond them a label counts fully, within them by `loose` (released 0.05, paper 0.01)."""
    measured, has_pose = labels.measured[:, None], labels.has_pose[:, None]
    with torch.no_grad():
        far = strong_keypoints(predicted, labels)  # (B, 44)
        trusted = (measured + labels.confidence_2d * far) > 0.5  # a 3-D joint that a confident, distant 2-D one backs
        confidence_3d = labels.confidence_3d * trusted
    flat = labels.confidence_2d[..., None] * _flat_errors(predicted, labels)
    far_or_loose = torch.where(far, 1.0, loose)[..., None]

    def pose_loss(prediction: Tensor, label: Tensor, thresholds_rad: tuple[float, ...]) -> Tensor:
        with torch.no_grad():
            wrong = geodesic_rad(prediction, label) > torch.tensor(thresholds_rad, device=label.device)
            # Measured poses count fully even where the label says that there is no pose: so it was trained.
            fully = ((wrong & (has_pose > 0)) | (measured > 0)).to(label.dtype)
            weight = fully + loose * (1 - fully) * has_pose
        return (weight * _squared(prediction, label)).sum()

    return Terms(
        keypoints_2d=(far_or_loose * flat).sum(),
        keypoints_3d=(confidence_3d[..., None] * _rooted_errors(predicted, labels)).sum(),
        global_orient=pose_loss(predicted.global_orient, labels.global_orient, (ROOT_THRESHOLD_RAD,)),
        body_pose=pose_loss(predicted.body_pose, labels.body_pose, POSE_THRESHOLDS_RAD),
        betas=(labels.has_betas[:, None] * measured * (predicted.betas - labels.betas).square()).sum(),
    )


def paper_losses(predicted: Predicted, labels: Labels, loose: float = 0.01) -> Terms:
    """As the paper says it, where the released program differs.

    The 2-D threshold is a mean absolute distance, and only labels that were fitted to the picture are scaled by it; 3-D
    joints and shape are learnt from measured labels alone.
    """
    measured = labels.measured[:, None]
    released = adaptive_losses(predicted, labels, loose)  # rotations are treated alike
    flat = _flat_errors(predicted, labels)
    with torch.no_grad():
        far = flat.mean(-1) > torch.tensor(KEYPOINT_THRESHOLDS, device=flat.device)
        weight = torch.where(far | (measured > 0), 1.0, loose) * labels.confidence_2d
    rooted = _rooted_errors(predicted, labels)
    return Terms(
        keypoints_2d=(weight[..., None] * flat).sum(),
        keypoints_3d=((labels.confidence_3d * measured)[..., None] * rooted).sum(),
        global_orient=released.global_orient,
        body_pose=released.body_pose,
        betas=released.betas,
    )


def strong_keypoints(predicted: Predicted, labels: Labels) -> Tensor:
    """(B, 44) bool: 2-D joints beyond their threshold."""
    distance = labels.confidence_2d * (predicted.keypoints_2d - labels.keypoints_2d).square().sum(-1)
    return distance > torch.tensor(KEYPOINT_THRESHOLDS, device=distance.device)


def geodesic_rad(a: Tensor, b: Tensor) -> Tensor:
    """(…, 3, 3) twice -> (…) angle between the rotations, radians."""
    trace = (a * b).sum((-1, -2))  # of aᵀ b
    return torch.acos(((trace - 1) / 2).clamp(-1, 1))


def _flat_errors(predicted: Predicted, labels: Labels) -> Tensor:
    return (predicted.keypoints_2d - labels.keypoints_2d).abs()  # (B, 44, 2)


def _rooted_errors(predicted: Predicted, labels: Labels) -> Tensor:
    ours = predicted.keypoints_3d - predicted.keypoints_3d[:, PELVIS : PELVIS + 1]
    theirs = labels.keypoints_3d - labels.keypoints_3d[:, PELVIS : PELVIS + 1]
    return (ours - theirs).abs()  # (B, 44, 3)


def _squared(prediction: Tensor, label: Tensor) -> Tensor:
    return (prediction - label).square().sum((-1, -2))  # (B, joints)
