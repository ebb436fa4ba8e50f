# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws people in the thousands and asks MediaPipe about them: what the landmark lifter is trained on.

    python -m recover_body.tests.synthetic.lifter_samples out/lifter --count 4000 --seed 1 --large LARGE.tflite

Pictures are painted, not rendered (a twentieth of the time): the landmarks' mistakes come from poses and perspective
more than from light. Poses go well beyond the recordings: limbs of several mixed, jittered, the body turned. Lenses go
from 16 to 90 mm, framing from a small figure to a cut-off close-up. Writes shards of 100 people, SEED_NNNN.npz; an
interrupted run goes on. Needs ../shared/data/mocap.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from recover_body.engine import detect, raster
from recover_body.engine.chosen import overlap
from recover_body.engine.landmark_networks import FEATURE_STEP, LARGE
from recover_body.engine.mediapipe_graphs import Landmarks, Region, find_landmarks, find_regions
from recover_body.engine.synth import people
from recover_body.models.body_model import BodyModel
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import B_BLENDER_BODY, FULL_FRAME_MM, project

from . import poses
from .pictures import MOTIONS
from .scenes import Camera, look_at

SHARD = 50
BESIDE_OTHERS, BEHIND_OTHERS = 0.25, 0.06
"""Share of pictures with somebody else in them, and of those in front of the person."""
PASSERS_BY = 40
POSES_PER_BODY = 6
"""Making a body and its clothes costs more than posing it."""
LONGER_PX = 320
LENSES_MM = (16.0, 90.0)
EXTENTS = (0.35, 1.35)
"""The person's size over the picture's; above 1 the picture cuts somebody off."""
DISTANCES_M = (0.5, 8.0)
NEAR, NEAR_M, NEAR_EXTENT = 0.25, (0.55, 1.4), 1.7
"""Share of people who are near for sure, how near, and how much larger than the picture they may be then."""
ASPECTS = (2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2)
_FOUND_IOU = 0.3
_PARTS = ({"hip", "knee", "ankle", "foot"}, {"collar", "shoulder", "elbow", "wrist"})


class Row(NamedTuple):
    """One look at one person."""

    joints_cam: np.ndarray
    focal_px: float
    picture_size: tuple[int, int]
    points_px: np.ndarray
    visibility: np.ndarray
    metric_points: np.ndarray
    box_px: np.ndarray
    angle_rad: float
    """How far the region that was looked at is turned."""
    is_large: bool
    """Seen by the larger landmark network."""
    features: np.ndarray
    """(8, 8, 288) uint8, in steps of FEATURE_STEP."""


def shard(number: int, seed: int, clips, large: Path | None) -> dict[str, np.ndarray]:
    """SHARD people and what MediaPipe saw of them at several looks; see `training_set`."""
    rng = np.random.default_rng((seed, number))
    rows: list[Row] = []
    passers_by: list[np.ndarray] = []
    people_found = drawn = 0
    while people_found < SHARD:
        if drawn % POSES_PER_BODY == 0:
            body = people.random_body(rng)
            look = people.random_look(rng, body)
            dressed = people.clothed(body, look)
        looks = _person(rng, body, dressed, look.face_colours, clips, large, passers_by)
        rows += looks
        people_found += bool(looks)
        drawn += 1
    columns = {name: np.array([getattr(row, name) for row in rows]) for name in Row._fields}
    return {
        n: values if values.dtype in (np.uint8, bool) else values.astype(np.float32) for n, values in columns.items()
    }


def _person(
    rng: np.random.Generator,
    body: BodyModel,
    dressed: BodyModel,
    colours: np.ndarray,
    clips,
    large: Path | None,
    passers_by: list[np.ndarray],
) -> list[Row]:
    towards = unit(*direction(rng))
    pose, shape = random_pose(rng, body, clips, towards)[None], np.zeros((1, 0))
    expression = rng.normal(0, 0.4, (1, 10)).clip(-1, 1)
    joints = body.forward(pose, shape, expression, vertex_ids=np.array([0])).joints[0, : poses.BODY_JOINTS]
    vertices = dressed.forward(pose, shape, expression).vertices[0]
    joints, vertices = joints @ B_BLENDER_BODY.T, vertices @ B_BLENDER_BODY.T
    camera = _camera(rng, vertices, joints[15], B_BLENDER_BODY @ towards)
    if camera is None:
        return []
    vertices_cam, joints_cam = camera.see(vertices), camera.see(joints)
    picture = _picture(rng, vertices_cam, body.faces, colours, camera, passers_by)
    outline_px = project(vertices_cam, camera.intrinsics).clip(0, (camera.width, camera.height))
    box_px = np.concatenate([outline_px.min(0), outline_px.max(0)])
    truth = (joints_cam, camera.focal_px, (camera.width, camera.height))
    for region in find_regions(picture)[:2]:
        looks = [
            Row(
                *truth,
                d.points_px,
                d.visibility,
                d.metric_points,
                d.box_px,
                r.angle_rad,
                seen.network == LARGE,
                _bytes(seen),
            )
            for d, seen, r in _looks(rng, picture, region, large)
            if overlap(d.box_px, box_px) > _FOUND_IOU
        ]
        if looks:
            return looks
    return []


