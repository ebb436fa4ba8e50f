# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL's answers on another body: the same turns, the same measures, the same place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.models.body_model import BodyModel, load_body
from recover_body.models.body_surfaces import vertex_normals
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.models.smpl_to_smplx import (
    BETA_LIMIT,
    SHARED_JOINTS,
    _measures,
    moved_pelvis,
    shape_by_measures,
    smpl_to_smplx_pose,
    smpl_to_smplx_shape,
)
from recover_body.tests.parity.standins import smpl_body


def in_smpl_layout(body: BodyModel) -> BodyModel:
    """A body of 55 joints as SMPL would have it: 24 joints, the last two where the fingers begin."""
    knuckles = [body.joint_names.index(f"{side}_middle1") for side in ("left", "right")]
    kept = [*range(SHARED_JOINTS), *knuckles]
    weights = body.weights[:, kept].copy()
    for joint in set(range(body.joint_count)) - set(kept):
        ancestor = joint
        while ancestor not in kept:
            ancestor = body.parents[ancestor]
        weights[:, kept.index(ancestor)] += body.weights[:, joint]
    return replace(
        body,
        name="in SMPL's layout",
        J_regressor=body.J_regressor[kept],
        weights=weights,
        parents=np.array([*body.parents[:SHARED_JOINTS], 20, 21]),
        joint_names=(*body.joint_names[:SHARED_JOINTS], "left_hand", "right_hand"),
        correctives=(),
    )


def random_pose(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.4, (count, 24, 3))


def test_every_shared_joint_keeps_its_rotation_in_space():
    smplx, pose = load_body("neutral"), random_pose(4, 0)
    carried = np.zeros((4, 55, 3))
    carried[:, :SHARED_JOINTS] = smpl_to_smplx_pose(pose)
    betas = np.zeros((1, 10))
    before, after = in_smpl_layout(smplx).forward(pose, betas), smplx.forward(carried, betas)
    np.testing.assert_allclose(after.rotations[:, :SHARED_JOINTS], before.rotations[:, :SHARED_JOINTS], atol=1e-5)
    # Fingers hang on the wrist and turn with it, whatever SMPL's hand joint did.
    np.testing.assert_allclose(after.rotations[:, 25], before.rotations[:, 20], atol=1e-5)


def test_rotation_vectors_and_matrices_are_carried_alike():
    pose = random_pose(3, 1)
    by_matrix = smpl_to_smplx_pose(rotvec_to_matrix(pose))
    np.testing.assert_allclose(by_matrix, rotvec_to_matrix(smpl_to_smplx_pose(pose)))
    assert by_matrix.shape == (3, SHARED_JOINTS, 3, 3)


def test_joints_stay_where_both_bodies_can_have_the_same_shape():
    smplx, rng = load_body("neutral"), np.random.default_rng(2)
    smpl, pose, betas = in_smpl_layout(smplx), random_pose(5, 3), rng.normal(0, 1, (5, 10))
    fitted = smpl_to_smplx_shape(smpl, betas, smplx)
    carried = np.zeros((5, 55, 3))
    carried[:, :SHARED_JOINTS] = smpl_to_smplx_pose(pose)
    translation = rng.normal(0, 1, (5, 3))
    before = smpl.forward(pose, betas, translation=translation).joints
    moved = moved_pelvis(translation, smpl.rest_joints(betas)[:, 0], smplx.rest_joints(fitted.betas)[:, 0])
    after = smplx.forward(carried, fitted.betas, translation=moved).joints
    off_mm = 1000 * np.linalg.norm(after[:, :SHARED_JOINTS] - before[:, :SHARED_JOINTS], axis=-1)
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-5)
    assert off_mm.mean() < 0.3
    skins = smpl.rest_vertices(betas), smplx.rest_vertices(fitted.betas)
    assert 1000 * np.linalg.norm(skins[0] - skins[1], axis=-1).mean() < 0.5
    assert fitted.bone_error_m.max() < 2e-4


@pytest.mark.parametrize("source", ["female", "male"])
def test_another_body_is_met_in_its_bones(source):
    betas = np.random.default_rng(4).normal(0, 0.7, (4, 10))
    fitted = smpl_to_smplx_shape(load_body(source), betas, load_body("neutral"))
    assert fitted.bone_error_m.mean() < 0.0015
    assert np.abs(fitted.betas).max() < BETA_LIMIT


def test_slopes_are_the_derivatives_of_the_measures():
    body, beta = load_body("neutral"), np.random.default_rng(5).normal(0, 1, 10)
    # A wide step: bodies are in single precision.
    up, down = (np.stack([_measures(body, beta + sign * 0.05 * e)[0] for e in np.eye(10)], 1) for sign in (1, -1))
    np.testing.assert_allclose(_measures(body, beta)[1], (up - down) / 0.1, atol=2e-5)


def test_the_surface_tells_of_what_bones_do_not():
    """A body whose first shape only makes it stouter around the trunk, which its volume shows but little."""
    target = load_body("neutral")
    weight = target.weights[:, [target.joint_names.index(f"spine{i}") for i in (1, 2)]].sum(1)
    outwards = vertex_normals(target.v_template, target.faces) * [1, 0, 1]
    shapedirs = target.shapedirs.copy()
    shapedirs[..., 0] = 0.02 * weight[:, None] * outwards
    stouter = replace(target, name="stouter", shapedirs=shapedirs, J_regressor=_of_joints(target))
    source, betas = in_smpl_layout(stouter), np.array([[1.5, *[0.0] * 9]])
    wanted, trunk = source.rest_vertices(betas)[0], weight > 0.8
    off_m = []
    for carry in (shape_by_measures, smpl_to_smplx_shape):
        apart = np.linalg.norm(stouter.rest_vertices(carry(source, betas, stouter).betas)[0] - wanted, axis=-1)
        off_m.append(apart[trunk].mean())
    assert off_m[1] < off_m[0] / 2 and off_m[1] < 0.004


def _of_joints(body: BodyModel) -> np.ndarray:
    """A regressor by which joints do not feel how stout the trunk is."""
    return np.where(body.weights[:, 3] + body.weights[:, 6] > 0.01, 0, body.J_regressor).astype(np.float32)


def test_a_body_that_is_no_human_does_not_deform_ours():
    ours = load_body("neutral")
    cloud = replace(smpl_body(3), joint_names=in_smpl_layout(ours).joint_names)
    fitted = smpl_to_smplx_shape(cloud, np.full((1, 10), 3.0), ours)
    assert np.isfinite(fitted.betas).all() and np.abs(fitted.betas).max() <= BETA_LIMIT
