# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations: every conversion undone is the identity, at all angles, 0 and pi included."""

import numpy as np
import pytest

from recover_body.models import rotations as r

ANGLES_RAD = [0.0, 1e-12, 1e-7, 1e-4, 0.3, 1.5, 3.0, np.pi - 1e-4, np.pi - 1e-8, np.pi]


def axes(count=40, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    vectors[:6] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("angle", ANGLES_RAD)
@pytest.mark.parametrize("way", ["matrix", "quaternion"])
def test_a_rotation_vector_survives_the_way_there_and_back(angle, way):
    rotvecs = axes() * angle
    there, back = getattr(r, f"rotvec_to_{way}"), getattr(r, f"{way}_to_rotvec")
    again = back(there(rotvecs))
    # At pi the axis may come back reversed, which is the same rotation.
    difference = np.minimum(np.linalg.norm(again - rotvecs, axis=1), np.linalg.norm(again + rotvecs, axis=1))
    allowed = 1e-7 if angle > 3.1 else 1e-12
    assert difference.max() < allowed if angle > 3.1 else np.abs(again - rotvecs).max() < allowed


@pytest.mark.parametrize("angle", ANGLES_RAD)
def test_matrices_are_rotations_and_equal_those_of_the_quaternions(angle):
    rotvecs = axes() * angle
    matrices = r.rotvec_to_matrix(rotvecs)
    np.testing.assert_allclose(
        matrices @ matrices.swapaxes(-1, -2), np.broadcast_to(np.eye(3), matrices.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-12)
    np.testing.assert_allclose(r.quaternion_to_matrix(r.rotvec_to_quaternion(rotvecs)), matrices, atol=1e-12)
    np.testing.assert_allclose(r.quaternion_to_matrix(r.matrix_to_quaternion(matrices)), matrices, atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y():
    quarter = np.array([0, 0, np.pi / 2])
    np.testing.assert_allclose(r.rotvec_to_matrix(quarter) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_products_of_quaternions_are_products_of_matrices():
    a, b = r.rotvec_to_quaternion(axes(seed=1) * 1.3), r.rotvec_to_quaternion(axes(seed=2) * 2.9)
    product = r.quaternion_to_matrix(r.quaternion_multiply(a, b))
    np.testing.assert_allclose(product, r.quaternion_to_matrix(a) @ r.quaternion_to_matrix(b), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.5, 3.0])
def test_slerp_turns_evenly_the_shorter_way(angle):
    start = r.rotvec_to_quaternion(axes(seed=3) * 0.7)
    step = r.rotvec_to_quaternion(axes(seed=4) * angle)
    end = -r.quaternion_multiply(start, step)  # the same rotation with the other sign
    third = r.slerp(start, end, 1 / 3)
    expected = r.quaternion_multiply(start, r.rotvec_to_quaternion(axes(seed=4) * angle / 3))
    np.testing.assert_allclose(r.quaternion_to_matrix(third), r.quaternion_to_matrix(expected), atol=1e-12)


def test_slerp_takes_a_fraction_for_each_pair():
    start, end = r.rotvec_to_quaternion(np.zeros((3, 3))), r.rotvec_to_quaternion(np.tile([0.9, 0, 0], (3, 1)))
    turned = r.quaternion_to_rotvec(r.slerp(start, end, np.array([0, 0.5, 1])))
    np.testing.assert_allclose(turned[:, 0], [0, 0.45, 0.9], atol=1e-12)


def test_rotation_between_takes_one_direction_to_the_other_even_when_opposite():
    a, b = axes(seed=5), axes(seed=6)
    b[:8] = -a[:8]
    b[8:12] = a[8:12]
    rotations = r.rotation_between(a, 3 * b)
    np.testing.assert_allclose((rotations @ a[..., None])[..., 0], b, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-12)


def test_twist_is_the_whole_angle_about_its_axis_and_nothing_of_a_swing():
    about_x = r.rotvec_to_matrix(np.array([[-3.0, 0, 0], [0.4, 0, 0], [2.9, 0, 0]]))
    np.testing.assert_allclose(r.twist_angle_rad(about_x, np.array([1, 0, 0])), [-3, 0.4, 2.9], atol=1e-12)
    swing = r.rotvec_to_matrix(np.array([0, 0.8, -1.1]))
    np.testing.assert_allclose(r.twist_angle_rad(swing, np.array([1, 0, 0])), 0, atol=1e-12)


def test_single_precision_stays_single():
    rotvecs = (axes() * 0.7).astype(np.float32)
    quaternions = r.rotvec_to_quaternion(rotvecs)
    results = [
        r.rotvec_to_matrix(rotvecs),
        quaternions,
        r.quaternion_to_rotvec(quaternions),
        r.slerp(quaternions, quaternions, 0.5),
    ]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}
