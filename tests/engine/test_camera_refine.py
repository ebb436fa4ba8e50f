# SPDX-License-Identifier: GPL-3.0-or-later
"""A network's rough place becomes a body that lies on the picture; what it knows of the pose stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine.camera_refine import Believed, HeldFit, fitness, refine
from recover_body.engine.cameras import Pinhole
from recover_body.engine.fit.kinematics import UNKNOWNS
from recover_body.engine.fit.solver import linearise
from recover_body.engine.raster import silhouette
from recover_body.models.body_model import load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.tests.engine.test_fit import FOCAL_PX, HEIGHT, WIDTH, observations, people

KNOWN = Pinhole(FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, "given", 0.0)
ASSUMED = replace(KNOWN, fx_px=1.2 * FOCAL_PX, fy_px=1.2 * FOCAL_PX, source="assumed", fx_sigma=0.35)


def scene(camera: Pinhole, turn_rad: float, seed: int = 3, count: int = 3):
    """People, what was seen of them, and a network's opinion that is `turn_rad` off in every joint and misplaced."""
    rng = np.random.default_rng(seed)
    pose, *_, out, marks = people(count, seed)
    seen = observations(marks, camera.fx_sigma, camera.fx_px)
    faces = load_body("neutral").faces
    masks = [silhouette(vertices, faces, KNOWN.matrix, WIDTH, HEIGHT) for vertices in out.vertices]
    boxes_px = np.array([[*np.argwhere(m).min(0)[::-1], *np.argwhere(m).max(0)[::-1] + 1] for m in masks], float)
    seen = replace(seen, size_px=np.linalg.norm(boxes_px[:, 2:] - boxes_px[:, :2], axis=1))
    rotations = rotvec_to_matrix(pose[:, :22]) @ rotvec_to_matrix(rng.normal(0, turn_rad, (count, 22, 3)))
    pelvis = out.joints[:, 0] * np.array([1, 1, camera.fx_px / FOCAL_PX]) * rng.uniform(0.9, 1.1, (count, 1))
    return seen, masks, boxes_px, Believed(rotations, pelvis + rng.normal(0, 0.05, (count, 3)), None)


def test_gradient_is_the_derivative_of_the_cost():
    seen, _, _, believed = scene(ASSUMED, 0.2)
    fit = HeldFit(seen, replace(believed, betas=np.full((3, 10), 0.5)))
    state = fit.start().moved(np.random.default_rng(1).normal(0, 0.1, (3, UNKNOWNS)))
    system = linearise(fit.skeleton, fit.terms, state, robust=True)
    for k in range(UNKNOWNS):
        step = np.zeros((3, UNKNOWNS))
        step[:, k] = 1e-5
        up, down = (linearise(fit.skeleton, fit.terms, state.moved(s), True).cost for s in (step, -step))
        np.testing.assert_allclose(system.gradient[:, k], (up - down) / 2e-5, rtol=2e-4, atol=2e-2)


def test_the_start_is_what_the_network_says():
    seen, _, _, believed = scene(KNOWN, 0.1)
    fit = HeldFit(seen, believed)
    start = fit.start()
    np.testing.assert_allclose(start.pelvis, believed.pelvis, atol=1e-9)
    np.testing.assert_allclose(fit.outcome(start).translation + fit.skeleton.rest[0], believed.pelvis, atol=1e-9)


@pytest.mark.parametrize("camera", [KNOWN, ASSUMED], ids=["known", "assumed"])
def test_bodies_come_to_lie_on_the_picture_and_keep_their_pose(camera):
    seen, masks, boxes_px, believed = scene(camera, 0.08)
    found = refine(seen, believed, masks, boxes_px, camera)
    assert (found.start_fitness < 0.75).all() and (found.fitness > 0.88).all()
    off = believed.rotations.swapaxes(-1, -2) @ rotvec_to_matrix(found.fit.pose)
    assert np.degrees(np.linalg.norm(matrix_to_rotvec(off), axis=-1)).mean() < 8
    if camera.is_known:
        assert found.camera == camera
    else:
        assert abs(np.log(found.camera.fx_px / FOCAL_PX)) < 0.35
    # The fitness that is told is that of the bodies and the camera that are returned.
    np.testing.assert_allclose(fitness(found.fit, seen, masks, found.camera, "neutral"), found.fitness, atol=1e-6)


@pytest.mark.parametrize("camera", [KNOWN, ASSUMED], ids=["known", "assumed"])
@pytest.mark.parametrize("seed", range(3))
def test_never_worse_than_the_start_whatever_the_network_says(camera, seed):
    seen, masks, boxes_px, believed = scene(camera, 1.5, seed)
    found = refine(seen, believed, masks, boxes_px, camera)
    assert (found.fitness >= found.start_fitness).all()
    np.testing.assert_allclose(fitness(found.fit, seen, masks, found.camera, "neutral"), found.fitness, atol=1e-6)
    # Nor when it was perfect, and the masks are somebody else's.
    seen, masks, boxes_px, believed = scene(camera, 0.0, seed)
    found = refine(seen, believed, masks[::-1], boxes_px, camera)
    assert (found.fitness >= found.start_fitness).all()


def test_a_known_shape_stays_near():
    seen, masks, boxes_px, believed = scene(KNOWN, 0.05)
    betas = np.full((3, 10), 0.8)
    held = refine(seen, replace(believed, betas=betas), masks, boxes_px, KNOWN).fit.betas
    free = refine(seen, believed, masks, boxes_px, KNOWN).fit.betas
    assert np.abs(held - betas).mean() < np.abs(free - betas).mean()
