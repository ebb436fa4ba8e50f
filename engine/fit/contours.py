# SPDX-License-Identifier: GPL-3.0-or-later
"""Term for the silhouette: the body's outline lies on the outline of the person mask.

Outlines are compared like two scans: each point of one is paired with the nearest of the other that faces the same way,
and the distance along the mask's normal is a residual. Pairs are found again after every few steps. What the mask shows
beyond the body may be hair, clothes or things held, so those pairs count less than a body that sticks out of its mask;
the picture's border is no outline at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...models.body_model import BodyModel, load_body
from ...wire.frames import project
from ..raster import silhouette_and_rim
from .coarse_body import coarse_body
from .kinematics import (
    BETA_COUNT,
    BODY_JOINTS,
    Posed,
    Skeleton,
    State,
    load_skeleton,
    skinned_along,
)
from .solver import System

WORKING_SIZE_PX = 320
"""Outlines are traced with the person scaled to about this size: finer than the mask's own resolution."""
SAMPLES = 160
"""Points of each outline that count as much as the weights below say; fewer of them count for more."""
REACH = 0.12
"""Farthest a pair may lie apart, as a share of the person's size."""
FACING = 0.5
"""Least cosine between the normals of a pair."""
SIGMA = 0.008
"""Standard deviation of a pair's distance, as a share of the person's size."""
WIDTH = 3.0
"""Standard deviations at which a pair begins to count as an outlier."""
BODY_OUTSIDE_WEIGHT, MASK_OUTSIDE_WEIGHT = 0.55, 0.25
"""Per pair. Neighbours on an outline repeat each other, so none of them counts as a whole observation."""


def relaxed_hands(body: BodyModel) -> np.ndarray:
    """(55, 3) a pose in which only the fingers are bent, as they hang."""
    pose = np.zeros((body.joint_count, 3), np.float32)
    pose[25:40], pose[40:55] = body.hands_mean_left, body.hands_mean_right
    return pose


@dataclass(frozen=True)
class Outline:
    """Points along the border of a mask."""

    points_px: np.ndarray
    """(M, 2) in the full image."""
    normals: np.ndarray
    """(M, 2) unit, pointing out of the mask."""


def trace(mask: np.ndarray, scale: float, offset_px: np.ndarray) -> Outline:
    """Outline of a mask (h, w) that shows the full image from `offset_px` on, magnified by `scale`.

    Its own border is left out: there the picture ends, not the person.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    height, width = mask.shape
    points, normals = [], []
    for contour in contours:
        line = contour[:, 0].astype(np.float64)
        if len(line) < 12:
            continue
        # The tangent over a few pixels: a single step along a contour knows eight directions only.
        tangent = np.roll(line, -3, 0) - np.roll(line, 3, 0)
        length = np.linalg.norm(tangent, axis=1, keepdims=True)
        normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1) / np.maximum(length, 1e-9)
        # Which side is out: one step along the normal must leave the mask.
        probe = np.round(line + 2.5 * normal).astype(int).clip(0, (width - 1, height - 1))
        normal *= np.where(mask[probe[:, 1], probe[:, 0]], -1, 1)[:, None]
        inner = ((line > 1) & (line < (width - 2, height - 2))).all(1) & (length[:, 0] > 0)
        points.append(line[inner])
        normals.append(normal[inner])
    if not points:
        return Outline(np.zeros((0, 2)), np.zeros((0, 2)))
    # OpenCV gives the centres of the border's pixels; half a pixel further out is where the mask ends.
    at, out = np.concatenate(points), np.concatenate(normals)
    return Outline((at + 0.5 + 0.5 * out) / scale + offset_px, out)


def thinned(outline: Outline, count: int) -> Outline:
    """At most `count` points, evenly along the outline."""
    kept = np.linspace(0, len(outline.points_px) - 1, min(count, len(outline.points_px))).astype(int)
    return Outline(outline.points_px[kept], outline.normals[kept])


@dataclass(frozen=True)
class _Window:
    """A part of the full image, scaled."""

    offset_px: np.ndarray
    scale: float
    width: int
    height: int

    @classmethod
    def around(cls, box_px: np.ndarray, margin_px: float, shape: tuple[int, ...]) -> _Window:
        left, top = np.maximum(np.floor(box_px[:2] - margin_px), 0)
        right, bottom = np.minimum(np.ceil(box_px[2:] + margin_px), (shape[1], shape[0]))
        scale = min(1.0, WORKING_SIZE_PX / max(right - left, bottom - top))
        width, height = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        return cls(np.array([left, top]), scale, width, height)

    def cut(self, mask: np.ndarray) -> np.ndarray:
        left, top = self.offset_px.astype(int)
        part = mask[top : top + round(self.height / self.scale), left : left + round(self.width / self.scale)]
        scaled = cv2.resize(part.astype(np.uint8) * 255, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return scaled > 127

    def intrinsics(self, focal_px: float, centre_px: np.ndarray) -> np.ndarray:
        cx, cy = (centre_px - self.offset_px) * self.scale
        return np.array([[focal_px * self.scale, 0, cx], [0, focal_px * self.scale, cy], [0, 0, 1]])


@dataclass(frozen=True)
class SeenOutline:
    """The outline of one person's mask: found once, paired again and again."""

    view: _Window
    outline: Outline
    samples: int
    """Points that are taken from each outline; with fewer of them each counts for more."""
    size_px: float
    """The person's size in the picture."""

    @classmethod
    def of(cls, mask: np.ndarray, box_px: np.ndarray, samples: int) -> SeenOutline:
        """From a mask (H, W) bool and the box (4,) around the person in it."""
        size_px = float(np.linalg.norm(box_px[2:] - box_px[:2]))
        view = _Window.around(box_px, REACH * size_px, mask.shape)
        outline = thinned(trace(view.cut(mask), view.scale, view.offset_px), 4 * samples)
        return cls(view, outline, samples, size_px)


