# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion that is known comes out as it was: swapped sides, gaps, jitter and the solver over time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine.backends.fake import FakeBackend
from recover_body.engine.cameras import initial_camera
from recover_body.engine.fit.body_fit import BodyFit
from recover_body.engine.fit.kinematics import PLACE, UNKNOWNS, State
from recover_body.engine.fit.temporal import Motion, solve_block_tridiagonal
from recover_body.engine.frames import Footage
from recover_body.engine.keypoints import reprojected
from recover_body.engine.motion.placed import PlacedMotion
from recover_body.engine.motion.refine import refine
from recover_body.engine.motion.sides import ABOVE, BELOW, MIRROR, swapped_frames
from recover_body.engine.motion.smooth import smooth_motion, smooth_vectors
from recover_body.engine.tracks import camera_track
from recover_body.models.body_model import load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.messages import CameraHint, RecoverRequest
from recover_body.wire.motion import AS_SEEN

RNG = np.random.default_rng(5)


# ---------------------------------------------------------------------------------------------- smoothing


def uneven_times(count: int) -> np.ndarray:
    return np.cumsum(RNG.choice([1, 1, 1, 3], count)) / 30


def motion_of(rotvecs: np.ndarray, pelvis: np.ndarray, times_s: np.ndarray) -> PlacedMotion:
    """Rotation vectors (T, 55, 3)."""
    eye = np.tile([0.0, -5.0, 1.5], (len(times_s), 1))
    return PlacedMotion("neutral", np.zeros(10), times_s, rotvec_to_matrix(rotvecs), pelvis, eye)


@pytest.mark.parametrize("time_s", [0.03, 0.08])
def test_motion_at_constant_speed_stays_as_it_is(time_s) -> None:
    times_s = uneven_times(60)
    start, speed = RNG.normal(0, 1, (55, 3)), RNG.normal(0, 1.2, (55, 3))
    matrices = rotvec_to_matrix(start) @ rotvec_to_matrix(times_s[:, None, None] * speed)
    way = 2.0 + times_s[:, None] * np.array([1.0, -3.0, 0.5])
    before = motion_of(matrix_to_rotvec(matrices), way, times_s)
    after = smooth_motion(before, time_s)
    assert np.allclose(after.rotations, matrices, atol=1e-6)
    assert np.allclose(after.pelvis, way)
    assert np.allclose(smooth_vectors(way, times_s, time_s), way)


def jitter(motion: PlacedMotion) -> float:
    """Of the left shoulder, about the axes about which it should not turn."""
    shoulder = motion.rotations[:, 16]
    return float(np.std(matrix_to_rotvec(shoulder[:-1].swapaxes(-1, -2) @ shoulder[1:])[:, :2]))


def test_jitter_becomes_less_the_more_the_slower() -> None:
    times_s = np.arange(120) / 30
    noise = RNG.normal(0, 0.05, (120, 55, 3))
    quick = np.zeros((120, 55, 3))
    quick[:, 16, 2] = 8 * np.sin(2 * np.pi * times_s / 2.0)  # up to 25 radians per second
    way = np.zeros((120, 3))
    still, busy = (motion_of(noise + part, way, times_s) for part in (np.zeros_like(quick), quick))
    assert jitter(smooth_motion(still, 0.05)) < 0.2 * jitter(still)
    calm = motion_of(quick, way, times_s)
    turned = lambda motion: matrix_to_rotvec(motion.rotations[:, 16])[:, 2]  # noqa: E731
    lost = np.abs(np.ptp(turned(smooth_motion(calm, 0.05))) - np.ptp(turned(calm)))
    assert lost < 0.02 * np.ptp(turned(calm))
    assert jitter(smooth_motion(busy, 0.05)) < jitter(busy)


def test_smoothing_over_less_than_a_frame_changes_nothing() -> None:
    times_s = np.arange(20) / 30
    before = motion_of(RNG.normal(0, 0.3, (20, 55, 3)), RNG.normal(0, 1, (20, 3)), times_s)
    after = smooth_motion(before, 0.002)
    assert np.allclose(after.rotations, before.rotations) and np.allclose(after.pelvis, before.pelvis)


# ---------------------------------------------------------------------------------------------- gaps and stretches


