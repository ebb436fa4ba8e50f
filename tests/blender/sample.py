# SPDX-License-Identifier: GPL-3.0-or-later
"""Recoveries with known answers: real bodies in random poses before a known camera, as the engine would send them."""

from dataclasses import dataclass

import numpy as np

from recover_body.engine.rigging import plan_rig
from recover_body.models.body_model import load_body
from recover_body.wire.frames import transform
from recover_body.wire.messages import Recovery
from recover_body.wire.take import CameraTrack, PersonTrack, Take


@dataclass(frozen=True)
class Sample:
    recovery: Recovery
    joints_world: np.ndarray
    """(people, F, 55, 3) metres, what the body model says."""
    vertices_world: np.ndarray
    """(people, F, V, 3) metres."""


def level_camera(height_m: float = 1.4, tilt_rad: float = 0.1) -> np.ndarray:
    """(4, 4) T_world_camera of a camera `height_m` above the ground that looks along +y, tilted down a little."""
    c, s = np.cos(tilt_rad), np.sin(tilt_rad)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, -s, c], [0, -c, -s]])  # columns: where camera x, y and z point
    pose[2, 3] = height_m
    return pose


def camera(
    width: int = 640,
    height: int = 480,
    focal_px: float = 700.0,
    offset_px=(0.0, 0.0),
    aspect: float = 1.0,
    frames: int = 1,
) -> CameraTrack:
    """A camera; with several frames it travels, turns and zooms. `aspect` is fy / fx."""
    times = np.arange(frames) / max(frames - 1, 1)
    poses = np.stack([level_camera(1.4 + 0.2 * t, 0.1 - 0.1 * t) for t in times])
    poses[:, 0, 3] = 0.3 * times
    one = np.ones(frames)
    return CameraTrack(
        fx_px=focal_px * (1 + 0.2 * times),
        fy_px=focal_px * aspect * (1 + 0.2 * times),
        cx_px=(width / 2 + offset_px[0]) * one,
        cy_px=(height / 2 + offset_px[1]) * one,
        width=width,
        height=height,
        T_world_camera=poses,
        source="given",
    )


def sample(
    seed: int = 0,
    people: int = 1,
    frames: int = 1,
    spread_rad: float = 0.5,
    track: CameraTrack | None = None,
    source: str = "sample.png",
    body: str = "neutral",
    expression: float = 0.0,
) -> Sample:
    """`people` random bodies that stand some metres before the camera, with faces that differ by `expression`."""
    rng = np.random.default_rng(seed)
    track = track or camera()
    model = load_body(body)
    tracks, joints, vertices = [], [], []
    for number in range(people):
        person = _person(rng, number, frames, spread_rad, people, body, expression)
        out = model.forward(person.pose, person.betas[None], person.expression[:1], person.translation)
        joints.append([transform(track.pose(i), j) for i, j in enumerate(out.joints.astype(np.float64))])
        vertices.append([transform(track.pose(i), v) for i, v in enumerate(out.vertices.astype(np.float64))])
        tracks.append(person)
    take = Take(source, 25.0, np.arange(1, frames + 1), track, tuple(tracks), "test", "cpu")
    recovery = Recovery("test", take, tuple(plan_rig(person) for person in tracks))
    return Sample(recovery, np.array(joints), np.array(vertices))


def _person(rng, number: int, frames: int, spread_rad: float, people: int, body: str, expression: float) -> PersonTrack:
    start, end = rng.normal(0, spread_rad, (2, 55, 3))
    times = np.linspace(0, 1, frames)[:, None, None]
    pose = start + (end - start) * 0.3 * times
    pose[:, 22:25] *= 0.2  # jaw and eyes
    pose[:, 0] = [np.pi, 0, 0] + 0.2 * pose[:, 0]
    translation = np.tile([(number - (people - 1) / 2) * 1.2, 0.6, 4.0], (frames, 1))
    translation[:, 0] += np.linspace(0, 0.5, frames)
    nan = np.full(frames, np.nan)
    inferred = np.zeros((frames, 55), bool)
    inferred[:, 25:] = True
    return PersonTrack(
        id=number,
        name=f"Person {number + 1}",
        present=np.ones(frames, bool),
        boxes_px=np.zeros((frames, 4)),
        score=np.ones(frames),
        pose=pose,
        betas=rng.normal(0, 1, 10),
        expression=np.tile(expression * rng.normal(0, 1, 10), (frames, 1)),
        translation=translation,
        keypoint_names=(),
        keypoints_px=np.zeros((frames, 0, 3)),
        joint_confidence=np.ones((frames, 55)),
        joint_inferred=inferred,
        overlay_iou=np.full(frames, 0.8),
        reprojection_px=nan,
        reprojection_percent=nan,
        body=body,
        joint_error_mm=np.full((frames, 22), 90.0),
        doubts=("the left leg points at the camera",),
    )
