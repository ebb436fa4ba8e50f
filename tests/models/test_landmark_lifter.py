# SPDX-License-Identifier: GPL-3.0-or-later
"""The landmark lifter: mirrors, batches, lenses, turned pictures, and the network that torch trains."""

from dataclasses import fields, replace

import numpy as np
import pytest

from recover_body.models import landmark_lifter
from recover_body.models.landmark_lifter import (
    APPEARANCE,
    JOINTS,
    LANDMARKS,
    SEEN,
    View,
    features_of,
    in_picture,
    load_lifter,
    mirrored,
    mirrored_joints,
    points_in_sizes,
)
from recover_body.models.rotations import rotvec_to_matrix

FOCAL_PX = 900.0


def view(count: int = 5, seed: int = 0, is_blind: bool = True) -> View:
    """Landmarks of nobody in particular, about 500 pixels tall, right of the picture's middle."""
    rng = np.random.default_rng(seed)
    metric = rng.normal(0, 0.3, (count, LANDMARKS, 3))
    metric -= metric[:, [23, 24]].mean(1, keepdims=True)
    return View(
        points_px=metric[..., :2] * 300 + (200, -50),
        visibility=rng.uniform(0.2, 1, (count, LANDMARKS)),
        metric_points=metric,
        size_px=np.full(count, 600.0),
        angle_rad=rng.normal(0, 0.3, count),
        appearance=rng.normal(0, 0 if is_blind else 1, (count, APPEARANCE)),
        focal_px=np.full(count, FOCAL_PX),
        is_known=np.arange(count) % 2 == 0,
    )


def rows(people, chosen: slice):
    """Some rows of a dataclass of arrays."""
    return type(people)(**{field.name: getattr(people, field.name)[chosen] for field in fields(people)})


@pytest.mark.parametrize("is_blind", [True, False])
def test_a_batch_is_its_singles(is_blind):
    people = view(is_blind=is_blind)
    together = load_lifter().lift(people)
    for row in range(5):
        alone, same = load_lifter().lift(rows(people, slice(row, row + 1))), rows(together, slice(row, row + 1))
        for field in fields(alone):
            np.testing.assert_allclose(getattr(alone, field.name), getattr(same, field.name), atol=1e-6, rtol=1e-6)


def test_appearances_are_told_in_batches_too():
    features = np.random.default_rng(0).uniform(0, 1, (3, 8, 8, 288)).astype(np.float32)
    for network in ("medium", "large"):
        together = load_lifter().appearance(features, network)
        assert together.shape == (3, APPEARANCE)
        np.testing.assert_allclose(load_lifter().appearance(features[1:2], network)[0], together[1], atol=1e-4)


def test_a_mirrored_person_has_mirrored_joints():
    people = view()
    swap = landmark_lifter._MIRRORED_LANDMARKS
    in_mirror = replace(
        people,
        points_px=people.points_px[:, swap] * (-1, 1),
        visibility=people.visibility[:, swap],
        metric_points=people.metric_points[:, swap] * (-1, 1, 1),
        angle_rad=-people.angle_rad,
    )
    one, other = load_lifter().lift(people), load_lifter().lift(in_mirror)
    np.testing.assert_allclose(other.joints, mirrored_joints(one.joints), atol=1e-5)
    np.testing.assert_allclose(other.points_px, mirrored_joints(one.points_px), atol=1e-2)


def test_mirroring_twice_changes_nothing():
    inputs, _ = features_of(view())
    assert inputs.shape == (5, SEEN)
    np.testing.assert_array_equal(mirrored(mirrored(inputs)), inputs)
    joints = np.random.default_rng(0).normal(size=(3, JOINTS, 3))
    np.testing.assert_array_equal(mirrored_joints(mirrored_joints(joints)), joints)


def test_pixels_in_sizes_and_back_are_the_same_pixels():
    people = view()
    _, R_camera_crop = features_of(people)
    points_px = np.random.default_rng(1).normal(0, 300, (5, JOINTS, 2))
    back_px = in_picture(points_in_sizes(points_px, people, R_camera_crop), people, R_camera_crop)
    np.testing.assert_allclose(back_px, points_px, atol=1e-6)


def test_the_pelvis_is_the_origin_and_sigmas_are_plausible():
    people = view()
    lifted = load_lifter().lift(people)
    assert not lifted.joints[:, 0].any()
    assert (lifted.sigma_m >= 0.01).all() and (lifted.sigma_m <= 0.5).all()
    known = people.is_known
    np.testing.assert_allclose(lifted.log_focal[known], np.log(FOCAL_PX))
    assert not lifted.log_focal_sigma[known].any() and (lifted.log_focal_sigma[~known] > 0).all()


