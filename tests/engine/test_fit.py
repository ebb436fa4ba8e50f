# SPDX-License-Identifier: GPL-3.0-or-later
"""The fit finds what is known: bodies, hands and faces made by the body model itself, seen through a known camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine.cameras import initial_camera
from recover_body.engine.fit.body_fit import BodyFit, Observations
from recover_body.engine.fit.coarse_body import coarse_body
from recover_body.engine.fit.contours import relaxed_hands, trace
from recover_body.engine.fit.face import fit_face
from recover_body.engine.fit.fingers import FINGERS, fit_fingers
from recover_body.engine.fit.key_fit import agreed_camera
from recover_body.engine.fit.kinematics import LOG_FOCAL, UNKNOWNS
from recover_body.engine.fit.points import LANDMARK_NAMES, landmark_points
from recover_body.engine.fit.solver import linearise
from recover_body.engine.mediapipe_graphs import Details
from recover_body.engine.raster import silhouette
from recover_body.models.body_model import load_body
from recover_body.models.landmark_lifter import NOTHING_SEEN
from recover_body.models.rotations import matrix_to_rotvec, rotation_between, rotvec_to_matrix
from recover_body.wire.frames import project
from recover_body.wire.messages import CameraHint

FOCAL_PX, WIDTH, HEIGHT = 900.0, 800, 1000
NOBODY_CLOSE = Details(None, None, None)


def people(count: int, seed: int, depth_m: float = 3.5):
    """Poses near the relaxed one, camera-frame vertices, joints, and landmarks as the fit defines them."""
    rng = np.random.default_rng(seed)
    body = load_body("neutral")
    pose = np.tile(relaxed_hands(body), (count, 1, 1)).astype(np.float64)
    pose[:, 1:22] = rng.normal(0, 0.15, (count, 21, 3))
    pose[:, [16, 17], 2] += np.array([-1.0, 1.0])  # arms down from the T-pose
    pose[:, [4, 5], 0] = rng.uniform(0.1, 0.8, (count, 2))
    pose[:, [18, 19], 1] = rng.uniform(0.2, 1.0, (count, 2)) * np.array([-1, 1])
    turn = rotvec_to_matrix(np.array([np.pi, 0, 0])) @ rotvec_to_matrix(rng.normal(0, 0.3, (count, 3)))
    pose[:, 0] = matrix_to_rotvec(turn)
    betas = rng.normal(0, 0.4, (count, 10))
    translation = np.array([0, -0.2, depth_m]) + rng.normal(0, 0.1, (count, 3))
    out = body.forward(pose, betas, translation=translation)
    points = landmark_points("neutral")
    rest = points.rest + np.einsum("nik,bk->bni", points.rest_shapedirs, betas)
    joints0 = body.rest_joints(betas)[:, points.owners]
    R = out.rotations[:, points.owners].astype(np.float64)
    marks = out.joints[:, points.owners] + (R @ (rest - joints0)[..., None])[..., 0]
    return pose, betas, translation, out, marks


def observations(marks: np.ndarray, focal_sigma: float = 0.0, focal_px: float = FOCAL_PX) -> Observations:
    """What a perfect detector would see of the landmarks (B, N, 3)."""
    count = len(marks)
    indices = landmark_points("neutral").indices
    K = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    points_px, visibility = np.zeros((count, 33, 2)), np.zeros((count, 33))
    metric = np.zeros((count, 33, 3))
    points_px[:, indices], visibility[:, indices] = project(marks, K), 1.0
    beside = [i for i in range(11) if i not in indices]  # what the fit leaves out of the face lies near the nose
    points_px[:, beside], visibility[:, beside] = points_px[:, :1], 1.0
    hips = marks[:, np.isin(indices, (23, 24))].mean(1, keepdims=True)
    # MediaPipe's metric landmarks are those of a camera that looks straight at the hips.
    straight = rotation_between(hips[:, 0], np.array([0, 0, 1.0]))
    metric[:, indices] = np.einsum("bij,bnj->bni", straight, marks - hips)
    metric[:, beside] = metric[:, :1]
    return Observations(
        points_px=points_px,
        visibility=visibility,
        metric_points=metric,
        size_px=np.full(count, 500.0),
        centre_px=np.tile([WIDTH / 2, HEIGHT / 2], (count, 1)),
        focal_px=np.full(count, focal_px),
        focal_sigma=np.full(count, focal_sigma),
        height_m=np.full(count, np.nan),
        details=(NOBODY_CLOSE,) * count,
        angle_rad=np.zeros(count),
        appearance=np.tile(NOTHING_SEEN, (count, 1)),
    )


def test_gradient_is_the_derivative_of_the_cost() -> None:
    *_, marks = people(2, seed=0)
    fit = BodyFit(observations(marks, focal_sigma=0.3))
    rng = np.random.default_rng(1)
    state = fit._start().moved(rng.normal(0, 0.05, (2, UNKNOWNS)))
    system = linearise(fit.skeleton, fit.terms, state, robust=True)
    numeric = np.zeros((2, UNKNOWNS))
    for k in range(UNKNOWNS):
        step = np.zeros((2, UNKNOWNS))
        step[:, k] = 1e-5
        up = linearise(fit.skeleton, fit.terms, state.moved(step), robust=True).cost
        down = linearise(fit.skeleton, fit.terms, state.moved(-step), robust=True).cost
        numeric[:, k] = (up - down) / 2e-5
    assert np.abs(numeric - system.gradient).max() < 2e-3 * np.abs(numeric).max()


def test_the_first_guess_lays_the_limbs_along_the_metric_landmarks() -> None:
    *_, marks = people(5, seed=10)
    fit = BodyFit(observations(marks))
    joints = fit.skeleton.pose(fit._start()).joints
    seen, place = fit.landmarks.metric, {int(n): row for row, n in enumerate(fit.landmarks.points.indices)}
    for upper, lower, start, end in ((1, 4, 23, 25), (2, 5, 24, 26), (16, 18, 11, 13), (17, 19, 12, 14)):
        bone = joints[:, lower] - joints[:, upper]
        wanted = seen[:, place[end]] - seen[:, place[start]]
        cosine = (bone * wanted).sum(1) / np.linalg.norm(bone, axis=1) / np.linalg.norm(wanted, axis=1)
        np.testing.assert_allclose(cosine, 1, atol=1e-9)


def test_known_bodies_are_found() -> None:
    _, _, _, out, marks = people(6, seed=2)
    fit = BodyFit(observations(marks))
    state, system = fit.from_landmarks()
    found = fit.skeleton.pose(state).joints
    # Relative to the pelvis: a larger person farther away looks the same.
    error_m = np.linalg.norm(found - found[:, :1] - (out.joints[:, :22] - out.joints[:, :1]), axis=-1)
    # The lifter expects MediaPipe's mistakes, also of a detector that makes none; what it sees in the picture holds.
    assert np.median(error_m) < 0.05
    assert np.abs(found[:, 0, 2] / out.joints[:, 0, 2] - 1).max() < 0.1
    result = fit.result(state, system)
    off_px = np.linalg.norm(
        result.points_px - observations(marks).points_px[:, landmark_points("neutral").indices], axis=-1
    )
    assert np.median(off_px) < 3.0


def test_a_batch_is_its_singles() -> None:
    *_, marks = people(4, seed=3)
    together = BodyFit(observations(marks))
    state, _ = together.from_landmarks()
    for row in range(4):
        alone = BodyFit(observations(marks[row : row + 1]))
        single, _ = alone.from_landmarks()
        # People stop iterating together, so a batch may go on a little where a single had converged.
        np.testing.assert_allclose(single.pelvis[0], state.pelvis[row], atol=5e-3)
        np.testing.assert_allclose(single.rotations[0], state.rotations[row], atol=2e-2)


def test_a_known_height_is_kept() -> None:
    *_, marks = people(1, seed=4)
    seen = replace(observations(marks), height_m=np.array([1.95]))
    fit = BodyFit(seen)
    state, _ = fit.from_landmarks()
    body = load_body("neutral")
    stature_m = np.ptp(body.rest_vertices(state.betas)[0, :, 1])
    assert stature_m == pytest.approx(1.95, abs=0.02)


def test_hidden_joints_are_uncertain_and_seen_ones_are_not() -> None:
    *_, marks = people(1, seed=5)
    seen = observations(marks)
    hidden = [LANDMARK_NAMES.index(f"left_{part}") for part in ("knee", "ankle", "heel", "foot_index")]
    seen.visibility[:, hidden] = 0
    fit = BodyFit(seen)
    certainty = fit.result(*fit.from_landmarks()).certainty[0]
    left_knee, right_knee = 4, 5
    assert certainty[left_knee] < 0.1 < 0.5 < certainty[right_knee]


def test_focal_length_shows_near_by_and_stays_a_guess_far_away() -> None:
    near = people(3, seed=6, depth_m=1.6)[-1]
    far = people(3, seed=6, depth_m=14.0)[-1]
    camera = replace(initial_camera(WIDTH, HEIGHT, CameraHint(), None), fx_px=1250.0, fy_px=1250.0)

    def focal(marks: np.ndarray):
        fit = BodyFit(observations(marks, camera.fx_sigma, camera.fx_px))
        return agreed_camera(camera, fit.result(*fit.from_landmarks()))

    assert focal(near).source == "estimated"
    assert focal(near).fx_px == pytest.approx(FOCAL_PX, rel=0.12)
    assert focal(near).fx_sigma < 0.5 * camera.fx_sigma
    # Far away the metric landmarks still say something in this perfect world, but much less.
    assert focal(far).fx_sigma > 1.5 * focal(near).fx_sigma


def test_known_focal_length_does_not_move() -> None:
    *_, marks = people(1, seed=7)
    fit = BodyFit(observations(marks, focal_sigma=0.0, focal_px=1100.0))
    state, _ = fit.from_landmarks()
    assert np.exp(state.log_focal[0]) == pytest.approx(1100.0, rel=1e-4)
    assert LOG_FOCAL == UNKNOWNS - 1


def test_the_outline_of_a_disc() -> None:
    y, x = np.mgrid[:100, :120] + 0.5
    disc = np.hypot(x - 60, y - 50) < 30
    outline = trace(disc, 0.5, np.array([10.0, 20.0]))
    out = outline.points_px - (np.array([60, 50]) / 0.5 + (10, 20))
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 60, atol=1.5)
    assert (np.einsum("mi,mi->m", out, outline.normals) > 50).all()


def test_the_border_of_the_picture_is_no_outline() -> None:
    mask = np.zeros((50, 60), bool)
    mask[20:, 10:40] = True  # reaches the lower border
    assert trace(mask, 1.0, np.zeros(2)).points_px[:, 1].max() < 49


def test_whoever_is_done_leaves_the_batch_and_comes_back_in_place() -> None:
    *_, marks = people(5, seed=12)
    marks[2] += np.random.default_rng(2).normal(0, 0.05, marks[2].shape)  # takes longer
    fit = BodyFit(observations(marks))
    state, system = fit.from_landmarks()
    again = linearise(fit.skeleton, fit.coarse_terms, state, robust=True)
    np.testing.assert_allclose(system.cost, again.cost)
    np.testing.assert_allclose(system.hessian(), again.hessian(), rtol=1e-3, atol=1.0)


def test_the_coarse_body_has_the_outline_of_the_body() -> None:
    pose, betas, translation, out, _ = people(2, seed=13)
    body = load_body("neutral")
    coarse = coarse_body(body)
    assert len(coarse.v_template) < 0.4 * len(body.v_template)
    drawn = coarse.forward(pose, betas, translation=translation)
    np.testing.assert_allclose(drawn.joints, out.joints, atol=1e-5)
    K = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    for few, all_of_them in zip(drawn.vertices, out.vertices, strict=True):
        a = silhouette(few, coarse.faces, K, WIDTH, HEIGHT)
        b = silhouette(all_of_them, body.faces, K, WIDTH, HEIGHT)
        assert (a & b).sum() > 0.98 * (a | b).sum()


def test_silhouettes_correct_shape_and_depth() -> None:
    _, betas, _, out, marks = people(2, seed=8)
    betas = betas.copy()
    K = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    body = load_body("neutral")
    masks = [silhouette(v, body.faces, K, WIDTH, HEIGHT) for v in out.vertices]
    boxes = np.array([[*np.argwhere(m).min(0)[::-1], *np.argwhere(m).max(0)[::-1] + 1] for m in masks], float)
    fit = BodyFit(observations(marks))
    state, system = fit.from_landmarks()

    def overlap(at) -> float:
        result = fit.result(at, system)
        pose = np.tile(relaxed_hands(body), (2, 1, 1))
        pose[:, :22] = result.pose
        drawn = body.forward(pose, result.betas, translation=result.translation).vertices
        shapes = [silhouette(v, body.faces, K, WIDTH, HEIGHT) for v in drawn]
        return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(shapes, masks, strict=True)]))

    before = overlap(state)
    state, system = fit.with_silhouettes(state, system, masks, boxes)
    assert overlap(state) > before
    assert overlap(state) > 0.93


@pytest.mark.parametrize("side", ["left", "right"])
def test_fingers_are_found(side: str) -> None:
    rng = np.random.default_rng(9)
    body = load_body("neutral")
    first = 25 if side == "left" else 40
    sign = -1 if side == "left" else 1
    pose = np.zeros((1, 55, 3))
    curl = rng.uniform(0.2, 1.2, (5, 3))
    mean = (body.hands_mean_left if side == "left" else body.hands_mean_right).reshape(5, 3, 3)
    for finger in range(4):
        pose[0, first + 3 * finger : first + 3 * finger + 3, 2] = sign * curl[finger]
    pose[0, first + 12 : first + 15] = mean[4]
    pose[0, 0] = [2.6, 0.7, -0.4]
    out = body.forward(pose, np.zeros((1, 10)))
    number = {name: i for i, name in enumerate(body.joint_names)}
    hand = [out.joints[0, number[f"{side}_wrist"]]]
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        hand += [out.joints[0, number[f"{side}_{finger}{k}"]] for k in (1, 2, 3)]
        hand.append(out.vertices[0, body.landmark_vertices[f"{side}_{finger}_tip"]])
    seen = 800 * np.array(hand)  # as an orthographic camera has it, in pixels
    R_wrist = out.rotations[:, number[f"{side}_wrist"]].astype(np.float64)
    found = fit_fingers([seen], [side], R_wrist, np.array([[0, 0, 1.0]]), "neutral")[0].reshape(5, 3, 3)
    assert FINGERS[-1] == "thumb"
    flexion = sign * found[:4, :, 2]
    # Neighbouring joints may share a finger's curl differently, within what a noisy hand could tell.
    np.testing.assert_allclose(flexion, curl[:4], atol=0.4)
    np.testing.assert_allclose(flexion.sum(1), curl[:4].sum(1), rtol=0.1)


def test_a_smile_and_an_open_mouth_are_found() -> None:
    body = load_body("neutral")
    expression = np.zeros((1, 10))
    expression[0, 0] = 0.9
    pose = np.zeros((1, 55, 3))
    pose[0, 22, 0] = 0.25
    vertices = body.forward(pose, np.zeros((1, 10)), expression).vertices[0]
    corners = vertices[body.faces[body.mediapipe_face_faces]]
    points = np.einsum("nc,nci->ni", body.mediapipe_face_bary, corners)
    turn = rotvec_to_matrix(np.array([0.2, 0.4, 0.1]))
    seen = (points @ turn.T) * np.array([1, -1, -1]) * 700 + 300
    found = fit_face(seen, "neutral")
    assert found.expression[0] == pytest.approx(0.9, abs=0.3)
    assert found.expression[0] == found.expression.max()
    assert found.jaw[0] == pytest.approx(0.25, abs=0.08)
