# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws people in the thousands and asks MediaPipe about them: what the landmark lifter is trained on.

    python -m recover_body.tests.synthetic.lifter_samples out/lifter --count 4000 --seed 1 --heavy HEAVY.tflite

Pictures are painted, not rendered (a twentieth of the time): the landmarks' mistakes come from poses and perspective
more than from light. Poses go well beyond the recordings: limbs of several mixed, jittered, the body turned. Lenses go
from 16 to 90 mm, framing from a small figure to a cut-off close-up. Writes shards of 100 people, SEED_NNNN.npz; an
interrupted run goes on. Needs ../shared/data/mocap.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from recover_body.engine import detect, raster
from recover_body.engine.chosen import overlap
from recover_body.engine.mediapipe_graphs import Region, find_landmarks, find_regions
from recover_body.engine.synth import people
from recover_body.models.body_model import BodyModel
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import B_BLENDER_BODY, FULL_FRAME_MM, project

from . import poses
from .pictures import MOTIONS
from .scenes import Camera, look_at

SHARD = 50
OUTLINE = 16
POSES_PER_BODY = 6
"""Making a body and its clothes costs more than posing it."""
LONGER_PX = 320
LENSES_MM = (16.0, 90.0)
EXTENTS = (0.35, 1.35)
"""The person's size over the picture's; above 1 the picture cuts somebody off."""
DISTANCES_M = (0.5, 8.0)
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
    outline: np.ndarray
    """(16, 16) the person's mask in the square about the box, 0 to 1."""
    is_heavy: bool


def shard(number: int, seed: int, clips, heavy: Path | None) -> dict[str, np.ndarray]:
    """SHARD people and what MediaPipe saw of them at several looks; see `training_set`."""
    rng = np.random.default_rng((seed, number))
    rows: list[Row] = []
    people_found = drawn = 0
    while people_found < SHARD:
        if drawn % POSES_PER_BODY == 0:
            body = people.random_body(rng)
            look = people.random_look(rng, body)
            dressed = people.clothed(body, look)
        looks = _person(rng, body, dressed, look.face_colours, clips, heavy)
        rows += looks
        people_found += bool(looks)
        drawn += 1
    return {name: np.array([getattr(row, name) for row in rows], np.float32) for name in Row._fields}


def _person(
    rng: np.random.Generator, body: BodyModel, dressed: BodyModel, colours: np.ndarray, clips, heavy: Path | None
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
    picture = _picture(rng, vertices_cam, body.faces, colours, camera)
    outline_px = project(vertices_cam, camera.intrinsics).clip(0, (camera.width, camera.height))
    box_px = np.concatenate([outline_px.min(0), outline_px.max(0)])
    truth = (joints_cam, camera.focal_px, (camera.width, camera.height))
    for region in find_regions(picture)[:2]:
        looks = _looks(picture, region, heavy)
        seen = [(person, is_heavy) for person, is_heavy in looks if overlap(person.box_px, box_px) > _FOUND_IOU]
        if seen:
            return [
                Row(*truth, d.points_px, d.visibility, d.metric_points, d.box_px, outline_of(d.mask, d.box_px), heavy)
                for d, heavy in seen
            ]
    return []


def _looks(picture: np.ndarray, region: Region, heavy: Path | None) -> list[tuple[detect.Detection, bool]]:
    """The first and the second look at a region, and the heavy network's at the second one's."""
    looks: list[tuple[detect.Detection, bool]] = []
    for model in (None, None, heavy) if heavy else (None, None):
        landmarks = find_landmarks(picture, region, model)
        if landmarks is None:
            break
        person = detect.as_detection(landmarks, picture)
        if person is not None:
            looks.append((person, model is not None))
        region = landmarks.next_region
    return looks


def outline_of(mask: np.ndarray, box_px: np.ndarray) -> np.ndarray:
    """(16, 16) float32 in [0, 1]: the mask (H, W) in the square that has the box's middle and its longer side."""
    side_px = max(box_px[2:] - box_px[:2])
    left, top = (box_px[:2] + box_px[2:] - side_px) / 2
    fine = 4 * OUTLINE
    scale = fine / side_px
    view = cv2.warpAffine(
        mask.astype(np.float32), np.array([[scale, 0, -left * scale], [0, scale, -top * scale]]), (fine, fine)
    )
    return cv2.resize(view, (OUTLINE, OUTLINE), interpolation=cv2.INTER_AREA)


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
    for _ in range(30):
        lens_mm = math.exp(rng.uniform(*np.log(LENSES_MM)))
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
    rng: np.random.Generator, vertices_cam: np.ndarray, faces: np.ndarray, colours: np.ndarray, camera: Camera
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the person under one light before shapes and stains."""
    light = rng.normal(size=3)
    light[1:] = -abs(light[1:]) * (rng.uniform(0.3, 1.5), rng.choice((1, 1, -0.5)))
    look = raster.Look(tuple(map(tuple, colours * 255)), tuple(light), rng.uniform(0.1, 0.6), rng.uniform(0, 0.1))
    size = (camera.intrinsics, camera.width, camera.height)
    drawn = raster.shade(vertices_cam, faces, *size, np.arange(len(faces)), look)
    covered = drawn[..., 3:] / 255
    picture = drawn[..., :3] * covered + _background(rng, camera.width, camera.height) * (1 - covered)
    picture = picture * rng.uniform(0.6, 1.4) + rng.normal(0, rng.uniform(0, 10), picture.shape)
    picture = picture.clip(0, 255).astype(np.uint8)
    return cv2.GaussianBlur(picture, (3, 3), rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else picture


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
    parser.add_argument("--heavy", type=Path, metavar="TFLITE", help="the larger landmark network, to learn it too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    clips = poses.load_clips(MOTIONS)
    for number in range(math.ceil(options.count / SHARD)):
        path = options.folder / f"{options.seed:03}_{number:04}.npz"
        if not path.exists():
            made = shard(number, options.seed, clips, options.heavy)
            part = path.with_suffix(".part")
            with part.open("wb") as stream:
                np.savez_compressed(stream, **made)
            part.rename(path)
        print(f"\r{(number + 1) * SHARD} of {options.count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
