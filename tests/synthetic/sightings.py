# SPDX-License-Identifier: GPL-3.0-or-later
"""What a detector would say of a labelled clip: the true landmarks and outlines with a detector's mistakes.

Mistakes are of several kinds, because each is cured by something else: landmarks that lie beside their place throughout
(bias), that wander (correlated over time), that jitter, that are hidden for a moment, and sides that are swapped.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recover_body.engine.fit.points import LANDMARK_NAMES, landmark_points
from recover_body.engine.follow import Sighting
from recover_body.engine.masks import PackedMask
from recover_body.engine.mediapipe_graphs import Details, Region
from recover_body.engine.motion.sides import MIRROR
from recover_body.engine.raster import silhouette
from recover_body.models.rotations import rotation_between
from recover_body.wire.frames import project

from .clips import HEIGHT, WIDTH, Label


@dataclass(frozen=True)
class Mistakes:
    """Standard deviations; in the picture as a share of the person's size there, in space in metres."""

    bias: float = 0.006
    wander: float = 0.006
    jitter: float = 0.003
    wander_s: float = 0.4
    metric_bias_m: float = 0.02
    metric_wander_m: float = 0.03
    metric_jitter_m: float = 0.008
    depth_factor: float = 1.8
    """Metric landmarks are so much worse along the ray."""
    hidden_per_s: float = 0.15
    """How often a limb is hidden, for a third of a second on average."""
    swaps_per_s: float = 0.08
    outline_px: float = 1.0
    """How far outlines stray, in pixels of the mask."""


_LIMBS = ((13, 15, 17, 19, 21), (14, 16, 18, 20, 22), (25, 27, 29, 31), (26, 28, 30, 32))
_HIDDEN_S, _SWAPPED_S = 0.33, 0.12
_HIDDEN_VISIBILITY, _HIDDEN_FACTOR = 0.35, 5.0
_MASK_HEIGHT_PX = 170
_NOWHERE = Region(np.zeros(2), 0.0, 0.0, 0.0)
_UNSEEN = Details(None, None, None)


def sightings(label: Label, seed: int, mistakes: Mistakes = Mistakes()) -> list[Sighting]:
    """One for each frame."""
    rng = np.random.default_rng((seed, 99))
    points_cam = _landmarks_cam(label)
    points_px = project(points_cam, label.camera.intrinsics)
    low, high = np.nanmin(points_px, 1), np.nanmax(points_px, 1)
    size_px = np.linalg.norm(high - low, axis=1) * 1.1
    visibility = np.full(points_px.shape[:2], 0.98)
    worse = np.ones(points_px.shape[:2])
    for limb in _LIMBS:
        hidden = _bursts(rng, label, mistakes.hidden_per_s, _HIDDEN_S)
        rows, columns = np.ix_(hidden, limb)
        visibility[rows, columns], worse[rows, columns] = _HIDDEN_VISIBILITY, _HIDDEN_FACTOR
    shape = points_px.shape
    share = mistakes.bias * rng.normal(0, 1, (1, *shape[1:])) + mistakes.jitter * rng.normal(0, 1, shape)
    share = share + mistakes.wander * _wandering(rng, shape, mistakes.wander_s * label.fps)
    points_px = points_px + share * size_px[:, None, None] * worse[..., None]
    metric = _as_seen_straight_on(points_cam)
    off_m = mistakes.metric_bias_m * rng.normal(0, 1, (1, *metric.shape[1:]))
    off_m = off_m + mistakes.metric_jitter_m * rng.normal(0, 1, metric.shape)
    off_m = off_m + mistakes.metric_wander_m * _wandering(rng, metric.shape, mistakes.wander_s * label.fps)
    metric = metric + off_m * [1, 1, mistakes.depth_factor] * worse[..., None]
    swapped = _bursts(rng, label, mistakes.swaps_per_s, _SWAPPED_S)
    points_px[swapped], metric[swapped] = points_px[swapped][:, MIRROR], metric[swapped][:, MIRROR]
    visibility[swapped] = visibility[swapped][:, MIRROR]
    found = []
    for frame in range(label.count):
        mask, box_px = _mask(label, frame, rng, mistakes.outline_px)
        found.append(
            Sighting(
                box_px=box_px,
                score=0.95,
                points_px=points_px[frame],
                visibility=visibility[frame],
                metric_points=metric[frame],
                mask=mask,
                details=_UNSEEN,
                next_region=_NOWHERE,
                look=np.zeros(78),
            )
        )
    return found


