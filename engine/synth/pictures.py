# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene drawn, and what is true of it in the layout that training and evaluation read."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...models.body_model import load_body
from ...wire.frames import project
from ..raster import Look, shade, silhouette
from ..training.bodies import keypoint_map
from ..training.data.layout import PeopleLabels
from .poses import Poses
from .scenes import Actor, Scene, make_scene

FEWEST_PIXELS = 60
"""Of whom less is seen is not labelled, and the scene is made anew."""


@dataclass(frozen=True)
class Sample:
    image_rgb: np.ndarray
    """(H, W, 3) uint8."""
    labels: PeopleLabels
    mask: np.ndarray
    """(H, W) uint8, 0 background, n + 1 where person n (with clothes) is seen."""
    lens_mm: float


def sample(seed: int, number: int, longer_px: int, poses: Poses, close_up_share: float) -> Sample:
    """Picture `number` of `seed`: the same whatever else is made."""
    rng = np.random.default_rng((seed, number))
    while True:
        scene = make_scene(rng, longer_px, poses, close_up_share)
        mask = people_mask(scene)
        if all(np.count_nonzero(mask == n + 1) >= FEWEST_PIXELS for n in range(len(scene.actors))):
            return Sample(drawn(rng, scene), labels(scene, mask), mask, scene.lens_mm)


def people_mask(scene: Scene) -> np.ndarray:
    """(H, W) uint8. Nobody reaches behind anybody else: scenes keep them apart in depth."""
    mask = np.zeros((scene.height, scene.width), np.uint8)
    for n in _farthest_first(scene):
        actor = scene.actors[n]
        mask[silhouette(actor.clothed, actor.body.faces, scene.intrinsics, scene.width, scene.height)] = n + 1
    return mask


def labels(scene: Scene, mask: np.ndarray) -> PeopleLabels:
    """Of the naked bodies."""
    flat, solid, boxes = [], [], []
    for n, actor in enumerate(scene.actors):
        keypoints = keypoint_map(load_body(actor.shape.name))(actor.vertices[None], actor.joints[None])[0]
        pixels = project(keypoints, scene.intrinsics)
        inside = ((pixels >= 0) & (pixels <= (scene.width, scene.height))).all(1) & (keypoints[:, 2] > 0)
        flat.append(np.concatenate([pixels, inside[:, None]], 1))
        solid.append(np.concatenate([keypoints, np.ones((len(keypoints), 1))], 1))
        rows, columns = np.flatnonzero((mask == n + 1).any(1)), np.flatnonzero((mask == n + 1).any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    each = lambda values: np.stack([np.asarray(value, np.float32) for value in values])  # noqa: E731
    ones = np.ones(len(scene.actors), np.float32)
    return PeopleLabels(
        intrinsics=scene.intrinsics,
        box_px=each(boxes),
        keypoints_2d=each(flat),
        keypoints_3d=each(solid),
        pose=each([actor.pose for actor in scene.actors]),
        betas=each([actor.shape.betas for actor in scene.actors]),
        translation=each([actor.translation for actor in scene.actors]),
        pelvis_cam=each([actor.joints[0] for actor in scene.actors]),
        body=np.array([actor.shape.name for actor in scene.actors]),
        measured=ones,
        has_pose=ones,
        has_betas=ones,
    )


# ---- the picture ----


def drawn(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """(H, W, 3) uint8 RGB: people before a made-up room, one light, and a camera's faults."""
    light = rng.normal(0, 1, 3) * (1, 0.5, 0.6) + (0, -0.8, -0.5)
    ambient, tint = rng.uniform(0.25, 0.65), 1 + rng.normal(0, 0.06, 3)
    picture = _surroundings(rng, scene.width, scene.height) * (0.5 + 0.5 * ambient)
    for n in _farthest_first(scene):
        picture = _painted(picture, scene, scene.actors[n], light, ambient)
    picture = picture * tint * np.exp(rng.normal(0, 0.15))
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.0))
    picture += rng.normal(0, rng.uniform(0.5, 5), picture.shape)
    return picture.clip(0, 255).round().astype(np.uint8)


def _painted(picture: np.ndarray, scene: Scene, actor: Actor, light: np.ndarray, ambient: float) -> np.ndarray:
    """At twice the size and then halved, so that outlines are smooth."""
    twice = np.diag([2.0, 2.0, 1.0]) @ scene.intrinsics
    palette = actor.look.face_colours * 255
    look = Look(colours=palette, light_cam=tuple(light), ambient=ambient, rim=0.0)
    faces = actor.body.faces
    layer = shade(actor.clothed, faces, twice, 2 * scene.width, 2 * scene.height, np.arange(len(faces)), look).astype(
        np.float32
    )
    cover = layer[..., 3:] / 255
    size = (scene.width, scene.height)
    colour = cv2.resize(layer[..., :3] * cover, size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)[..., None]
    return picture * (1 - alpha) + colour


def _surroundings(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(H, W, 3): wall and floor of some colour, furniture-like boxes, pictures, stains at every scale."""
    grey = lambda: rng.uniform(30, 225) + rng.normal(0, 22, 3)  # noqa: E731
    picture = np.empty((height, width, 3), np.float32)
    horizon = int(rng.uniform(0.35, 0.85) * height)
    picture[:horizon], picture[horizon:] = grey(), grey()
    for _ in range(rng.integers(2, 14)):
        low = (rng.uniform(-0.2, 1, 2) * (width, height)).astype(int)
        high = low + (rng.uniform(0.03, 0.5, 2) * (width, height)).astype(int)
        corners = tuple(map(int, low)), tuple(map(int, high))
        if rng.random() < 0.75:
            cv2.rectangle(picture, *corners, grey().tolist(), -1)
        else:
            cv2.circle(picture, corners[0], max(int(high[0] - low[0]) // 2, 1), grey().tolist(), -1)
    for cells in (3, 9, 40):
        stains = rng.normal(0, rng.uniform(2, 14), (cells, cells, 1)) + rng.normal(0, 3, (cells, cells, 3))
        picture += cv2.resize(stains.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:  # out of focus
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 0.012 * max(width, height) + 0.6))
    return picture.clip(0, 255)


def _farthest_first(scene: Scene) -> list[int]:
    return sorted(range(len(scene.actors)), key=lambda n: -scene.actors[n].joints[0, 2])


def sheet(samples: list[Sample], tile_px: int = 240, columns: int = 6) -> np.ndarray:
    """(H, W, 3) uint8 RGB: pictures beside each other, with their boxes and keypoints."""
    tiles = []
    for one in samples:
        image = one.image_rgb.copy()
        for n in range(len(one.labels)):
            x1, y1, x2, y2 = one.labels.box_px[n].astype(int).tolist()
            cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), (255, 210, 0), 1)
            for x, y, seen in one.labels.keypoints_2d[n]:
                if seen:
                    cv2.circle(image, (int(x), int(y)), 2, (0, 255, 120), -1)
        scale = tile_px / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:tile_px, :tile_px]
        tile = np.full((tile_px, tile_px, 3), 40, np.uint8)
        tile[: small.shape[0], : small.shape[1]] = small
        tiles.append(tile)
    columns = min(columns, len(tiles))
    tiles += [np.full_like(tiles[0], 40)] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[n : n + columns], 1) for n in range(0, len(tiles), columns)]
    return np.concatenate(lines, 0)
