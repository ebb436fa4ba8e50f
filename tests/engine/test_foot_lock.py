# SPDX-License-Identifier: GPL-3.0-or-later
"""A walker whose contacts are known, people who stand and glide: feet are held when they touch, and only then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine.motion.contacts import FEET, find_contacts, places
from recover_body.engine.motion.foot_lock import lock_feet
from recover_body.engine.motion.ground import find_ground
from recover_body.engine.motion.leg_ik import LEGS, move_ankles
from recover_body.engine.motion.placed import PlacedMotion, joined, split
from recover_body.models.body_model import load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import B_BLENDER_BODY

FPS = 30.0
STRIDE_S, STRIDE_M, LIFT_M = 1.0, 0.9, 0.12
EYE = np.array([1.0, -8.0, 1.4])


def standing(count: int, fps: float = FPS) -> PlacedMotion:
    """Upright at the origin with bent knees, facing -y, soles on z = 0."""
    pose = np.zeros((55, 3))
    pose[16, 2], pose[17, 2] = -1.2, 1.2
    for hip, knee, ankle in LEGS:
        pose[hip, 0], pose[knee, 0], pose[ankle, 0] = -0.25, 0.5, -0.25
    rotations = rotvec_to_matrix(pose)
    rotations[0] = B_BLENDER_BODY
    times_s = np.arange(count) / fps
    rotations, way = np.tile(rotations, (count, 1, 1, 1)), np.zeros((count, 3))
    made = PlacedMotion("neutral", np.zeros(10), times_s, rotations, way, np.tile(EYE, (count, 1)))
    return replace(made, pelvis=way - [0, 0, places(made)[0, FEET, 2].mean()])


def walking(count: int = 90) -> tuple[PlacedMotion, np.ndarray]:
    """Along -y at constant speed, and (T, 4) when heels and toes touch. Feet are carried flat."""
    still = standing(count)
    speed = STRIDE_M / STRIDE_S
    pelvis = still.pelvis - np.outer(still.times_s, [0, speed, 0])
    shift, touches = np.zeros((count, 2, 3)), np.zeros((count, 4), bool)
    for leg in range(2):
        phase = (still.times_s / STRIDE_S + 0.5 * leg) % 1.0  # of which the foot stands for the first 60 %
        stands = phase < 0.6
        swing = np.clip((phase - 0.6) / 0.4, 0, 1)
        eased = swing * swing * (3 - 2 * swing)
        # Relative to the pelvis: back at walking speed while it stands, forward while it swings.
        back = np.where(stands, phase - 0.3, 0.3 - 0.6 * eased) * STRIDE_M
        shift[:, leg] = np.stack([np.zeros(count), back, LIFT_M * np.sin(np.pi * swing) ** 2 * ~stands], 1)
        touches[:, 2 * leg : 2 * leg + 2] = stands[:, None]
    return move_ankles(
        replace(still, pelvis=pelvis - [0, 0, 0.06]), shift + np.array([0, 0, 0.06]), np.zeros_like(shift)
    ), touches


def shaken(motion: PlacedMotion, seed: int = 1) -> PlacedMotion:
    """With what is left of a detector's mistakes after smoothing: wandering limbs and, above all, depth."""
    rng, count = np.random.default_rng(seed), len(motion.times_s)
    waves = lambda *shape: sum(  # noqa: E731
        np.sin(2 * np.pi * motion.times_s * f + rng.uniform(0, 6)).reshape(-1, *[1] * len(shape))
        * rng.normal(0, 1, shape)
        for f in (0.3, 0.7, 1.6)
    )
    turns = np.zeros((count, 55, 3))
    turns[:, 1:22] = 0.012 * waves(21, 3)
    ray = motion.pelvis - motion.eye
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    pelvis = motion.pelvis + 0.02 * waves(1) * ray + 0.003 * waves(3)
    return replace(motion, rotations=motion.rotations @ rotvec_to_matrix(turns), pelvis=pelvis)


def slide_mm(motion: PlacedMotion, touches: np.ndarray) -> np.ndarray:
    """Ways of touching heels and toes from frame to frame."""
    both = touches[1:] & touches[:-1]
    return 1000 * np.linalg.norm(np.diff(places(motion)[:, FEET], axis=0), axis=-1)[both]


def in_picture(motion: PlacedMotion) -> np.ndarray:
    """(T, 22, 2) tangents of the joints as the eye sees them, looking along +y turned to the pelvis."""
    from_eye = motion.joints[:, :22] - motion.eye[:, None]
    return np.stack([from_eye[..., 0], from_eye[..., 2]], -1) / from_eye[..., 1:2]


def test_a_walkers_contacts_are_found() -> None:
    motion, touches = walking()
    assert slide_mm(motion, touches).max() < 1e-6
    found = find_contacts(motion, ground_known=True)
    assert not found[:, 4:].any()  # neither hands nor seat
    inside = np.ones(len(touches), bool)
    for leg in (0, 2):
        changes = np.flatnonzero(np.diff(touches[:, leg]))
        near = np.abs(np.arange(len(touches))[:, None] - changes).min(1) <= 3
        np.testing.assert_array_equal(found[~near & inside, leg], touches[~near & inside, leg])


