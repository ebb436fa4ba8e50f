# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation and losses behave like the physics they stand for. (Their numbers: models/test_tokenhmr_parity.py.)"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from recover_body.engine.training import augment, extreme_crop, tals
from recover_body.engine.training.vocabulary import Vocabulary
from recover_body.models.pose_tokens import Quantizer, TokenizerConfig
from recover_body.models.rotations_torch import rotvec_to_matrix


@pytest.fixture
def sample() -> augment.Sample:
    """A picture whose only bright spot is keypoint 0."""
    random = np.random.default_rng(2)
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(image, (230, 140), 5, (255, 255, 255), -1)
    keypoints = np.concatenate([random.uniform(80, 300, (44, 2)), np.ones((44, 1))], 1)
    keypoints[0, :2] = 230, 140
    return augment.Sample(
        image_rgb=image,
        center_px=np.array([210.0, 150.0]),
        side_px=220.0,
        keypoints_2d=keypoints,
        keypoints_3d=np.concatenate([random.standard_normal((44, 3)), np.ones((44, 1))], 1),
        global_orient=random.standard_normal(3),
        body_pose=random.standard_normal((23, 3)),
    )


@pytest.mark.parametrize("seed", range(6))
def test_labels_follow_the_picture(sample, seed):
    example = augment.applied(sample, augment.draw(np.random.default_rng(seed)))
    spot_y, spot_x = np.argwhere(example.picture.sum(0) > example.picture.sum(0).max() - 1).mean(0)
    np.testing.assert_allclose((example.keypoints_2d[0, :2] + 0.5) * 256, (spot_x, spot_y), atol=1.0)


def test_mirroring_twice_changes_nothing(sample):
    mirror = augment.Augmentation(mirror=True)
    once = augment.applied(sample, mirror)
    keypoints = once.keypoints_2d.copy()
    back = augment.turned_pose(once.global_orient, once.body_pose, mirror)
    np.testing.assert_allclose(
        back[0], augment.turned_pose(sample.global_orient, sample.body_pose, augment.Augmentation())[0], atol=1e-6
    )
    np.testing.assert_allclose(back[1], sample.body_pose, atol=1e-6)
    keypoints[:, 0] *= -1
    unmirrored = augment.applied(dataclasses.replace(sample, image_rgb=sample.image_rgb), augment.Augmentation())
    moved = keypoints[list(augment.MIRRORED_KEYPOINTS), :2] - unmirrored.keypoints_2d[:, :2]
    np.testing.assert_allclose(moved, 0, atol=1e-6)


def test_keypoints_turn_with_the_body(sample):
    example = augment.applied(sample, augment.Augmentation(rotation_deg=35.0))
    before = rotvec_to_matrix(torch.from_numpy(sample.global_orient)).numpy()
    after = rotvec_to_matrix(torch.from_numpy(example.global_orient.astype(np.float64))).numpy()
    np.testing.assert_allclose(
        example.keypoints_3d[:, :3], sample.keypoints_3d[:, :3] @ (after @ before.T).T, atol=1e-5
    )


def test_draws_stay_in_their_bounds():
    random = np.random.default_rng(0)
    draws = [augment.draw(random) for _ in range(500)]
    assert max(abs(value) for each in draws for value in each.shift) <= 0.02
    assert min(each.scale for each in draws) >= 0.7 and max(each.scale for each in draws) <= 1.3
    assert max(abs(each.rotation_deg) for each in draws) <= 60
    assert 0.3 < np.mean([each.rotation_deg == 0 for each in draws]) < 0.5
    assert 0.4 < np.mean([each.mirror for each in draws]) < 0.6


def test_too_little_in_view_is_not_cut_further():
    box = extreme_crop.Box(np.array([100.0, 100.0]), 80.0)
    keypoints = np.zeros((44, 3))
    keypoints[:2] = (50, 60, 1)
    assert extreme_crop.extreme_crop(box, keypoints, 0.1) is box


def _bodies(count: int) -> dict[str, torch.Tensor]:
    return {
        "keypoints_2d": torch.rand(count, 44, 2) - 0.5,
        "keypoints_3d": torch.randn(count, 44, 3),
        "global_orient": rotvec_to_matrix(torch.randn(count, 1, 3)),
        "body_pose": rotvec_to_matrix(torch.randn(count, 23, 3)),
        "betas": torch.randn(count, 10),
    }


def _labels(bodies: dict[str, torch.Tensor], measured: float) -> tals.Labels:
    ones = torch.ones(len(bodies["betas"]))
    confidence = torch.ones(len(ones), 44)
    return tals.Labels(
        **bodies,
        confidence_2d=confidence,
        confidence_3d=confidence,
        has_pose=ones,
        has_betas=ones,
        measured=ones * measured,
    )


def test_a_perfect_prediction_costs_nothing():
    bodies = _bodies(3)
    assert tals.adaptive_losses(tals.Predicted(**bodies), _labels(bodies, 1.0)).total() == 0


def test_fitted_labels_pull_softly_on_what_is_nearly_right():
    bodies = _bodies(3)
    turned = bodies | {"body_pose": bodies["body_pose"] @ rotvec_to_matrix(torch.full((3, 23, 3), 0.02))}
    predicted = tals.Predicted(**turned)
    soft = tals.adaptive_losses(predicted, _labels(bodies, 0.0)).body_pose
    full = tals.adaptive_losses(predicted, _labels(bodies, 1.0)).body_pose
    torch.testing.assert_close(soft, 0.05 * full)


def test_training_of_the_vocabulary_resumes_where_it_stopped():
    config = TokenizerConfig(codes=16, code_width=4)
    batches = torch.randn(4, 3, 4, 10)
    straight, first, second = (Vocabulary(Quantizer(config)) for _ in range(3))
    for batch in batches:
        straight(batch)
    for batch in batches[:2]:
        first(batch)
    second.load_state_dict(first.state_dict())
    for batch in batches[2:]:
        second(batch)
    assert torch.equal(second.quantizer.codebook, straight.quantizer.codebook)


def test_gradients_go_straight_through_the_words():
    vocabulary, latents = Vocabulary(Quantizer(TokenizerConfig(codes=8, code_width=4))), torch.randn(2, 4, 10)
    latents.requires_grad_()
    vocabulary(latents).vectors.sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))
