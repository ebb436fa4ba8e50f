# SPDX-License-Identifier: GPL-3.0-or-later
"""Which place on one body is which on another, when their meshes have nothing in common.

Both bodies stand in the same T-pose and have joints of the same names. One is brought to the other's proportions and
moved by its skin, so that joints coincide; its head is then laid upon the other's head. What remains are the nearest
places of the same part whose surface looks the same way: some millimetres off on trunk and limbs, about a centimetre
in the face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .body_model import BodyModel

_NEAREST = 16
"""Triangles that are looked at for each point."""
_HEAD_ROUNDS, _HEAD_POINTS = 6, 600
_REACH_M = 0.06
_FACING = 0.3
"""Cosine between normals from which on two surfaces look the same way."""


@dataclass(frozen=True, eq=False)
class Overlaid:
    """One body's rest mesh laid over another's; both (V, 3), metres, in the other's place."""

    vertices: np.ndarray
    normals: np.ndarray
    parts: np.ndarray
    """(V,) see `_parts`."""
    other: BodyModel
    other_normals: np.ndarray
    other_parts: np.ndarray

    def vertices_near(self, numbers: np.ndarray) -> np.ndarray:
        """The other body's vertices at the vertices `numbers` (N,) of the overlaid one."""
        points, places = self.vertices[numbers], self.other.v_template
        around = _around(points, places)
        wrong = self.parts[numbers][:, None] != self.other_parts[around]
        wrong |= self.normals[numbers] @ self.other_normals[around].T < _FACING
        return around[(_distances(points, places[around]) + 1e3 * wrong).argmin(1)]

    def on_triangles(self, corners: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points given by three vertices and their shares (N, 3) -> the other's triangles (N,) and shares (N, 3)."""
        points = np.einsum("nc,nci->ni", shares, self.vertices[corners])
        looking = _unit(np.einsum("nc,nci->ni", shares, self.normals[corners]))
        triangles = self.other.v_template[self.other.faces]
        middles = triangles.mean(1)
        around = _around(points, middles)
        facing = _unit(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[around])
        wrong = self.parts[corners[:, 0]][:, None] != self.other_parts[self.other.faces[around, 0]]
        wrong |= looking @ facing.T < _FACING
        apart = _distances(points, middles[around]) + 1e3 * wrong
        near = around[np.argpartition(apart, min(_NEAREST, len(around) - 1), axis=1)[:, :_NEAREST]]
        bary = _nearest_shares(points[:, None], triangles[near])
        apart = np.linalg.norm(np.einsum("nkc,nkci->nki", bary, triangles[near]) - points[:, None], axis=-1)
        best, rows = apart.argmin(1), np.arange(len(points))
        return near[rows, best], bary[rows, best].astype(np.float32)


def with_landmarks(body: BodyModel, reference: BodyModel) -> BodyModel:
    """`body` with the landmarks and face points of `reference`, both of SMPL-X's 55 joints."""
    overlaid = overlay(reference, body)
    assert reference.mediapipe_face_faces is not None and reference.mediapipe_face_bary is not None
    faces, bary = overlaid.on_triangles(reference.faces[reference.mediapipe_face_faces], reference.mediapipe_face_bary)
    names = list(reference.landmark_vertices)
    places = overlaid.vertices_near(np.array([reference.landmark_vertices[name] for name in names]))
    return replace(
        body,
        landmark_vertices=dict(zip(names, places.tolist(), strict=True)),
        mediapipe_face_faces=faces,
        mediapipe_face_bary=bary,
    )


@lru_cache(maxsize=4)
def overlay(source: BodyModel, other: BodyModel) -> Overlaid:
    """The mean body `source` in the proportions and the place of the mean body `other`."""
    from .smpl_to_smplx import shape_by_measures

    betas = shape_by_measures(other, np.zeros((1, 10)), source).betas
    shared = [(name, source.joint_names.index(name)) for name in other.joint_names if name in source.joint_names]
    moves = np.zeros((source.joint_count, 3))
    joints = source.rest_joints(betas)[0]
    for name, number in shared:
        moves[number] = other.joints_template[other.joint_names.index(name)] - joints[number]
    for number, name in enumerate(source.joint_names):  # what the other does not have moves with its parent
        if name not in other.joint_names:
            moves[number] = moves[source.parents[number]]
    vertices = source.rest_vertices(betas)[0] + source.weights @ moves
    made = Overlaid(
        vertices,
        vertex_normals(vertices, source.faces),
        _parts(source),
        other,
        vertex_normals(other.v_template, other.faces),
        _parts(other),
    )
    return _with_head_laid_on(made, source)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit, outwards; triangles count by their area."""
    a, b, c = vertices[faces].swapaxes(0, 1)
    across, normals = np.cross(b - a, c - a), np.zeros(vertices.shape)
    for corner in faces.T:
        for axis in range(3):
            normals[:, axis] += np.bincount(corner, across[:, axis], len(vertices))
    return _unit(normals)


def _with_head_laid_on(overlaid: Overlaid, source: BodyModel) -> Overlaid:
    """Heads differ in size where joints say nothing: scaled and moved, not turned, until the surfaces meet."""
    head = source.joint_names.index("head")
    mine = source.weights[:, [j for j, name in enumerate(source.joint_names) if j == head or source.parents[j] == head]]
    of_head = mine.sum(1)
    chosen = np.flatnonzero(of_head > 0.9)
    if len(chosen) < 20:
        return overlaid
    chosen = chosen[:: max(1, len(chosen) // _HEAD_POINTS)]
    made = overlaid
    for _ in range(_HEAD_ROUNDS):
        here, there = made.vertices[chosen], made.other.v_template[made.vertices_near(chosen)]
        a, b = here - here.mean(0), there - there.mean(0)
        scale = np.clip((a * b).sum() / np.square(a).sum(), 0.8, 1.25)
        laid = scale * (made.vertices - here.mean(0)) + there.mean(0)
        made = replace(made, vertices=made.vertices + of_head[:, None] * (laid - made.vertices))
    return made


def _parts(body: BodyModel) -> np.ndarray:
    """(V,) 1 on the left eyeball, 2 on the right, 3 on left arm and hand, 4 on the right ones, else 0."""
    parts = np.zeros(body.joint_count, int)
    for number, name in enumerate(body.joint_names):
        side = 0 if name.startswith("left") else 1
        if "eye" in name:
            parts[number] = 1 + side
        elif any(word in name for word in ("elbow", "wrist", "hand", "index", "middle", "pinky", "ring", "thumb")):
            parts[number] = 3 + side
    return parts[body.weights.argmax(1)]


def _around(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which of the places (M, 3) lie near the box around the points (N, 3); all, if hardly any do."""
    low, high = points.min(0) - _REACH_M, points.max(0) + _REACH_M
    around = np.flatnonzero(((places > low) & (places < high)).all(1))
    return around if len(around) >= _NEAREST else np.arange(len(places))


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, 3), (M, 3) -> (N, M)."""
    squared = np.square(points).sum(1)[:, None] - 2 * points @ others.T + np.square(others).sum(1)
    return np.sqrt(np.maximum(squared, 0))


def _nearest_shares(point: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Shares (…, 3) of the corners (…, 3, 3) at the point of the triangle that is nearest to point (…, 3), about.

    The plane's nearest point; outside the triangle, negative shares are cut off.
    """
    a, b, c = np.moveaxis(triangle, -2, 0)
    u, v, w = b - a, c - a, point - a
    uu, uv, vv = ((p * q).sum(-1) for p, q in ((u, u), (u, v), (v, v)))
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-18)
    second, third = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    shares = np.clip(np.stack([1 - second - third, second, third], -1), 0, None)
    return shares / shares.sum(-1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
