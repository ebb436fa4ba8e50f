# SPDX-License-Identifier: GPL-3.0-or-later
"""Three cameras that become each other where they should, and HMR, which looks through the simplest."""

from __future__ import annotations

import torch

from recover_body.models import projection
from recover_body.models.hmr import FeedbackRegressor, Hmr, HmrConfig
from recover_body.models.resnet import FrozenBatchNorm, ResNet
from recover_body.models.rotations_torch import angle_between, rotvec_to_matrix

POINTS = torch.randn(4, 30, 3, generator=torch.Generator().manual_seed(0)) * 0.4


def test_a_scale_of_two_is_orthographic():
    """Two half crops per metre: a metre is as wide as the crop."""
    flat = projection.weak_perspective(POINTS, torch.tensor([[2.0, 0, 0]]).expand(4, 3))
    torch.testing.assert_close(flat, projection.orthographic(POINTS))


def test_perspective_from_afar_is_weak_perspective():
    camera = torch.tensor([[0.9, 0.1, -0.2]]).expand(4, 3)
    weak = projection.weak_perspective(POINTS, camera)
    for distance_m, allowed in ((20.0, 0.02), (2000.0, 2e-4)):
        # The lens grows with the distance, so that the body keeps its size in the picture.
        focal = 0.5 * camera[:, 0] * distance_m
        intrinsics = torch.diag_embed(torch.stack([focal, focal, torch.ones(4)], 1))
        shift = torch.cat([camera[:, 1:], torch.full((4, 1), distance_m)], 1)
        flat = projection.perspective(POINTS + shift[:, None], intrinsics)
        assert (flat - weak).abs().max() < allowed


def test_the_crop_networks_lens_is_a_perspective():
    camera = torch.tensor([[0.8, 0.05, 0.1]]).expand(4, 3)
    translation = projection.crop_translation(camera)
    focal = projection.CROP_FOCAL_PX / projection.CROP_SIDE_PX
    intrinsics = torch.diag(torch.tensor([focal, focal, 1.0])).expand(4, 3, 3)
    expected = projection.perspective(POINTS + translation[:, None], intrinsics)
    torch.testing.assert_close(projection.project_to_crop(POINTS, translation), expected)
    assert (expected - projection.weak_perspective(POINTS, camera)).abs().max() < 0.02


def test_scaling_the_scene_does_not_move_perspective_pixels():
    intrinsics = torch.tensor([[500.0, 0, 320], [0, 520, 240], [0, 0, 1]]).expand(4, 3, 3)
    points_cam = POINTS + torch.tensor([0, 0, 3.0])
    torch.testing.assert_close(
        projection.perspective(points_cam, intrinsics), projection.perspective(3 * points_cam, intrinsics)
    )
    centre = projection.perspective(torch.tensor([[[0, 0, 2.0]]]), intrinsics[:1])
    torch.testing.assert_close(centre, torch.tensor([[[320.0, 240]]]))


def test_feedback_adds_corrections_to_the_first_guess():
    torch.manual_seed(0)
    regressor = FeedbackRegressor(HmrConfig(hidden=16, dropout=0.0), 8)
    features = torch.randn(2, 8)
    once, thrice = regressor.first_guess, regressor(features)
    for _ in range(3):
        x = torch.relu(regressor.fc1(torch.cat([features, once.expand(2, -1)], 1)))
        once = once + regressor.out(torch.relu(regressor.fc2(x)))
    torch.testing.assert_close(thrice, once)


def test_hmr_begins_upright_and_fills_the_crop():
    torch.manual_seed(0)
    network = Hmr(HmrConfig(hidden=16)).eval()
    with torch.no_grad():
        network.regressor.out.weight.zero_()
        answer = network(torch.randn(2, 3, 64, 64))
    upright = rotvec_to_matrix(torch.tensor([torch.pi, 0, 0]))
    torch.testing.assert_close(answer.global_orient[0, 0], upright)
    torch.testing.assert_close(answer.crop_camera, torch.tensor([[0.9, 0, 0]] * 2))
    names = {type(module) for module in network.backbone.modules()}
    assert FrozenBatchNorm not in names
    frozen, learning = ResNet().state_dict(), network.backbone.state_dict()
    assert frozen.keys() == {name for name in learning if not name.endswith("num_batches_tracked")}


def test_angles_between_rotations_have_gradients_at_both_ends():
    turns = torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [0, torch.pi, 0]], requires_grad=True)
    angles = angle_between(torch.eye(3).expand(3, 3, 3), rotvec_to_matrix(turns))
    torch.testing.assert_close(angles, torch.tensor([0.0, 0.3, torch.pi]), atol=1e-5, rtol=0)
    angles.sum().backward()
    assert turns.grad.isfinite().all()
