# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark lifter: mirrors, batches, lenses, and people whose landmarks are perfect."""

import numpy as np
import pytest

from recover_body.models import landmark_lifter
from recover_body.models.landmark_lifter import FEATURES, JOINTS, features, load_lifter, mirrored, mirrored_joints
from recover_body.models.rotations import rotvec_to_matrix

FOCAL_PX = 900.0


def seen(count: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """Landmarks of nobody in particular, about 500 pixels tall, right of the picture's middle."""
    rng = np.random.default_rng(seed)
    metric = rng.normal(0, 0.3, (count, 33, 3))
    metric -= metric[:, [23, 24]].mean(1, keepdims=True)
    return dict(
        points_px=metric[..., :2] * 300 + (200, -50),
        visibility=rng.uniform(0.2, 1, (count, 33)),
        metric_points=metric,
        size_px=np.full(count, 600.0),
        focal_px=np.full(count, FOCAL_PX),
        is_known=np.arange(count) % 2 == 0,
    )


def test_a_batch_is_its_singles():
    people = seen()
    together = load_lifter().lift(**people)
    for row in range(5):
        alone = load_lifter().lift(**{name: value[row : row + 1] for name, value in people.items()})
        np.testing.assert_allclose(alone.joints[0], together.joints[row], atol=1e-9)
        np.testing.assert_allclose(alone.sigma_m[0], together.sigma_m[row], atol=1e-9)


def test_a_mirrored_person_has_mirrored_joints():
    people = seen()
    swap = landmark_lifter._MIRRORED_LANDMARKS
    in_mirror = dict(
        people,
        points_px=people["points_px"][:, swap] * (-1, 1),
        visibility=people["visibility"][:, swap],
        metric_points=people["metric_points"][:, swap] * (-1, 1, 1),
    )
    one, other = load_lifter().lift(**people), load_lifter().lift(**in_mirror)
    np.testing.assert_allclose(other.joints, mirrored_joints(one.joints), atol=1e-6)


def test_mirroring_twice_changes_nothing():
    inputs, _ = features(**seen())
    assert inputs.shape == (5, FEATURES)
    np.testing.assert_array_equal(mirrored(mirrored(inputs)), inputs)
    joints = np.random.default_rng(0).normal(size=(3, JOINTS, 3))
    np.testing.assert_array_equal(mirrored_joints(mirrored_joints(joints)), joints)


def test_the_pelvis_is_the_origin_and_sigmas_are_plausible():
    lifted = load_lifter().lift(**seen())
    assert not lifted.joints[:, 0].any()
    assert (lifted.sigma_m >= 0.01).all() and (lifted.sigma_m <= 0.5).all()


def test_turning_the_camera_turns_the_joints():
    """The same rays from a camera that looks elsewhere: the joints are the same, seen from there."""
    people = seen(1)
    rays = np.concatenate([people["points_px"] / FOCAL_PX, np.ones((1, 33, 1))], 2)
    hips = rays[:, [23, 24]].mean(1)
    axis = np.cross(hips[0], (0, 0, 1.0))
    R = rotvec_to_matrix(0.1 * axis / np.linalg.norm(axis))  # towards the hips, so that nothing rolls about their ray
    turned = rays @ R.T
    elsewhere = dict(people, points_px=FOCAL_PX * turned[..., :2] / turned[..., 2:])
    one, other = load_lifter().lift(**people), load_lifter().lift(**elsewhere)
    np.testing.assert_allclose(other.joints, one.joints @ R.T, atol=0.02)


def test_training_learns_and_what_it_writes_can_be_read(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="Training needs torch: python dev.py setup torch.")
    import torch

    from recover_body.engine.training import lifter

    inputs, _ = features(**seen(512))
    joints = np.stack([inputs[:, 99 + 3 * j : 102 + 3 * j] for j in range(JOINTS)], 1)  # some of the metric landmarks
    joints[:, 0] = 0
    monkeypatch.setattr(lifter, "HIDDEN", 32)
    np.savez(tmp_path / "lifter.npz", **lifter.train(inputs, joints, steps=200, simulated=(inputs, joints)))
    monkeypatch.setattr(landmark_lifter, "LIFTER_FILE", tmp_path / "lifter.npz")
    load_lifter.cache_clear()
    try:
        read = load_lifter()
    finally:
        load_lifter.cache_clear()
    found, log_sigma = read._joints(inputs)
    assert np.linalg.norm(found - joints, axis=-1)[:, 1:].mean() < 0.5 * np.linalg.norm(joints, axis=-1).mean()
    assert np.isfinite(log_sigma).all()
    # The numpy network is the torch one.
    network = lifter.LifterNetwork().eval()
    with torch.no_grad():
        for layer, (weight, bias) in zip((*network.hidden, network.last), read.layers, strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        network.linear.weight.copy_(torch.from_numpy(read.linear[0]))
        network.linear.bias.copy_(torch.from_numpy(read.linear[1]))
        x = torch.from_numpy(((inputs - read.centre) / read.spread).astype(np.float32))
        np.testing.assert_allclose(network(x)[0].numpy(), found, atol=1e-4)