def _looks(
    rng: np.random.Generator, picture: np.ndarray, region: Region, large: Path | None
) -> Iterator[tuple[detect.Detection, Landmarks, Region]]:
    """A first or a second look at a region, of each landmark network."""
    if rng.random() < 0.4:
        first = find_landmarks(picture, region)
        if first is None:
            return
        region = first.next_region
    for network in (None, large) if large else (None,):
        landmarks = find_landmarks(picture, region, network)
        person = None if landmarks is None else detect.as_detection(landmarks, picture)
        if landmarks is not None and person is not None:
            yield person, landmarks, region


def _bytes(seen: Landmarks) -> np.ndarray:
    return np.round(seen.features / FEATURE_STEP[seen.network]).clip(0, 255).astype(np.uint8)


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """Where the camera is, seen from the person: to the left of its front, and above. Radians."""
    parts = ((0, 60), (60, 120), (120, 180))
    azimuth = math.radians(rng.choice([rng.uniform(*part) for part in parts], p=(0.5, 0.25, 0.25)))
    return azimuth * rng.choice((-1, 1)), math.radians(np.clip(rng.normal(4, 18), -35, 65))


def unit(azimuth_rad, elevation_rad) -> np.ndarray:
    """(3,) or (3, N) towards the camera, body frame."""
    level = np.cos(elevation_rad)
    return np.array([np.sin(azimuth_rad) * level, np.sin(elevation_rad), np.cos(azimuth_rad) * level])


def random_pose(rng: np.random.Generator, body: BodyModel, clips, towards: np.ndarray) -> np.ndarray:
    """(55, 3) a recorded pose, often with limbs of another one, jittered, and turned as recordings seldom are."""
    pose, _ = poses.random_pose(rng, body, clips, towards, 0.3)
    parts = [name.rpartition("_")[::2] for name in body.joint_names[: poses.BODY_JOINTS]]
    if rng.random() < 0.3:
        other, _ = poses.random_pose(rng, body, clips, towards, 0.0)
        wanted, side = _PARTS[rng.integers(len(_PARTS))], rng.choice(("left", "right", ""))
        mixed = [j for j, (s, part) in enumerate(parts) if part in wanted and side in (s, "")]
        pose[mixed] = other[mixed]
    if rng.random() < 0.6:
        pose[1 : poses.BODY_JOINTS] += rng.normal(0, rng.uniform(0, 0.22), (poses.BODY_JOINTS - 1, 3))
    knees = [j for j, (_, part) in enumerate(parts) if part == "knee"]
    pose[knees, 0] = pose[knees, 0].clip(-0.05)
    chance = rng.random()
    if chance < 0.22:
        turn = rotvec_to_matrix(rng.normal(0, 0.5 if chance < 0.15 else 1.4, 3))
        pose[0] = matrix_to_rotvec(turn @ rotvec_to_matrix(pose[0]))
    return pose


def _camera(rng: np.random.Generator, vertices: np.ndarray, head: np.ndarray, out: np.ndarray) -> Camera | None:
    middle = 0.5 * (vertices.min(0) + vertices.max(0))
    radius_m = np.linalg.norm(vertices - middle, axis=1).max()
    aspect = float(rng.choice(ASPECTS))
    width, height = round(LONGER_PX * min(aspect, 1)), round(LONGER_PX / max(aspect, 1))
    is_near = rng.random() < NEAR
    for _ in range(30):
        lens_mm = math.exp(rng.uniform(*np.log(LENSES_MM)))
        if is_near:  # as selfies and crowded rooms have it; from afar perspective tells little
            distance_m = rng.uniform(*NEAR_M)
            extent = 2 * radius_m * lens_mm / FULL_FRAME_MM / distance_m
            if not EXTENTS[0] < extent < NEAR_EXTENT:
                continue
        else:
            extent = rng.uniform(*EXTENTS)
            distance_m = 2 * radius_m * lens_mm / FULL_FRAME_MM / extent
        target = middle + rng.normal(0, 0.12, 3) * min(distance_m, 1.5)
        if extent > 1:
            target = 0.4 * middle + 0.6 * head + rng.normal(0, 0.15, 3)
        roll_rad = math.radians(rng.normal(0, 5))
        camera = Camera(width, height, lens_mm, look_at(middle + out * distance_m, target, roll_rad))
        if DISTANCES_M[0] < distance_m < DISTANCES_M[1] and camera.see(vertices)[:, 2].min() > 0.15:
            return camera
    return None