def test_contacts_do_not_depend_on_the_frame_rate() -> None:
    slow, fast = standing(30, 15.0), standing(120, 60.0)
    for motion in (slow, fast):
        lift = 0.2 * np.clip(np.sin(np.pi * (motion.times_s - 0.8) / 0.4), 0, None) * (motion.times_s > 0.8)
        lift[motion.times_s > 1.2] = 0
        shift = np.zeros((len(lift), 2, 3))
        shift[:, 0, 2] = lift
        stepping = move_ankles(motion, shift, np.zeros_like(shift))
        found = find_contacts(stepping, ground_known=True)[:, FEET]
        away_s = (~found[:, 0]).sum() * np.diff(motion.times_s).mean()
        assert away_s == pytest.approx(0.4, abs=0.12)
        assert found[:, 2:].all()


def test_feet_are_held_and_the_picture_is_kept() -> None:
    true, touches = walking()
    seen = shaken(true)
    contacts = find_contacts(seen, ground_known=True)
    held = lock_feet(seen, contacts, on_ground=True)
    sure = contacts[:, FEET] & touches
    assert slide_mm(seen, sure).mean() > 3
    assert slide_mm(held, sure).mean() < 0.5
    assert np.abs(places(held)[:, FEET, 2][sure]).mean() < 0.003
    moved = np.linalg.norm(in_picture(held) - in_picture(seen), axis=-1) * 1000  # pixels of a lens of 1000 px
    assert moved.mean() < 4
    # And no farther from the truth: what was wrong with the depth goes, what was wrong with the legs moves the root.
    error = lambda motion: np.linalg.norm(motion.joints[:, :22] - true.joints[:, :22], axis=-1).mean()  # noqa: E731
    assert error(held) < error(seen)


def test_holding_feet_does_not_shake_the_body() -> None:
    true, _ = walking()
    seen = shaken(true)
    held = lock_feet(seen, find_contacts(seen, ground_known=True), on_ground=True)
    shakes = lambda motion: np.linalg.norm(np.diff(motion.joints[:, :22], 2, axis=0), axis=-1) * FPS**2  # noqa: E731
    assert shakes(held).mean() < shakes(seen).mean()
    assert np.percentile(shakes(held), 99) < 1.05 * np.percentile(shakes(seen), 99)
    assert shakes(held).max() < 2 * shakes(seen).max()


def test_who_stands_is_left_alone() -> None:
    motion = standing(60)
    contacts = find_contacts(motion, ground_known=True)
    assert contacts[:, FEET].all() and not contacts[:, 4:].any()
    held = lock_feet(motion, contacts, on_ground=True)
    assert np.abs(held.joints - motion.joints).max() < 0.004  # the soles are as flat as the body's feet are


def test_who_sways_in_depth_stands_still() -> None:
    motion = standing(300)
    ray = motion.pelvis - motion.eye
    sway = 0.05 * np.sin(2 * np.pi * motion.times_s / 7)[:, None] * ray / np.linalg.norm(ray, axis=1, keepdims=True)
    held = lock_feet(replace(motion, pelvis=motion.pelvis + sway), np.ones((300, 7), bool), on_ground=True)
    assert np.ptp(held.pelvis[:, :2], axis=0).max() < 0.02
    assert np.ptp(places(held)[:, FEET], axis=0).max() < 0.003


def test_who_glides_is_not_held() -> None:
    motion = standing(60)
    gliding = replace(motion, pelvis=motion.pelvis + np.outer(motion.times_s, [1.0, 0, 0]))
    contacts = find_contacts(gliding, ground_known=True)
    assert not contacts.any()
    assert lock_feet(gliding, contacts, on_ground=True) is gliding


def test_toes_stay_while_the_heel_rises() -> None:
    motion = standing(60)
    rise = 0.5 * np.clip((motion.times_s - 0.5) / 1.0, 0, 1)
    contacts = np.zeros((60, 7), bool)
    contacts[:, 0], contacts[:, 1] = rise == 0, True
    turn = np.zeros((60, 2, 3))
    turn[:, 0, 0] = rise  # the left foot's toes go down
    rolled = move_ankles(motion, np.zeros((60, 2, 3)), turn)
    held = lock_feet(rolled, contacts, on_ground=True)
    toes = places(held)[:, 1]
    assert np.ptp(toes, axis=0).max() < 0.004
    assert places(held)[-1, 0, 2] > 0.05  # the heel did rise