@dataclass(frozen=True)
class ContourTerm:
    """Pairs of outline points of B people; rows with weight 0 are fill."""

    skeleton: Skeleton
    rest: np.ndarray
    """(B, 3, M) float32 body points at rest, hands as they are held, metres at zero shape."""
    rest_betas: np.ndarray
    """(B, 3, 10, M) float32."""
    weights: np.ndarray
    """(B, 22, M) float32 skinning."""
    targets_px: np.ndarray
    """(B, 2, M) pixels from the principal point."""
    normals: np.ndarray
    """(B, 2, M) float32 unit."""
    importance: np.ndarray
    """(B, M)."""
    sigma_px: np.ndarray
    """(B,)."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Distance along the normal."""
        along, jacobian = skinned_along(self.skeleton, posed, self.rest, self.rest_betas, self.weights, self.normals)
        residual = along - (self.normals * self.targets_px).sum(1)
        system.add_seen(residual[..., None], jacobian[:, :, None], self.sigma_px[:, None], self.importance, WIDTH)

    def of_rows(self, rows: np.ndarray) -> ContourTerm:
        """Of some of the people."""
        arrays = (self.rest, self.rest_betas, self.weights, self.targets_px, self.normals)
        return ContourTerm(self.skeleton, *(a[rows] for a in (*arrays, self.importance, self.sigma_px)))


