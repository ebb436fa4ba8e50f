# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera solver: as good as the published one on its cases, exact where the data are, never worse than before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recover_body.engine.camera_problem import CameraProblem
from recover_body.engine.camera_published import start_from_keypoints
from recover_body.engine.camera_scene import Freedom, Scene
from recover_body.engine.camera_solver import solve_camera
from recover_body.engine.camera_start import closed_form_camera
from recover_body.engine.contour import Edges, contour_of, filled
from recover_body.engine.raster import silhouette
from recover_body.engine.solver_window import windows_around
from recover_body.tests.parity.blade import check_camera_solver
from recover_body.tests.parity.report import COMMITTED, Fixture
from recover_body.tests.parity.toy_body import SolverCase, ToyBody

FIXTURE = Fixture(COMMITTED / "blade" / "camera_solver.npz")
CASES = SolverCase.all_of(FIXTURE.arrays)
BODY = ToyBody.of(FIXTURE.arrays)
EDGES = Edges.of(BODY.faces)
SIDE_PX = 256


def random_scene(
    seed: int, people: int = 1, centre_px: float | None = None, side_px: int = SIDE_PX
) -> tuple[Scene, torch.Tensor, torch.Tensor]:
    """Exact keypoints and masks of figures in random poses, with their true focal lengths and translations."""
    generator = torch.Generator().manual_seed(seed)
    centre_px = side_px / 2 if centre_px is None else centre_px

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(people, *shape, generator=generator)

    orientation = torch.stack([between(2.9, 3.3), between(-0.2, 0.2), between(-0.4, 0.4)], -1)
    vertices, joints = BODY(orientation, between(-0.4, 0.4, 63))
    depth = between(1.8, 4.0)
    focal_px = depth * between(0.43, 0.6) * side_px
    translation = torch.cat([between(-0.15, 0.15, 2), depth[:, None]], -1)
    bodies, posed_joints = vertices + translation[:, None], joints + translation[:, None]
    points_px, keypoints_px = (
        points[..., :2] / points[..., 2:] * focal_px[:, None, None] + centre_px for points in (bodies, posed_joints)
    )
    masks = filled(contour_of(points_px, bodies[..., 2], EDGES), points_px, side_px, side_px)
    weights = torch.zeros(people, joints.shape[1])
    weights[:, :15] = 1
    centres_px = torch.full((people, 2), centre_px)
    scene = Scene(vertices, joints, keypoints_px, weights, masks, centres_px, depth_m=depth)
    return scene, focal_px, translation


def test_every_number_of_the_fixture():
    fixture = Fixture(FIXTURE.path)
    check_camera_solver(fixture)
    assert fixture.findings
    assert not [finding for finding in fixture.findings if not finding.ok]


@pytest.mark.parametrize("name", CASES)
def test_never_worse_than_the_start_it_is_given(name):
    scene, freedom = CASES[name].ours()
    problem = CameraProblem(scene, EDGES, freedom)
    start = (CASES[name]["init_f"], CASES[name]["init_T"])
    before = problem.view(*problem.at_rest(*start)).camera
    after = solve_camera(scene, EDGES, freedom, start, steps=(4, 4))
    assert (after.score >= before.score).all()


@pytest.mark.parametrize("seed", range(3))
def test_exact_data_give_the_exact_camera(seed):
    scene, focal_px, translation = random_scene(seed)
    camera = solve_camera(scene, EDGES)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=1e-3, atol=0)
    torch.testing.assert_close(camera.translation, translation, rtol=0, atol=2e-3)
    assert (camera.iou > 0.995).all()


def test_perspective_alone_tells_the_depth():
    scene, focal_px, translation = random_scene(5)
    camera = solve_camera(replace(scene, depth_m=None), EDGES)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=0.01, atol=0)
    torch.testing.assert_close(camera.translation, translation, rtol=0, atol=0.02)


def test_a_known_focal_length_stays_and_tells_the_depth():
    scene, focal_px, translation = random_scene(6)
    camera = solve_camera(replace(scene, depth_m=None, focal_px=focal_px), EDGES)
    assert torch.equal(camera.focal_px, focal_px)
    torch.testing.assert_close(camera.translation, translation, rtol=0, atol=2e-3)


def test_the_principal_point_may_lie_off_the_middle():
    scene, focal_px, translation = random_scene(7, centre_px=110.0)
    camera = solve_camera(scene, EDGES)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=1e-3, atol=0)
    torch.testing.assert_close(camera.translation, translation, rtol=0, atol=2e-3)


def test_the_mask_corrects_what_keypoints_get_wrong():
    scene, focal_px, _ = random_scene(8)
    generator = torch.Generator().manual_seed(0)
    noisy = scene.keypoints_px + 3 * torch.randn(scene.keypoints_px.shape, generator=generator)
    scene = replace(scene, keypoints_px=noisy)
    by_points, _ = closed_form_camera(scene.joints, noisy - SIDE_PX / 2, scene.weights, scene.depth_m)
    camera = solve_camera(scene, EDGES)
    assert (camera.focal_px - focal_px).abs() < (by_points - focal_px).abs()
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=0.01, atol=0)


def test_a_turned_body_is_turned_back():
    scene, focal_px, _ = random_scene(9)
    tilt = torch.tensor(np.array([[1, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]]))
    tilt = tilt.to(scene.vertices.dtype)
    tilted = replace(scene, vertices=scene.vertices @ tilt.T, joints=scene.joints @ tilt.T)
    camera = solve_camera(tilted, EDGES, Freedom(turn=True, turn_sigma_rad=1.0))
    torch.testing.assert_close(camera.turn[0] @ tilt, torch.eye(3), atol=0.01, rtol=0)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=0.01, atol=0)


