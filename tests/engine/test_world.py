# SPDX-License-Identifier: GPL-3.0-or-later
"""People stand on the ground of the take's world, and the camera gets the tilt."""

from __future__ import annotations

import math

import numpy as np

from recover_body.engine import world
from recover_body.engine.backends.base import BodyTrack
from recover_body.engine.fit.contours import relaxed_hands
from recover_body.models.body_model import load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import transform


def standing(pitch_rad: float, x_m: float = 0.0) -> BodyTrack:
    """Somebody who stands upright before a camera that is pitched (up is positive)."""
    body = load_body("neutral")
    pose = relaxed_hands(body)[None].astype(np.float64)
    pose[0, 16, 2], pose[0, 17, 2] = -1.2, 1.2
    tilt = rotvec_to_matrix(np.array([pitch_rad, 0, 0]))
    pose[0, 0] = matrix_to_rotvec(tilt @ rotvec_to_matrix(np.array([math.pi, 0, 0])))
    nothing = np.zeros((1, 1, 3))
    return BodyTrack(
        present=np.ones(1, bool),
        boxes_px=np.zeros((1, 4)),
        score=np.ones(1),
        pose=pose,
        betas=np.zeros(10),
        expression=np.zeros((1, 10)),
        translation=np.array([[x_m, 0, 4.0]]),
        keypoint_names=("nose",),
        keypoints_px=nothing,
        joint_confidence=np.ones((1, 55)),
        joint_inferred=np.zeros((1, 55), bool),
        masks=(None,),
        reprojected_px=nothing[..., :2],
    )


def vertices_world(person: BodyTrack, T_world_camera: np.ndarray) -> np.ndarray:
    out = load_body("neutral").forward(person.pose, person.betas, translation=person.translation)
    return transform(T_world_camera, out.vertices[0])


def test_feet_are_on_the_ground_below_the_origin() -> None:
    person = standing(0.0)
    T, note = world.place((person,), "neutral")
    vertices = vertices_world(person, T)
    assert abs(vertices[:, 2].min()) < 1e-4
    assert np.linalg.norm(vertices[:, :2].mean(0)) < 0.1
    assert 1.5 < vertices[:, 2].max() < 2.0
    assert "tilt" in note


def test_the_transform_is_rigid_and_the_camera_looks_along_y() -> None:
    T, _ = world.place((standing(0.1),), "neutral")
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(T[:3, :3]) > 0
    forward_world = T[:3, :3] @ [0, 0, 1]
    assert abs(forward_world[0]) < 1e-9 < forward_world[1]
    down_world = T[:3, :3] @ [0, 1, 0]
    assert down_world[2] < 0


def test_a_pitched_camera_is_recognised_by_who_stands_before_it() -> None:
    for pitch in (-0.35, 0.0, 0.25):
        T, _ = world.place((standing(pitch),), "neutral")
        up_world = T[:3, :3] @ rotvec_to_matrix(np.array([pitch, 0, 0])) @ [0, -1, 0]
        # Somebody who sways a little is still standing, so the tilt is known to some degrees only.
        assert math.degrees(math.acos(up_world[2])) < 9


def test_more_people_make_the_tilt_surer() -> None:
    def error(people: tuple[BodyTrack, ...]) -> float:
        T, _ = world.place(people, "neutral")
        up_world = T[:3, :3] @ rotvec_to_matrix(np.array([-0.35, 0, 0])) @ [0, -1, 0]
        return math.acos(up_world[2])

    assert error(tuple(standing(-0.35, x) for x in (-1.0, 0.0, 1.0))) < error((standing(-0.35),))
