# SPDX-License-Identifier: GPL-3.0-or-later
"""Random scenes: who stands where, the camera that sees them, and exact labels by our own projection.

Scene number n of a seed is always the same, whatever the number of pictures asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from recover_body.engine.raster import Look as Paint
from recover_body.engine.raster import shade, silhouette
from recover_body.engine.synth import people
from recover_body.models.body_model import BodyModel
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix
from recover_body.wire.frames import B_BLENDER_BODY, FULL_FRAME_MM, project, transform

from . import poses

BUCKETS_M = {"near": (0.6, 1.2), "mid": (1.2, 3.0), "far": (3.0, 6.0)}
LENSES_MM = {"near": (18, 18, 18, 28), "mid": (18, 28, 28, 50), "far": (28, 50, 50, 85, 85)}
CUT_OFF_SHARE = {"near": 0.35, "mid": 0.15, "far": 0.0}
REACH_SHARE = {"near": 0.67, "mid": 0.4, "far": 0.2}
"""Of those whom the camera sees from in front, three quarters of all: so half of all near by have a limb towards it."""
TWO_PEOPLE_SHARE = 0.25
SMALL_SHARE = 0.15
_ASPECTS = (2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2)
_FLAT = Paint(colours=((255, 0, 0), (0, 255, 0)), ambient=1.0, rim=0.0)


@dataclass(frozen=True)
class Actor:
    """One person in the world (z up, metres, floor at 0)."""

    body: BodyModel
    look: people.Look
    pose: np.ndarray
    """(55, 3), root in the body frame."""
    expression: np.ndarray
    """(10,)."""
    pose_name: str
    vertices_world: np.ndarray
    """(V, 3) naked."""
    clothed_world: np.ndarray
    """(V, 3) what is drawn."""
    joints_world: np.ndarray
    """(55, 3)."""
    R_world_body: np.ndarray
    """(3, 3) the body frame in the world."""

    def moved(self, offset: np.ndarray) -> Actor:
        return replace(self, **{name: getattr(self, name) + offset for name in _PLACED})

    def turned(self, rotation: np.ndarray) -> Actor:
        """Turned about the world's origin."""
        points = {name: getattr(self, name) @ rotation.T for name in _PLACED}
        return replace(self, **points, R_world_body=rotation @ self.R_world_body)


_PLACED = ("vertices_world", "clothed_world", "joints_world")


@dataclass(frozen=True)
class Camera:
    """A pinhole with square pixels and a centred principal point."""

    width: int
    height: int
    lens_mm: float
    T_world_camera: np.ndarray

    @property
    def focal_px(self) -> float:
        return self.lens_mm / FULL_FRAME_MM * max(self.width, self.height)

    @property
    def intrinsics(self) -> np.ndarray:
        return np.array([[self.focal_px, 0, self.width / 2], [0, self.focal_px, self.height / 2], [0, 0, 1.0]])

    def see(self, points_world: np.ndarray) -> np.ndarray:
        """To the camera frame."""
        return transform(np.linalg.inv(self.T_world_camera), points_world)


@dataclass(frozen=True)
class Scene:
    number: int
    actors: tuple[Actor, ...]
    """The first is the one whom the camera looks at."""
    camera: Camera
    surroundings_seed: int
    """What the renderer draws backgrounds and lights from."""


def make_scene(seed: int, number: int, longer_px: int, clips: tuple[tuple[poses.Clip, ...], ...]) -> Scene:
    """Scene `number` of `seed`: the three distance buckets take turns."""
    rng = np.random.default_rng((seed, number))
    bucket = tuple(BUCKETS_M)[number % len(BUCKETS_M)]
    while True:
        azimuth_rad, elevation_rad = _direction(rng)
        towards = np.array(
            [math.sin(azimuth_rad) * math.cos(elevation_rad), math.sin(elevation_rad), math.cos(azimuth_rad)]
        )
        actor = _actor(rng, clips, towards, REACH_SHARE[bucket])
        camera = _camera(rng, bucket, actor, azimuth_rad, elevation_rad, longer_px)
        if camera is None:
            continue
        actors = (actor,)
        if rng.random() < TWO_PEOPLE_SHARE:
            actors += _neighbour(rng, clips, actor, camera)
        return Scene(number, actors, camera, int(rng.integers(2**31)))


def _direction(rng: np.random.Generator) -> tuple[float, float]:
    """Where the camera is, seen from the person: to the left of its front, and above. Radians."""
    low, high = ((0, 45), (45, 110), (110, 180))[rng.choice(3, p=(0.58, 0.25, 0.17))]
    azimuth = math.radians(rng.uniform(low, high)) * rng.choice((-1, 1))
    elevation = math.radians(np.clip(rng.normal(4, 16), -25, 50))
    return azimuth, elevation


