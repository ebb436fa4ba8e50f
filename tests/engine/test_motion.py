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
from recover_body.engine.motion.refine import refine
from recover_body.engine.motion.sides import MIRROR, swapped_frames
from recover_body.engine.motion.smooth import smooth_rotations, smooth_vectors, windows
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.messages import CameraHint, MotionOptions, RecoverRequest

RNG = np.random.default_rng(5)


# ---------------------------------------------------------------------------------------------- smoothing


def uneven_times(count: int) -> np.ndarray:
    return np.cumsum(RNG.choice([1, 1, 1, 3], count)) / 30


def test_motion_at_constant_speed_stays_as_it_is() -> None:
    times_s = uneven_times(60)
    near = windows(times_s, 0.08)
    line = 2.0 + times_s[:, None] * np.array([1.0, -3.0, 0.5])
    assert np.allclose(smooth_vectors(line, near), line)
    start, speed = RNG.normal(0, 1, (4, 3)), RNG.normal(0, 2, (4, 3))
    turning = matrix_to_rotvec(rotvec_to_matrix(start) @ rotvec_to_matrix(times_s[:, None, None] * speed))
    smooth = smooth_rotations(turning, near)
    assert np.allclose(rotvec_to_matrix(smooth), rotvec_to_matrix(turning), atol=1e-6)


def test_jitter_becomes_less() -> None:
    times_s = np.arange(90) / 30
    noise = RNG.normal(0, 0.05, (90, 2, 3))
    after = smooth_rotations(noise, windows(times_s, 0.05))
    assert np.std(np.diff(after, 2, axis=0)) < 0.4 * np.std(np.diff(noise, 2, axis=0))


def test_smoothing_over_less_than_a_frame_changes_nothing() -> None:
    values = RNG.normal(0, 1, (20, 3))
    assert np.array_equal(smooth_vectors(values, windows(np.arange(20) / 30, 0.005)), values)


# ---------------------------------------------------------------------------------------------- gaps


@pytest.fixture
def standing():
    """A track of 40 frames that moves to the right at 1 m/s."""
    images = [np.zeros((96, 128, 3), np.uint8)] * 40
    footage = Footage("clip", tuple(images), np.arange(1, 41), 25.0, None, 128, 96)
    camera = initial_camera(128, 96, CameraHint(), None)
    bodies = FakeBackend().recover(footage, camera, RecoverRequest("", "clip"), lambda *_: None)
    times_s = footage.frame_numbers / footage.fps
    translation = bodies.people[0].translation + times_s[:, None] * np.array([1.0, 0, 0])
    return replace(bodies.people[0], translation=translation), times_s, camera


def test_a_short_gap_is_filled_and_marked(standing) -> None:
    track, times_s, camera = standing
    present = np.ones(40, bool)
    present[10:15] = False
    holes = np.where(present[:, None], track.translation, 99.0)
    raw = MotionOptions(smoothing_s=0)
    after = refine(replace(track, present=present, translation=holes), times_s, raw, camera, "neutral")
    assert after.present.all()
    assert np.allclose(after.translation, track.translation, atol=1e-6)
    assert after.joint_inferred[10:15].all() and (after.score[10:15] == 0).all()
    assert np.array_equal(after.joint_inferred[:10], track.joint_inferred[:10])


def test_a_long_gap_stays_open(standing) -> None:
    track, times_s, camera = standing
    present = np.ones(40, bool)
    present[5:30] = False
    after = refine(replace(track, present=present), times_s, MotionOptions(smoothing_s=0), camera, "neutral")
    assert np.array_equal(after.present, present)


def test_the_keypoints_follow_what_smoothing_does(standing) -> None:
    track, times_s, camera = standing
    sideways = RNG.normal(0, 0.01, track.translation.shape) * [1, 1, 0]
    shaken = replace(track, translation=track.translation + sideways)
    after = refine(shaken, times_s, MotionOptions(smoothing_s=0.08), camera, "neutral")
    moved_m = (after.translation - shaken.translation)[:, :2]
    expected_px = moved_m * camera.fx_px / shaken.translation[:, 2:]
    moved_px = (after.reprojected_px - reprojected(shaken, camera, "neutral")).mean(1)
    assert np.abs(moved_px - expected_px).max() < 0.1


# ---------------------------------------------------------------------------------------------- sides


def walking(count: int = 60) -> np.ndarray:
    """(T, 33, 2) landmarks of two sides that are 80 pixels apart and swing."""
    phase = np.arange(count) / 6
    points = np.zeros((count, 33, 2))
    points[:, :, 0] = 300 + np.where(np.arange(33) % 2, 40, -40) + 10 * np.sin(phase)[:, None]
    points[:, :, 1] = np.linspace(100, 400, 33)
    return points


@pytest.mark.parametrize("wrong", [[], [20], [20, 21, 22, 23], [5, 30, 31], [58, 59]])
def test_swapped_sides_are_found(wrong) -> None:
    points = walking()
    points[wrong] = points[wrong][:, MIRROR]
    found = swapped_frames(points, np.ones((60, 33)), np.full(60, 350.0), np.arange(60) / 30)
    assert np.flatnonzero(found).tolist() == wrong


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


def test_gradient_of_the_motion_prior() -> None:
    count = 5
    state = State(
        rotvec_to_matrix(RNG.normal(0, 0.3, (count, 22, 3))),
        np.concatenate([RNG.normal(0, 3, (count, 2)), RNG.normal(-5.5, 0.01, (count, 1))], 1),
        np.zeros((count, 10)),
        np.full(count, np.log(900.0)),
    )
    motion = Motion(np.array([0, 1, 2, 5, 6]) / 30)
    _, gradient, _, _ = motion.cost_and_model(state)
    rng, step = np.random.default_rng(1), 1e-6
    for _ in range(12):
        direction = np.zeros((count, UNKNOWNS))
        direction[rng.integers(count), rng.integers(66)] = 1  # turns; the place's metres are held at the present depth
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