def _as_seen_straight_on(points_cam: np.ndarray) -> np.ndarray:
    """(F, 33, 3) about the hips, as by a camera that looks straight at them: the detector knows nothing but its cut of
    the picture, where whoever stands at the edge of a wide lens' picture seems turned."""
    middle = points_cam[:, 23:25].mean(1)
    R_straight_cam = rotation_between(middle, np.array([0.0, 0.0, 1.0]))
    return (points_cam - middle[:, None]) @ R_straight_cam.swapaxes(1, 2)


def _landmarks_cam(label: Label) -> np.ndarray:
    """(F, 33, 3) where the detector's landmarks truly lie; those that the fit does not use repeat a neighbour."""
    points = landmark_points(label.body_name)
    out = label.posed
    rest_joints = label.body.rest_joints(label.betas[None])[0]
    offsets = points.rest + points.rest_shapedirs @ label.betas - rest_joints[points.owners]
    world = out.joints[:, points.owners] + (out.rotations[:, points.owners] @ offsets[..., None])[..., 0]
    cam = label.camera.see(world)
    nearest = [int(np.abs(points.indices - number).argmin()) for number in range(len(LANDMARK_NAMES))]
    return cam[:, nearest]


def _bursts(rng: np.random.Generator, label: Label, per_s: float, lasting_s: float) -> np.ndarray:
    """(F,) bool."""
    found = np.zeros(label.count, bool)
    for start in np.flatnonzero(rng.random(label.count) < per_s / label.fps):
        found[start : start + 1 + int(rng.exponential(lasting_s) * label.fps)] = True
    return found


def _wandering(rng: np.random.Generator, shape: tuple[int, ...], frames: float) -> np.ndarray:
    """Unit variance, correlated over so many frames along the first axis."""
    keep = np.exp(-1 / frames)
    noise = rng.normal(0, 1, shape)
    for t in range(1, len(noise)):
        noise[t] = keep * noise[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    return noise


def _mask(label: Label, frame: int, rng: np.random.Generator, stray_px: float) -> tuple[PackedMask, np.ndarray]:
    """The person's pixels as coarse as a network has them, with an outline that strays; and their box."""
    vertices = label.vertices_cam(frame)
    points_px = project(vertices, label.camera.intrinsics)
    low, high = points_px.min(0), points_px.max(0)
    scale = min(1.0, _MASK_HEIGHT_PX / (high[1] - low[1]))
    size = round(WIDTH * scale), round(HEIGHT * scale)
    drawn = silhouette(vertices, label.body.faces, np.diag([scale, scale, 1]) @ label.camera.intrinsics, *size)
    # Distance to the outline, less a smooth random field: zero is where the network sees the outline.
    distance = cv2.distanceTransform(drawn.astype(np.uint8), cv2.DIST_L2, 3)
    distance -= cv2.distanceTransform((~drawn).astype(np.uint8), cv2.DIST_L2, 3)
    coarse = rng.normal(0, stray_px, (size[1] // 6 + 2, size[0] // 6 + 2)).astype(np.float32)
    strayed = distance + cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) > 0
    rows, columns = np.flatnonzero(strayed.any(1)), np.flatnonzero(strayed.any(0))
    cut = strayed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    mask = PackedMask.of(cut, columns[0] / scale, rows[0] / scale, scale, WIDTH, HEIGHT)
    box_px = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / scale
    return mask, box_px