def test_a_turned_picture_turns_the_joints():
    """The camera rolls: everything lies elsewhere in the picture, and the region is turned with it."""
    people, roll = view(is_blind=False), rotvec_to_matrix(np.array([0, 0, 0.7]))
    turned = replace(
        people,
        points_px=people.points_px @ roll[:2, :2].T,
        metric_points=people.metric_points @ roll.T,
        angle_rad=people.angle_rad + 0.7,
    )
    one, other = load_lifter().lift(people), load_lifter().lift(turned)
    np.testing.assert_allclose(other.joints, one.joints @ roll.T, atol=1e-5)
    np.testing.assert_allclose(other.points_px, one.points_px @ roll[:2, :2].T, atol=1e-2)


def test_turning_the_camera_turns_the_joints():
    """The same rays from a camera that looks elsewhere: the joints are the same, seen from there."""
    people = view(1)
    rays = np.concatenate([people.points_px / FOCAL_PX, np.ones((1, LANDMARKS, 1))], 2)
    hips = rays[:, [23, 24]].mean(1)
    axis = np.cross(hips[0], (0, 0, 1.0))
    R = rotvec_to_matrix(0.1 * axis / np.linalg.norm(axis))  # towards the hips, so that nothing rolls about their ray
    turned = rays @ R.T
    elsewhere = replace(people, points_px=FOCAL_PX * turned[..., :2] / turned[..., 2:])
    one, other = load_lifter().lift(people), load_lifter().lift(elsewhere)
    np.testing.assert_allclose(other.joints, one.joints @ R.T, atol=0.02)


def samples(rng: np.random.Generator, count: int, is_large: bool) -> dict[str, np.ndarray]:
    """People whose joints are among their metric landmarks, as a file of samples holds them."""
    people = view(count, seed=int(is_large))
    joints_cam = people.metric_points[:, :JOINTS] + (0, 0, 4.0)
    joints_cam[:, 0] = (0, 0, 4.0)
    return dict(
        joints_cam=joints_cam,
        focal_px=people.focal_px,
        picture_size=np.full((count, 2), 1000.0),
        points_px=people.points_px + 500,
        visibility=people.visibility,
        metric_points=people.metric_points,
        box_px=np.tile([400.0, 200, 800, 650], (count, 1)),
        angle_rad=np.zeros(count),
        is_large=np.full(count, is_large),
        features=rng.integers(0, 20, (count, 8, 8, 288), np.uint8),
    )


def test_training_learns_and_what_it_writes_can_be_read(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="Training needs torch: python dev.py setup torch.")
    from recover_body.engine.training import lifter

    rng = np.random.default_rng(0)
    for name, is_large in (("medium", False), ("large", True)):
        np.savez(tmp_path / f"{name}.npz", **samples(rng, 64, is_large))
    drawn = lifter.samples([tmp_path / "medium.npz", tmp_path / "large.npz"])
    simulated = lifter.simulated_samples(tmp_path / "medium.npz")
    weights = {"filters.weight": rng.normal(0, 0.1, (288, 1, 3, 3)), "mix.weight": rng.normal(0, 0.02, (288, 288))}
    weights |= {"filters.bias": np.zeros(288), "mix.bias": np.zeros(288)}
    blocks = [{**weights, "halves": np.array(halves)} for halves in (True, False, True)]
    monkeypatch.setattr(lifter, "HIDDEN", 32)
    monkeypatch.setattr(lifter, "BATCH", 16)
    course = lifter.Course(drawn, drawn, simulated, lifter.LifterNetwork({"medium": blocks, "large": blocks[:1] * 2}))
    before = course.loss_on(4)
    course.run(150)
    assert course.loss_on(4) < before - 5
    np.savez(tmp_path / "lifter.npz", **course.arrays())

    monkeypatch.setattr(landmark_lifter, "LIFTER_FILE", tmp_path / "lifter.npz")
    load_lifter.cache_clear()
    try:
        read = load_lifter()
    finally:
        load_lifter.cache_clear()
    # The numpy network is the torch one.
    people, network = drawn["medium"], course.network.eval()
    seen, features, _ = people.rows(torch.arange(8), torch.zeros(8, dtype=torch.long))
    appearance = read.appearance(features.permute(0, 2, 3, 1).numpy(), "medium")
    told = read._told(seen.numpy(), appearance)
    with torch.no_grad():
        is_seen = torch.ones(8, 1) > 0
        expected = network(course.standard(seen, network.appearance(features, "medium"), is_seen))
    for name, values in told.items():
        np.testing.assert_allclose(values, expected[name].numpy(), atol=0.02)  # written in 16 bits