def _picture(
    rng: np.random.Generator,
    vertices_cam: np.ndarray,
    faces: np.ndarray,
    colours: np.ndarray,
    camera: Camera,
    passers_by: list[np.ndarray],
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the person under one light before shapes, stains and at times somebody else."""
    light = rng.normal(size=3)
    light[1:] = -abs(light[1:]) * (rng.uniform(0.3, 1.5), rng.choice((1, 1, -0.5)))
    look = raster.Look(tuple(map(tuple, colours * 255)), tuple(light), rng.uniform(0.1, 0.6), rng.uniform(0, 0.1))
    size = (camera.intrinsics, camera.width, camera.height)
    drawn = raster.shade(vertices_cam, faces, *size, np.arange(len(faces)), look)
    covered = drawn[..., 3:] / 255
    background = _background(rng, camera.width, camera.height)
    chance = rng.random()
    if passers_by and chance < BESIDE_OTHERS:
        _paste(rng, background, passers_by[rng.integers(len(passers_by))])
    picture = drawn[..., :3] * covered + background * (1 - covered)
    if passers_by and chance < BEHIND_OTHERS:
        _paste(rng, picture, passers_by[rng.integers(len(passers_by))])
    _remember(passers_by, drawn)
    picture = picture * rng.uniform(0.6, 1.4) + rng.normal(0, rng.uniform(0, 10), picture.shape)
    picture = picture.clip(0, 255).astype(np.uint8)
    return cv2.GaussianBlur(picture, (3, 3), rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else picture


def _remember(passers_by: list[np.ndarray], drawn: np.ndarray) -> None:
    rows, columns = np.flatnonzero(drawn[..., 3].any(1)), np.flatnonzero(drawn[..., 3].any(0))
    if len(rows):
        passers_by.append(drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        del passers_by[:-PASSERS_BY]


def _paste(rng: np.random.Generator, picture: np.ndarray, rgba: np.ndarray) -> None:
    """Put somebody into a picture (H, W, 3), anywhere and at any size up to its own."""
    height, width = picture.shape[:2]
    scale = rng.uniform(0.3, 1.0) * min(1.0, height / rgba.shape[0], width / rgba.shape[1])
    small = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    left = int(rng.uniform(-0.5 * small.shape[1], width - 0.5 * small.shape[1]))
    top = int(rng.uniform(-0.2 * small.shape[0], height - 0.7 * small.shape[0]))
    small = small[max(-top, 0) : height - top, max(-left, 0) : width - left]
    target = picture[max(top, 0) :, max(left, 0) :][: small.shape[0], : small.shape[1]]
    np.copyto(target, small[..., :3].astype(target.dtype), where=small[..., 3:] > 0)


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    top, bottom = rng.uniform(0, 255, (2, 3))
    down = np.linspace(0, 1, height)[:, None, None]
    picture = np.broadcast_to(top * (1 - down) + bottom * down, (height, width, 3)).copy()
    for _ in range(rng.integers(0, 9)):
        colour, kind = rng.uniform(0, 255, 3).tolist(), rng.integers(3)
        one, other = (tuple(int(v) for v in rng.integers((width, height))) for _ in range(2))
        if kind == 0:
            cv2.rectangle(picture, one, other, colour, -1)
        elif kind == 1:
            cv2.circle(picture, one, int(rng.integers(5, width // 3)), colour, -1)
        else:
            cv2.line(picture, one, other, colour, int(rng.integers(1, 25)))
    if rng.random() < 0.5:
        coarse = [max(2, side // int(rng.integers(2, 40))) for side in (height, width)]
        picture += cv2.resize(rng.normal(0, rng.uniform(5, 50), (*coarse, 3)), (width, height))
    return picture


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=4000, help="people (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", type=Path, metavar="TFLITE", help="the larger landmark network, to learn it too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    clips = poses.load_clips(MOTIONS)
    for number in range(math.ceil(options.count / SHARD)):
        path = options.folder / f"{options.seed:03}_{number:04}.npz"
        if not path.exists():
            made = shard(number, options.seed, clips, options.large)
            part = path.with_suffix(".part")
            with part.open("wb") as stream:
                np.savez(stream, **made)
            part.rename(path)
        print(f"\r{(number + 1) * SHARD} of {options.count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