def test_hands_and_seat_touch_too() -> None:
    motion = standing(45)
    pose = matrix_to_rotvec(motion.rotations)
    for hip, knee, _ in LEGS:
        pose[:, hip, 0], pose[:, knee, 0] = -1.5, 1.5
    seated = replace(motion, rotations=rotvec_to_matrix(pose))
    seated = replace(seated, rotations=np.concatenate([motion.rotations[:, :1], seated.rotations[:, 1:]], 1))
    seated = replace(seated, pelvis=seated.pelvis - [0, 0, places(seated)[0, FEET, 2].mean()])
    found = find_contacts(seated, ground_known=True)
    assert found[:, 6].all() and found[:, FEET].all() and not found[:, 4:6].any()
    on_all_fours = rotvec_to_matrix(np.array([np.pi / 2, 0, 0]))
    down = motion.rotations.copy()
    down[:, 0] = on_all_fours @ B_BLENDER_BODY
    down[:, 16], down[:, 17] = rotvec_to_matrix(np.array([[0, -1.4, 0], [0, 1.4, 0]]))
    lying = replace(motion, rotations=down)
    lying = replace(lying, pelvis=lying.pelvis - [0, 0, places(lying)[0, 4:6, 2].mean()])
    assert find_contacts(lying, ground_known=True)[:, 4:6].all()


# ---------------------------------------------------------------------------------------------- legs


def test_ankles_go_where_they_are_sent() -> None:
    motion = standing(40)
    rng = np.random.default_rng(4)
    shift, turn = rng.normal(0, 0.03, (40, 2, 3)) + np.array([0, 0, 0.08]), rng.normal(0, 0.2, (40, 2, 3))
    moved = move_ankles(motion, shift, turn)
    for leg, (hip, _, ankle) in enumerate(LEGS):
        np.testing.assert_allclose(moved.joints[:, ankle], motion.joints[:, ankle] + shift[:, leg], atol=1e-6)
        np.testing.assert_allclose(moved.joints[:, hip], motion.joints[:, hip], atol=1e-9)
        wanted = rotvec_to_matrix(turn[:, leg]) @ motion.turns[:, ankle]
        np.testing.assert_allclose(moved.turns[:, ankle], wanted, atol=1e-9)
    np.testing.assert_allclose(move_ankles(motion, 0 * shift, 0 * turn).rotations, motion.rotations, atol=1e-7)


def test_a_leg_that_is_pulled_straight_does_not_snap() -> None:
    """The ankle follows ever more slowly, and the knee opens without a jump."""
    motion = standing(200)
    shift = np.zeros((200, 2, 3))
    shift[:, 0, 2] = -np.linspace(0, 0.3, 200)
    moved = move_ankles(motion, shift, np.zeros_like(shift))
    knee = matrix_to_rotvec(moved.rotations[:, LEGS[0][1]])
    assert (knee[:, 0] > 0).all() and (np.diff(knee[:, 0]) < 1e-9).all()
    assert np.abs(np.diff(moved.joints[:, LEGS[0][2]], axis=0)).max() < 0.003


# ---------------------------------------------------------------------------------------------- ground


@pytest.mark.parametrize("tilt_deg", [0, 3, -4])
def test_the_ground_is_found_under_a_tilted_world(tilt_deg) -> None:
    walks = [shaken(walking()[0], seed) for seed in (1, 2)]
    T = np.eye(4)
    T[:3, :3] = rotvec_to_matrix(np.radians([tilt_deg, 0.5 * tilt_deg, 0]))
    T[2, 3] = 0.2
    ground = find_ground([walk.moved(T) for walk in walks], level_is_known=False)
    both = ground.T_level_world @ T
    up = both[:3, :3] @ [0, 0, 1]
    assert np.degrees(np.arccos(up[2])) < max(1.0, 0.35 * abs(tilt_deg))
    heights = places(walks[0].moved(both))[:, FEET, 2]
    assert abs(np.median(heights[find_contacts(walks[0], True)[:, FEET]])) < 0.02
    assert ground.residual_m < 0.04 and ground.contacts > 8


def test_somebody_on_a_box_does_not_lift_the_ground() -> None:
    low = [shaken(walking()[0], seed) for seed in (1, 2)]
    on_a_box = replace(standing(90), pelvis=standing(90).pelvis + np.array([2, 0, 0.5]))
    ground = find_ground([*low, on_a_box], level_is_known=True)
    assert abs(ground.height_m) < 0.02


def test_nobody_touching_is_no_ground() -> None:
    motion = standing(30)
    gliding = replace(motion, pelvis=motion.pelvis + np.outer(motion.times_s, [1.0, 0, 0]))
    assert find_ground([gliding], level_is_known=False) is None


def test_stretches_join_to_the_whole() -> None:
    motion = standing(30)
    apart = replace(motion, times_s=motion.times_s + (np.arange(30) > 12) * 2.0)
    parts = split(apart, 0.7)
    assert [len(part.times_s) for part in parts] == [13, 17]
    np.testing.assert_array_equal(joined(parts).rotations, apart.rotations)
    assert load_body("neutral").joint_names[LEGS[0][1]] == "left_knee"