def _actor(rng: np.random.Generator, clips, towards: np.ndarray, reach: float) -> Actor:
    """Somebody on the floor at the origin, facing -y."""
    body = people.random_body(rng)
    look = people.random_look(rng, body)
    pose, name = poses.random_pose(rng, body, clips, towards, reach)
    pose[body.joint_names.index("jaw")] = (rng.uniform(0, 0.3) * (rng.random() < 0.3), 0, 0)
    expression = rng.normal(0, 0.4, 10).clip(-1, 1)
    shape = np.zeros((1, 0))
    naked = body.forward(pose[None], shape, expression[None])
    drawn = people.clothed(body, look).forward(pose[None], shape, expression[None]).vertices[0]
    to_world = lambda points: points @ B_BLENDER_BODY.T  # noqa: E731
    actor = Actor(
        body,
        look,
        pose,
        expression,
        name,
        to_world(naked.vertices[0]),
        to_world(drawn),
        to_world(naked.joints[0]),
        B_BLENDER_BODY,
    )
    floor_z = actor.clothed_world[:, 2].min() - (rng.uniform(0, 0.3) if rng.random() < 0.1 else 0)
    return actor.moved(np.array([*-actor.joints_world[0, :2], -floor_z]))


def _camera(
    rng: np.random.Generator, bucket: str, actor: Actor, azimuth_rad: float, elevation_rad: float, longer_px: int
) -> Camera | None:
    """A camera that has the person in the picture as the scene wants, or None where none is found."""
    middle = 0.5 * (actor.vertices_world.min(0) + actor.vertices_world.max(0))
    is_cut, is_small = rng.random() < CUT_OFF_SHARE[bucket], rng.random() < SMALL_SHARE
    # The actor faces -y; its left is +x.
    out = np.array([math.sin(azimuth_rad), -math.cos(azimuth_rad), 0]) * math.cos(elevation_rad)
    out[2] = math.sin(elevation_rad)
    for _ in range(60):
        aspect, lens_mm = _ASPECTS[rng.integers(len(_ASPECTS))], float(rng.choice(LENSES_MM[bucket]))
        width, height = (round(longer_px * min(aspect, 1)), round(longer_px / max(aspect, 1)))
        eye = middle + out * rng.uniform(*BUCKETS_M[bucket])
        target = middle + rng.normal(0, 0.12, 3)
        if is_cut:
            target = actor.joints_world[15] + rng.normal(0, 0.15, 3)
        camera = Camera(width, height, lens_mm, look_at(eye, target, math.radians(rng.normal(0, 3))))
        if eye[2] > 0.12 and _is_wanted(actor, camera, bucket, is_cut, is_small):
            return camera
    return None


