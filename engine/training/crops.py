# SPDX-License-Identifier: GPL-3.0-or-later
"""What TokenHMR and HMR train on: crops with labels, and the body that predictions are posed with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...models.rotations_torch import rotvec_to_matrix
from .augment import Augmentation, applied, draw
from .batch import Batch
from .bodies import TrainingBody
from .data.people import LabelledPerson
from .extreme_crop import PROBABILITY, Box, extreme_crop
from .tals import PELVIS, Labels


@dataclass(frozen=True)
class CropPreparation:
    """A labelled person -> the arrays of one crop."""

    augment: bool = True
    extreme_share: float = PROBABILITY
    """How often a person is cut down to a part."""

    def __call__(self, person: LabelledPerson, random: np.random.Generator) -> dict[str, np.ndarray]:
        sample = person.sample
        if self.augment and random.random() < self.extreme_share:
            box = extreme_crop(Box(sample.center_px, sample.side_px), sample.keypoints_2d, random.random())
            sample = replace(sample, center_px=box.center_px, side_px=box.side_px)
        example = applied(sample, draw(random) if self.augment else Augmentation())
        values = {
            "picture": example.picture,
            "keypoints_2d": example.keypoints_2d,
            "keypoints_3d": example.keypoints_3d,
            "global_orient": example.global_orient,
            "body_pose": example.body_pose,
            "betas": person.betas,
            "has_pose": person.has_pose,
            "has_betas": person.has_betas,
            "measured": person.measured,
        }
        return {name: np.asarray(value, np.float32) for name, value in values.items()}


def labels_of(batch: Batch) -> Labels:
    """A batch as the losses take it."""
    return Labels(
        keypoints_2d=batch["keypoints_2d"][..., :2],
        keypoints_3d=batch["keypoints_3d"][..., :3],
        confidence_2d=batch["keypoints_2d"][..., 2],
        confidence_3d=batch["keypoints_3d"][..., 3],
        global_orient=rotvec_to_matrix(batch["global_orient"])[:, None],
        body_pose=rotvec_to_matrix(batch["body_pose"]),
        betas=batch["betas"],
        has_pose=batch["has_pose"],
        has_betas=batch["has_betas"],
        measured=batch["measured"],
    )


def joint_errors(keypoints: Tensor, labels: Labels) -> dict[str, Tensor]:
    """Mean over labelled joints: mpjpe_mm of the 44 keypoints, pelvis on pelvis."""
    ours = keypoints - keypoints[:, [PELVIS]]
    theirs = labels.keypoints_3d - labels.keypoints_3d[:, [PELVIS]]
    weights = labels.confidence_3d
    error = ((ours - theirs).norm(dim=-1) * weights).sum() / weights.sum().clamp_min(1)
    return {"mpjpe_mm": 1000 * error}


def evaluated(model: torch.nn.Module, body: TrainingBody, batches: Iterator[Batch]) -> dict[str, float]:
    """mpjpe_mm and pixel error (percent of the crop's side) over held-out people; `score` is the first."""
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    count = 0
    for batch in batches:
        on_device = {name: value.to(device) for name, value in batch.items()}
        predicted = model.predicted(on_device["picture"])
        labels = labels_of(on_device)
        flat = (predicted.keypoints_2d - labels.keypoints_2d).norm(dim=-1)
        seen = labels.confidence_2d
        figures = joint_errors(predicted.keypoints_3d, labels) | {
            "pixels_percent": 100 * (flat * seen).sum() / seen.sum().clamp_min(1)
        }
        size = len(on_device["picture"])
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + float(value) * size
        count += size
    if not count:
        return {}
    figures = {name: value / count for name, value in sums.items()}
    return figures | {"score": figures["mpjpe_mm"]}
