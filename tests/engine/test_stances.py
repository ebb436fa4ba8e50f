# SPDX-License-Identifier: GPL-3.0-or-later
"""Feet that stand tell the lens: who walks to the camera on planted feet does so through one lens only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine.backends.base import BodyTrack
from recover_body.engine.cameras import Pinhole
from recover_body.engine.fit.stances import MOST_FRAMES, Rough, camera_by_stances, thinned, through
from recover_body.engine.motion.glimpses import feet_hidden_for_a_moment
from recover_body.engine.motion.placed import PlacedMotion, placed
from recover_body.models.rotations import matrix_to_rotvec

from .test_foot_lock import EYE, shaken, standing, walking

WIDTH, HEIGHT, FOCAL_PX = 1280, 720, 1000.0
R_CAMERA_WORLD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""The camera looks along +y."""


def seen_through(motion: PlacedMotion, wrong: float) -> tuple[Rough, Pinhole]:
    """A motion as it was fitted through a lens `wrong` times as long as the true one, and that lens: assumed."""
    T_camera_world = np.eye(4)
    T_camera_world[:3, :3], T_camera_world[:3, 3] = R_CAMERA_WORLD, -R_CAMERA_WORLD @ EYE
    seen = through(motion.moved(T_camera_world), wrong)
    count = len(seen.times_s)
    track = BodyTrack(
        present=np.ones(count, bool),
        boxes_px=np.zeros((count, 4)),
        score=np.ones(count),
        pose=matrix_to_rotvec(seen.rotations),
        betas=seen.betas,
        expression=np.zeros((count, 10)),
        translation=seen.pelvis - seen.rest[0],
        keypoint_names=(),
        keypoints_px=np.zeros((count, 0, 3)),
        joint_confidence=np.ones((count, 55)),
        joint_inferred=np.zeros((count, 55), bool),
        masks=(None,) * count,
        reprojected_px=np.zeros((count, 0, 2)),
    )
    focal_px = wrong * FOCAL_PX
    camera = Pinhole(focal_px, focal_px, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, "assumed", 0.7)
    return Rough(seen.times_s, track), camera


@pytest.mark.parametrize("wrong", [0.6, 1.0, 1.6])
def test_a_walk_to_the_camera_tells_the_lens(wrong: float) -> None:
    person, assumed = seen_through(shaken(walking()[0]), wrong)
    found = camera_by_stances(assumed, [person], assumed, "neutral")
    assert found.source == "estimated" and "feet that stand" in found.evidence
    assert found.fx_px == pytest.approx(FOCAL_PX, rel=0.12) and found.fx_sigma < 0.35


def test_who_stands_still_or_shows_no_feet_tells_nothing() -> None:
    person, assumed = seen_through(standing(60), 1.5)
    assert camera_by_stances(assumed, [person], assumed, "neutral") == assumed
    walker, assumed = seen_through(walking()[0], 1.5)
    unseen = replace(walker, track=replace(walker.track, joint_inferred=np.ones((90, 55), bool)))
    assert camera_by_stances(assumed, [unseen], assumed, "neutral") == assumed


def test_another_lens_and_back_is_nothing() -> None:
    person, _ = seen_through(walking(20)[0], 1.0)
    motion = placed(person.track, person.times_s, np.tile(np.eye(4), (20, 1, 1)), "neutral")
    back = through(through(motion, 1.7), 1 / 1.7)
    np.testing.assert_allclose(back.pelvis, motion.pelvis)
    np.testing.assert_allclose(back.joints, motion.joints, atol=1e-9)


def test_long_clips_are_thinned() -> None:
    assert len(thinned(np.arange(100) / 15)) == 100
    assert np.diff(thinned(np.arange(100) / 60)).tolist() == [4] * 24
    long = thinned(np.arange(10_000) / 30)
    assert len(long) == MOST_FRAMES and long[0] > 0 and long[-1] < 9_999


def test_a_foot_behind_something_is_hidden_for_that_moment_only() -> None:
    names = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("ankle", "heel", "foot_index"))
    track = seen_through(standing(90), 1.0)[0].track
    keypoints_px = np.full((90, 6, 3), 0.9)
    keypoints_px[40:50, 3:] = 0.2
    hidden = feet_hidden_for_a_moment(
        replace(track, keypoint_names=names, keypoints_px=keypoints_px), np.arange(90) / 30
    )
    assert not hidden[:, :2].any() and (np.flatnonzero(hidden[:, 2]) == np.arange(40, 50)).all()
    assert not feet_hidden_for_a_moment(track, np.arange(90) / 30).any()