def look_at(eye: np.ndarray, target: np.ndarray, roll_rad: float) -> np.ndarray:
    """(4, 4) T_world_camera (x right, y down, z forward)."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1) @ rotvec_to_matrix(np.array([0, 0, roll_rad]))
    T[:3, 3] = eye
    return T


def _is_wanted(actor: Actor, camera: Camera, bucket: str, is_cut: bool, is_small: bool) -> bool:
    low, high = BUCKETS_M[bucket]
    joints_cam = camera.see(actor.joints_world[: poses.BODY_JOINTS])
    nearest = camera.see(actor.vertices_world[::7])[:, 2].min()
    if not (low <= joints_cam[0, 2] < high and nearest > 0.15):
        return False
    inside = share_inside(joints_cam, camera)
    joints_px = project(joints_cam, camera.intrinsics)
    extent = np.ptp(joints_px.clip(0, (camera.width, camera.height)), axis=0).max() / max(camera.width, camera.height)
    head_inside = share_inside(joints_cam[[12, 15, 16, 17]], camera) == 1
    if is_cut:
        return head_inside and 0.45 <= inside < 0.95
    return inside == 1 and (0.15 <= extent < 0.4 if is_small else extent >= 0.4)


def share_inside(points_cam: np.ndarray, camera: Camera) -> float:
    """Share of points that lie in the picture."""
    points_px = project(points_cam, camera.intrinsics)
    return float(((points_px >= 0) & (points_px <= (camera.width, camera.height))).all(1).mean())


def _neighbour(rng: np.random.Generator, clips, first: Actor, camera: Camera) -> tuple[Actor, ...]:
    """A second person in the picture, not in front of the first one; nobody where there is no room."""
    actor = _actor(rng, clips, np.array([0, 0, 1.0]), 0.0)
    camera_x, camera_y = camera.T_world_camera[:2, 3]
    heading_rad = math.atan2(camera_x, -camera_y) + rng.normal(0, 1)  # 0 faces -y, as actors do
    turned = actor.turned(rotvec_to_matrix(np.array([0, 0, heading_rad])))
    first_cam, first_mask = camera.see(first.joints_world), _mask(first.clothed_world, first.body, camera)
    for _ in range(40):
        angle, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 2.0)
        placed = turned.moved(np.array([math.cos(angle) * away, math.sin(angle) * away, 0]))
        joints_cam = camera.see(placed.joints_world[: poses.BODY_JOINTS])
        vertices_z = camera.see(placed.clothed_world[::7])[:, 2].min()
        if vertices_z < 0.3 or joints_cam[0, 2] < first_cam[0, 2] or share_inside(joints_cam, camera) < 0.8:
            continue
        mask = _mask(placed.clothed_world, placed.body, camera)
        if np.count_nonzero(mask & ~first_mask) > 0.6 * np.count_nonzero(mask) > 0:
            return (placed,)
    return ()


def _mask(vertices_world: np.ndarray, body: BodyModel, camera: Camera) -> np.ndarray:
    return silhouette(camera.see(vertices_world), body.faces, camera.intrinsics, camera.width, camera.height)


# ---- labels ----


def labels(scene: Scene) -> dict[str, np.ndarray]:
    """What is true of a scene; P people, V vertices. Camera frame, metres, pixels from the top left corner.

    intrinsics (3, 3), T_world_camera (4, 4), lens_mm; per person: joints_cam (P, 55, 3), vertices_cam (P, V, 3) of the
    naked body, rest_vertices (P, V, 3) and rest_joints (P, 55, 3) before posing, pose (P, 55, 3) with the root in the
    camera frame, translation (P, 3), stature_m (P,), looseness_m (P,), share_inside (P,), pose_name (P,),
    masks (P, H, W) bool: visible pixels of the clothed person, body_masks (P, H, W): the naked body alone.
    """
    camera, actors = scene.camera, scene.actors
    R_camera_world = camera.T_world_camera[:3, :3].T
    roots = [R_camera_world @ a.R_world_body @ rotvec_to_matrix(a.pose[0]) for a in actors]
    joints_cam = np.stack([camera.see(a.joints_world) for a in actors])
    rest_joints = np.stack([a.body.joints_template for a in actors])
    posed = np.stack(
        [np.concatenate([matrix_to_rotvec(r)[None], a.pose[1:]]) for r, a in zip(roots, actors, strict=True)]
    )
    return dict(
        intrinsics=camera.intrinsics,
        T_world_camera=camera.T_world_camera,
        lens_mm=np.array(camera.lens_mm),
        joints_cam=joints_cam.astype(np.float32),
        vertices_cam=np.stack([camera.see(a.vertices_world) for a in actors]).astype(np.float32),
        rest_vertices=np.stack([a.body.v_template for a in actors]).astype(np.float32),
        rest_joints=rest_joints.astype(np.float32),
        pose=posed.astype(np.float32),
        expression=np.stack([a.expression for a in actors]).astype(np.float32),
        translation=(joints_cam[:, 0] - rest_joints[:, 0]).astype(np.float32),
        stature_m=np.array([people.stature_m(a.body) for a in actors], np.float32),
        looseness_m=np.array([a.look.looseness_m for a in actors], np.float32),
        share_inside=np.array([share_inside(j[: poses.BODY_JOINTS], camera) for j in joints_cam], np.float32),
        pose_name=np.array([a.pose_name for a in actors]),
        masks=visible_masks([a.clothed_world for a in actors], actors[0].body.faces, camera),
        body_masks=np.stack([_mask(a.vertices_world, a.body, camera) for a in actors]),
    )


def visible_masks(meshes_world: list[np.ndarray], faces: np.ndarray, camera: Camera) -> np.ndarray:
    """(P, H, W) bool: exact silhouettes; where two people overlap, a painter's picture tells who is in front."""
    size = (camera.intrinsics, camera.width, camera.height)
    seen = [camera.see(mesh) for mesh in meshes_world]
    masks = np.stack([silhouette(mesh, faces, *size) for mesh in seen])
    if len(masks) == 2 and (masks[0] & masks[1]).any():
        both = np.concatenate([faces, faces + len(seen[0])])
        painted = shade(np.concatenate(seen), both, *size, np.repeat([0, 1], len(faces)), _FLAT)
        second_in_front = painted[..., 1] > painted[..., 0]
        masks[0] &= ~(masks[1] & second_in_front)
        masks[1] &= ~(masks[0] & ~second_in_front)
    return masks