@pytest.fixture
def standing():
    """A track of 40 frames that moves to the right at 1 m/s, and what else `refine` wants."""
    images = [np.zeros((96, 128, 3), np.uint8)] * 40
    footage = Footage("clip", tuple(images), np.arange(1, 41), 25.0, None, 128, 96)
    camera = initial_camera(128, 96, CameraHint(), None)
    bodies = FakeBackend().recover(footage, camera, RecoverRequest("", "clip"), lambda *_: None)
    times_s = footage.frame_numbers / footage.fps
    translation = bodies.people[0].translation + times_s[:, None] * np.array([1.0, 0, 0])
    return replace(bodies.people[0], translation=translation), times_s, camera_track(camera)


def refined(track, times_s, camera, **asked):
    return refine((track,), ("neutral",), times_s, camera, replace(AS_SEEN, **asked)).tracks[0]


def test_a_short_gap_is_filled_and_marked(standing) -> None:
    track, times_s, camera = standing
    present = np.ones(40, bool)
    present[10:15] = False
    holes = np.where(present[:, None], track.translation, 99.0)
    after = refined(replace(track, present=present, translation=holes), times_s, camera, fill_gaps=True)
    assert after.present.all()
    assert np.allclose(after.translation, track.translation, atol=1e-6)
    assert after.joint_inferred[10:15].all() and (after.score[10:15] == 0).all()
    assert np.array_equal(after.joint_inferred[:10], track.joint_inferred[:10])


def test_a_long_gap_stays_open_and_nothing_reaches_across(standing) -> None:
    track, times_s, camera = standing
    present = np.ones(40, bool)
    present[8:30] = False
    asked = {"fill_gaps": True, "smoothing_s": 0.1}
    after = refined(replace(track, present=present), times_s, camera, **asked)
    assert np.array_equal(after.present, present)
    elsewhere = track.translation + np.where(np.arange(40) < 20, 0.0, 5.0)[:, None]
    jumped = refined(replace(track, present=present, translation=elsewhere), times_s, camera, **asked)
    assert np.allclose(jumped.translation[:8], after.translation[:8])
    assert np.allclose(jumped.translation[30:], after.translation[30:] + 5)


def test_a_gap_before_a_moving_camera_is_filled_in_the_world(standing) -> None:
    """Somebody stands still while the camera pans: between two sightings the person stays where the person was."""
    track, times_s, camera = standing
    still_world = np.array([0.0, 0.0, 4.0])
    poses = np.tile(np.eye(4), (40, 1, 1))
    poses[:, :3, :3] = rotvec_to_matrix(np.stack([np.zeros(40), 0.5 * np.sin(times_s * 3), np.zeros(40)], 1))
    lens = {name: np.repeat(getattr(camera, name), 40) for name in ("fx_px", "fy_px", "cx_px", "cy_px")}
    moving = replace(camera, **lens, T_world_camera=poses, is_placed=True)
    rest = load_body("neutral").rest_joints(track.betas[None])[0, 0]
    seen = (poses[:, :3, :3].swapaxes(1, 2) @ still_world) - rest
    roots = poses[:, :3, :3].swapaxes(1, 2) @ rotvec_to_matrix(track.pose[:, 0])
    pose = np.array(track.pose)
    pose[:, 0] = matrix_to_rotvec(roots)
    present = np.ones(40, bool)
    present[12:24] = False
    before = replace(track, present=present, pose=pose, translation=seen)
    for asked in ({"fill_gaps": True}, {"fill_gaps": True, "smoothing_s": 0.1}, {"fill_gaps": True, "foot_lock": True}):
        after = refined(before, times_s, moving, **asked)
        world = (poses[:, :3, :3] @ (after.translation + rest)[..., None])[..., 0]
        assert np.abs(world - still_world).max() < 1e-3, asked


def test_the_keypoints_follow_the_body(standing) -> None:
    track, _, camera = standing
    sideways = RNG.normal(0, 0.01, track.translation.shape) * [1, 1, 0]
    moved_px = reprojected(replace(track, translation=track.translation + sideways), camera, "neutral")
    expected_px = sideways[:, :2] * camera.fx_px / track.translation[:, 2:]
    assert np.abs((moved_px - reprojected(track, camera, "neutral")).mean(1) - expected_px).max() < 0.1


# ---------------------------------------------------------------------------------------------- sides