class ContourPairs:
    """Finds the pairs for one body model, whatever the people."""

    def __init__(self, body_name: str) -> None:
        body = coarse_body(load_body(body_name))
        self.body = body
        self.skeleton = load_skeleton(body_name)
        self.hands_pose = relaxed_hands(body)
        self.rest = body.forward(self.hands_pose[None], np.zeros((1, 10))).vertices[0]
        self.rest_betas = np.ascontiguousarray(body.shapedirs[..., :BETA_COUNT], np.float32)
        self.weights = _onto_body_joints(body).astype(np.float32)
        self.on_head = self.weights[:, body.joint_names.index("head")] > 0.5

    def find(
        self, state: State, seen: Sequence[SeenOutline], centre_px: np.ndarray, rotvecs: np.ndarray
    ) -> ContourTerm:
        """Pair the outlines of B people at `state`. centre_px (B, 2), rotvecs (B, 22, 3) of the state."""
        pose = np.tile(self.hands_pose, (len(seen), 1, 1))
        pose[:, :BODY_JOINTS] = rotvecs
        translation = state.pelvis - self.skeleton.pose(state).rest_joints[:, 0]
        vertices = self.body.forward(pose, state.betas, translation=translation).vertices
        pairs = [self._pair(*of_one) for of_one in zip(vertices, seen, centre_px, state.focal_px, strict=True)]
        most = max(max(len(p[0]) for p in pairs), 1)
        ids = np.zeros((len(pairs), most), int)
        targets, normals = np.zeros((2, len(pairs), most, 2))
        importance = np.zeros((len(pairs), most))
        for b, (vertex, target, normal, weight) in enumerate(pairs):
            used = slice(0, len(vertex))
            ids[b, used], targets[b, used], normals[b, used], importance[b, used] = vertex, target, normal, weight
        return ContourTerm(
            self.skeleton,
            _rows_last(self.rest[ids]),
            _rows_last(self.rest_betas[ids].reshape(*ids.shape, 3 * BETA_COUNT)).reshape(len(ids), 3, BETA_COUNT, most),
            _rows_last(self.weights[ids]),
            _rows_last(targets - centre_px[:, None]),
            _rows_last(normals),
            importance * np.array([[SAMPLES / outline.samples] for outline in seen]),
            SIGMA * np.array([outline.size_px for outline in seen]),
        )

    def _pair(self, vertices_cam: np.ndarray, seen: SeenOutline, centre_px: np.ndarray, focal: float):
        """Vertex numbers (M,), targets (M, 2) in the full image, normals (M, 2), importance (M,)."""
        view, person, samples, reach_px = seen.view, seen.outline, seen.samples, REACH * seen.size_px
        intrinsics = view.intrinsics(focal, centre_px)
        drawn, rim = silhouette_and_rim(vertices_cam, self.body.faces, intrinsics, view.width, view.height)
        body = thinned(trace(drawn, view.scale, view.offset_px), 4 * samples)
        if not len(person.points_px) or not len(body.points_px):
            return np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
        full = np.array([[focal, 0, centre_px[0]], [0, focal, centre_px[1]], [0, 0, 1]])
        rim_px = project(vertices_cam[rim], full)
        from_body = thinned(body, samples)
        on_person, near_person = _nearest(from_body, person, reach_px)
        from_person = thinned(person, samples)
        on_body, near_body = _nearest(from_person, body, reach_px)
        # Both lists: where on the body, where it should be, and the mask's normal there.
        at_px = np.concatenate([from_body.points_px[near_person], body.points_px[on_body[near_body]]])
        target = np.concatenate([person.points_px[on_person[near_person]], from_person.points_px[near_body]])
        normal = np.concatenate([person.normals[on_person[near_person]], from_person.normals[near_body]])
        outside = np.einsum("mi,mi->m", at_px - target, normal) > 0
        vertex = rim[_squared_distances(at_px, rim_px)[0].argmin(1)]
        # The body is bald: what the mask shows beyond its head is hair or a hat.
        mask_outside = np.where(self.on_head[vertex], 0.0, MASK_OUTSIDE_WEIGHT)
        return vertex, target, normal, np.where(outside, BODY_OUTSIDE_WEIGHT, mask_outside)


def _rows_last(values: np.ndarray) -> np.ndarray:
    """(B, M, k) -> (B, k, M) float32, contiguous."""
    return np.ascontiguousarray(values.swapaxes(1, 2), np.float32)


contour_pairs = lru_cache(maxsize=4)(ContourPairs)
"""The `ContourPairs` of a body, made once."""


def _nearest(source: Outline, target: Outline, reach_px: float) -> tuple[np.ndarray, np.ndarray]:
    """For each source point, the nearest target point that faces the same way, and whether there is one in reach."""
    distance, rest = _squared_distances(source.points_px, target.points_px)
    np.putmask(distance, source.normals.astype(np.float32) @ target.normals.T.astype(np.float32) < FACING, np.inf)
    best = distance.argmin(1)
    return best, distance[np.arange(len(best)), best] + rest < reach_px**2


def _squared_distances(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2), (N, 2) -> (M, N) but for what a row's all lack, (M,): one matrix product, which is quickest by far."""
    middle = b.mean(0)  # so that single precision is enough
    a, b = a - middle, b - middle
    left = np.column_stack([-2 * a, np.ones(len(a))]).astype(np.float32)
    right = np.column_stack([b, np.square(b).sum(1)]).astype(np.float32)
    return left @ right.T, np.square(a).sum(1)


def _onto_body_joints(body: BodyModel) -> np.ndarray:
    """(V, 22) skinning weights: fingers ride on the wrists, jaw and eyes on the head."""
    weights = body.weights[:, :BODY_JOINTS].astype(np.float64)
    for joint in range(BODY_JOINTS, body.joint_count):
        carrier = joint
        while carrier >= BODY_JOINTS:
            carrier = body.parents[carrier]
        weights[:, carrier] += body.weights[:, joint]
    return weights
