# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way is up, and where the ground is: the camera's place in a world with z up and people on the floor.

A picture alone does not tell how the camera was tilted. People do, a little: who is not jumping has the centre of mass
above the points that touch the ground. Every tilt within reason is tried, weighed by how well everybody balances under
it and by how people hold cameras, and the weighted mean is taken.
"""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np

from ..models.body_model import BodyOutput, load_body
from .backends.base import BodyTrack

PITCH_SIGMA_RAD, ROLL_SIGMA_RAD = math.radians(10), math.radians(3)
"""How people hold cameras: about level, and straighter than they hold them level."""
BALANCE_SIGMA_M = 0.08
"""How far from balanced a person at rest looks, mostly because depths along the ray are uncertain."""
BALANCE_CAP_M = 0.3
"""Who is farther from balance than this is moving, and says no more about the tilt."""
VIEWS, MOST_VIEWS = 6, 2.0
"""Frames of a clip that are looked at per person, and how many independent ones they count as."""
TOUCH_M = 0.03
"""Points this little above the lowest one carry weight too."""

# Share of the body's mass between two joints (after de Leva 1996, rounded; hands with forearms, feet with shins).
_SEGMENTS = (
    ("pelvis", "spine3", 0.30),
    ("spine3", "neck", 0.15),
    ("head", "head", 0.08),
    *((f"{side}_hip", f"{side}_knee", 0.14) for side in ("left", "right")),
    *((f"{side}_knee", f"{side}_foot", 0.055) for side in ("left", "right")),
    *((f"{side}_shoulder", f"{side}_elbow", 0.025) for side in ("left", "right")),
    *((f"{side}_elbow", f"{side}_middle1", 0.02) for side in ("left", "right")),
)


def place(people: tuple[BodyTrack, ...], body_name: str) -> tuple[np.ndarray, str]:
    """T_world_camera (4, 4) for a static camera, and a sentence on how far to trust it.

    The origin lies on the ground below the first person's pelvis in the first frame; the camera looks along +y.
    `people` are in the camera frame, largest first; of a clip, some frames of each are looked at.
    """
    views = [_views(person, body_name) for person in people]
    bodies = [body for of_person in views for body in of_person]
    # A person's frames repeat the same mistakes, so all of them together count as a few.
    weights = [
        _weight(person) * min(1, MOST_VIEWS / len(of_person))
        for person, of_person in zip(people, views, strict=True)
        for _ in of_person
    ]
    up_cam = _up(bodies, weights, load_body(body_name).joint_names)
    forward_cam = np.array([0, 0, 1.0]) - up_cam[2] * up_cam
    forward_cam /= np.linalg.norm(forward_cam)
    R_world_camera = np.stack([np.cross(forward_cam, up_cam), forward_cam, up_cam])
    pelvis = R_world_camera @ bodies[0].joints[0, 0]
    # The middle of a person's lowest points: in some frames they are in the air, in some they seem to be in the ground.
    ground = float(np.median([(body.vertices[0] @ up_cam).min() for body in views[0]]))
    T_world_camera = np.eye(4)
    T_world_camera[:3, :3] = R_world_camera
    T_world_camera[:3, 3] = (-pelvis[0], -pelvis[1], -ground)
    pitch_deg = math.degrees(math.asin(float(np.clip(up_cam[2], -1, 1))))
    tilt = f"{abs(pitch_deg):.0f} degrees {'down' if pitch_deg < 0 else 'up'}"
    return T_world_camera, f"The camera's tilt ({tilt}) and the ground were inferred from how people balance."


def _views(person: BodyTrack, body_name: str) -> list[BodyOutput]:
    """The body in some of the frames it is present in, evenly over time, the first one first."""
    present = np.flatnonzero(person.present)
    frames = np.unique(present[np.linspace(0, len(present) - 1, min(VIEWS, len(present))).astype(int)])
    return [
        load_body(body_name).forward(
            person.pose[one : one + 1],
            person.betas[None],
            person.expression[one : one + 1],
            person.translation[one : one + 1],
        )
        for one in frames
    ]


def _weight(person: BodyTrack) -> float:
    """1 for who is seen down to the ankles; less for others, whose legs are only likely."""
    legs = [4, 5]  # knees: turning them moves the ankles
    return 0.1 + 0.9 * float(1 - person.joint_inferred[:, legs].mean())


def _up(bodies: list[BodyOutput], weights: list[float], joint_names: tuple[str, ...]) -> np.ndarray:
    """(3,) unit vector in the camera frame."""
    centres = [_centre_of_mass(body.joints[0], joint_names) for body in bodies]
    skins = [body.vertices[0][::9] for body in bodies]  # every ninth vertex: feet still have a hundred
    pitches, rolls = np.radians(np.arange(-36, 37, 3)), np.radians(np.arange(-9, 10, 3))
    mean = np.zeros(3)
    for pitch, roll in itertools.product(pitches, rolls):
        up = _tilted_up(pitch, roll)
        cost = 0.5 * (pitch / PITCH_SIGMA_RAD) ** 2 + 0.5 * (roll / ROLL_SIGMA_RAD) ** 2
        for skin, centre, weight in zip(skins, centres, weights, strict=True):
            off_balance = min(_off_balance_m(skin, centre, up), BALANCE_CAP_M)
            cost += 0.5 * weight * (off_balance / BALANCE_SIGMA_M) ** 2
        mean += math.exp(-cost) * up
    return mean / np.linalg.norm(mean)


def _tilted_up(pitch: float, roll: float) -> np.ndarray:
    """Up in the camera frame. Pitch > 0 looks up (up leans towards +z), roll > 0 turns the camera clockwise."""
    return np.array([math.sin(roll) * math.cos(pitch), -math.cos(roll) * math.cos(pitch), math.sin(pitch)])


def _off_balance_m(skin: np.ndarray, centre: np.ndarray, up: np.ndarray) -> float:
    """How far the centre of mass lies, horizontally, outside the hull of what touches the ground."""
    heights = skin @ up
    touching = skin[heights < heights.min() + TOUCH_M]
    # Two horizontal directions: across the view, and along it.
    x, y, z = up
    length = math.hypot(x, y)
    basis = np.array([[y, -x * z], [-x, -y * z], [0, length * length]]) / length
    hull = cv2.convexHull((touching @ basis).astype(np.float32))
    x, y = centre @ basis
    return max(0.0, -cv2.pointPolygonTest(hull, (float(x), float(y)), True))


def _centre_of_mass(joints: np.ndarray, joint_names: tuple[str, ...]) -> np.ndarray:
    number = {name: i for i, name in enumerate(joint_names)}
    middles = [0.5 * mass * (joints[number[a]] + joints[number[b]]) for a, b, mass in _SEGMENTS]
    return np.sum(middles, 0) / sum(mass for _, _, mass in _SEGMENTS)