def walking(count: int = 60) -> np.ndarray:
    """(T, 33, 2) landmarks of two sides that are 80 pixels apart and swing."""
    phase = np.arange(count) / 6
    points = np.zeros((count, 33, 2))
    points[:, :, 0] = 300 + np.where(np.arange(33) % 2, 40, -40) + 10 * np.sin(phase)[:, None]
    points[:, :, 1] = np.linspace(100, 400, 33)
    return points


@pytest.mark.parametrize("wrong", [[], [20], [20, 21, 22, 23], [5, 30, 31], [58, 59]])
@pytest.mark.parametrize("part", [slice(0, 33), ABOVE, BELOW])
def test_swapped_sides_are_found_in_each_half_of_the_body(wrong, part) -> None:
    points = walking()
    points[wrong, part] = points[wrong][:, MIRROR][:, part]
    found = swapped_frames(points, np.ones((60, 33)), np.full(60, 350.0), np.arange(60) / 30)
    truth = np.zeros((60, 33), bool)
    truth[wrong, part] = True
    np.testing.assert_array_equal(found, truth)


# ---------------------------------------------------------------------------------------------- fit over time


def test_block_tridiagonal_solve() -> None:
    count, size = 7, 5
    diagonal = RNG.normal(0, 1, (count, size, size))
    diagonal = diagonal @ diagonal.swapaxes(1, 2) + 4 * np.eye(size)
    between = RNG.normal(0, 0.5, (count - 1, size, size))
    whole = np.zeros((count * size, count * size))
    for t in range(count):
        here = slice(t * size, (t + 1) * size)
        whole[here, here] = diagonal[t]
        if t + 1 < count:
            there = slice((t + 1) * size, (t + 2) * size)
            whole[here, there], whole[there, here] = between[t], between[t].T
    right = RNG.normal(0, 1, (count, size))
    found = solve_block_tridiagonal(diagonal, between, right)
    assert np.allclose(found.ravel(), np.linalg.solve(whole, right.ravel()))


@pytest.mark.parametrize("camera_moves", [False, True])
def test_gradient_of_the_motion_prior(camera_moves: bool) -> None:
    count = 5
    state = State(
        rotvec_to_matrix(RNG.normal(0, 0.3, (count, 22, 3))),
        np.concatenate([RNG.normal(0, 3, (count, 2)), RNG.normal(-5.5, 0.01, (count, 1))], 1),
        np.zeros((count, 10)),
        np.full(count, np.log(900.0)),
    )
    places = np.tile(np.eye(4), (count, 1, 1))
    places[:, :3, :3] = rotvec_to_matrix(RNG.normal(0, 0.02, (count, 3)))
    places[:, :3, 3] = RNG.normal(0, 0.02, (count, 3))
    motion = Motion(np.array([0, 1, 2, 5, 6]) / 30, places if camera_moves else None)
    _, gradient, _, _ = motion.cost_and_model(state)
    rng, step = np.random.default_rng(1), 1e-6
    for _ in range(12):
        direction = np.zeros((count, UNKNOWNS))
        direction[rng.integers(count), rng.integers(69)] = 1  # turns and place
        forward, backward = (motion.cost_and_model(state.moved(sign * step * direction))[0] for sign in (1, -1))
        assert (forward - backward) / (2 * step) == pytest.approx((gradient * direction).sum(), rel=1e-3, abs=1e-4)
    assert gradient[:, PLACE].any()


def test_a_still_body_fitted_over_time_jitters_less_than_frame_by_frame() -> None:
    from recover_body.tests.engine.test_fit import observations, people

    *_, marks = people(1, seed=3)
    seen = observations(np.repeat(marks, 24, 0))
    noise_px = np.random.default_rng(2).normal(0, 4, seen.points_px.shape)
    problem = BodyFit(replace(seen, points_px=seen.points_px + noise_px), betas=np.zeros((24, 10)))
    alone, _ = problem.from_landmarks()
    together, _ = problem.with_motion(alone, Motion(np.arange(24) / 30), 8)

    def jitter(state: State) -> float:
        turns = matrix_to_rotvec(state.rotations[:-1].swapaxes(-1, -2) @ state.rotations[1:])
        return float(np.linalg.norm(turns, axis=-1).mean())

    assert jitter(together) < 0.6 * jitter(alone)