def test_together_is_as_alone():
    scene, _, _ = random_scene(10, people=3)
    scene = replace(scene, keypoints_px=scene.keypoints_px + 1.5)
    together = solve_camera(scene, EDGES, steps=(4, 2))
    for index in range(3):
        own = {name: value[[index]] for name, value in vars(scene).items() if isinstance(value, torch.Tensor)}
        alone = solve_camera(Scene(**own), EDGES, steps=(4, 2))
        torch.testing.assert_close(together.focal_px[[index]], alone.focal_px, rtol=1e-3, atol=0)
        torch.testing.assert_close(together.iou[[index]], alone.iou, rtol=0, atol=2e-3)


def test_an_empty_mask_leaves_the_keypoints_answer():
    scene, focal_px, _ = random_scene(11)
    camera = solve_camera(replace(scene, masks=torch.zeros_like(scene.masks)), EDGES)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=1e-3, atol=0)


def test_the_published_start_is_close_to_the_closed_form():
    case = CASES["F_large_downscale2"]
    _, evidence, _ = case.published()
    joints, depth_m = case.given()[1], case["in_pred_z"][:, 0]
    focal_px, translation = start_from_keypoints(joints, depth_m, evidence)
    points_px = evidence.keypoints_px - evidence.masks.shape[-1] / 2
    ours_px, ours = closed_form_camera(joints, points_px, evidence.start_weights, depth_m)
    torch.testing.assert_close(ours_px, focal_px, rtol=0.03, atol=0)
    torch.testing.assert_close(ours, translation, rtol=0, atol=0.02)


def test_the_contour_encloses_the_silhouette():
    scene, focal_px, translation = random_scene(12)
    bodies = scene.vertices + translation
    intrinsics = np.array([[focal_px.item(), 0, 128], [0, focal_px.item(), 128], [0, 0, 1]])
    wanted = silhouette(bodies[0].double().numpy(), BODY.faces, intrinsics, SIDE_PX, SIDE_PX)
    assert (scene.masks[0].numpy() != wanted).sum() <= 2


def test_the_slope_of_the_overlap_is_its_derivative():
    """Hard masks change in steps, so their difference is taken over a pixel."""
    scene, focal_px, translation = random_scene(13, side_px=1024)
    problem = CameraProblem(scene, EDGES, Freedom(depth=True))
    off = translation + torch.tensor([0.03, -0.02, 0.0])
    view = problem.view(*problem.at_rest(focal_px, off))
    _, _, slope = problem.equations(view, reach=0.03)
    for place, change in ((0, 0.004), (1, 0.002), (2, 0.002), (3, 0.004)):
        direction = torch.zeros(1, 7)
        direction[0, place] = change
        scores = []
        for sign in (1, -1):
            moved = problem.changed(view.camera, sign * direction)
            scores.append(problem.view(*moved).camera.score)
        measured = (scores[0] - scores[1]) / (2 * change)
        assert slope[0, place].item() == pytest.approx(measured.item(), rel=0.05, abs=0.05)


def test_a_large_picture_gives_the_camera_of_a_small_one():
    """Exact too, though the outline is compared in a smaller window."""
    scene, focal_px, translation = random_scene(14, side_px=2000, centre_px=900.0)
    camera = solve_camera(scene, EDGES)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=2e-3, atol=0)
    torch.testing.assert_close(camera.translation, translation, rtol=0, atol=2e-3)
    assert (camera.iou > 0.99).all()


def test_windows_show_what_lies_there():
    centre_px, radii_px = np.array([700.3, 805.8]), np.array([210.0, 390.0])
    y, x = np.mgrid[:1500, :1300] + 0.5
    mask = torch.from_numpy(((x - centre_px[0]) / radii_px[0]) ** 2 + ((y - centre_px[1]) / radii_px[1]) ** 2 < 1)
    there = torch.from_numpy(centre_px).float()[None, None]
    windows = windows_around(mask[None], there, torch.ones(1, 1))
    scale = windows.scales.item()
    assert scale < 1
    rows, columns = torch.nonzero(windows.masks[0], as_tuple=True)
    seen = torch.stack([columns, rows], -1).float().mean(0) + 0.5
    torch.testing.assert_close(windows.to_window(there)[0, 0], seen, atol=0.1, rtol=0)
    assert windows.masks.sum().item() == pytest.approx(np.pi * radii_px.prod() * scale**2, rel=0.002)


def test_a_person_cut_by_the_frame_still_gives_the_camera():
    """Beyond the frame nothing is known, so that a missing foot is not a short leg."""
    scene, focal_px, translation = random_scene(16)
    rows = torch.nonzero(scene.masks[0].any(1))[:, 0]
    cut = int(rows[0] + 0.6 * (rows[-1] - rows[0]))
    weights = scene.weights * (scene.keypoints_px[..., 1] < cut)
    camera = solve_camera(replace(scene, masks=scene.masks[:, :cut], weights=weights), EDGES)
    torch.testing.assert_close(camera.focal_px, focal_px, rtol=0.01, atol=0)
    torch.testing.assert_close(camera.translation, translation, rtol=0, atol=0.01)
    assert (camera.iou > 0.99).all()
