# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes through a pinhole camera: exact silhouettes, and a simple shaded picture.

A silhouette needs no drawing. Triangles that face the camera all turn the same way round, so the number of their
outlines that wind about a pixel is the number of layers that cover it. Inner edges are walked once in each direction
and cancel; what is left is the contour, and one running sum along each row fills it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..wire.frames import project

NEAR_M = 0.02
"""Triangles with a corner nearer than this (or behind the camera) are left out."""

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Look:
    """How a shaded body looks; colours are sRGB, 0 to 255."""

    colours: tuple[tuple[int, int, int], ...] = ((94, 169, 214),)
    """One per material; the last serves further ones."""
    light_cam: tuple[float, float, float] = (-0.6, -0.65, -0.4)
    """Direction towards the light, camera frame: over the photographer's left shoulder."""
    ambient: float = 0.3
    rim: float = 0.22
    """Extra light where the surface turns away, which keeps limbs apart that lie over each other."""


def silhouette(
    vertices_cam: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, width: int, height: int
) -> np.ndarray:
    """(H, W) bool, true where the closed mesh covers a pixel's centre.

    `vertices_cam` (V, 3) metres in the camera frame, `faces` (T, 3) counter-clockwise seen from outside.
    """
    points_px, front = _project_front(vertices_cam, faces, intrinsics)
    start, end, winding = _contour_edges(front, len(points_px))
    return _fill(points_px[start], points_px[end], winding, width, height)


def outline_vertices(vertices_cam: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(E,) the vertices where the surface turns from the camera: outer contour and folds within it."""
    points_px, front = _project_front(vertices_cam, faces, intrinsics)
    start, end, _ = _contour_edges(front, len(points_px))
    return np.unique(np.concatenate([start, end]))


def shade(
    vertices_cam: np.ndarray,
    faces: np.ndarray,
    intrinsics: np.ndarray,
    width: int,
    height: int,
    face_materials: np.ndarray | None = None,
    look: Look = Look(),
) -> np.ndarray:
    """(H, W, 4) uint8 RGBA picture of the mesh, farthest triangles painted first; alpha is 0 or 255."""
    import cv2

    points_px, front = _project_front(vertices_cam, faces, intrinsics)
    kept = _kept_faces(vertices_cam, faces, points_px)
    depths = vertices_cam[front, 2].mean(1)
    order = np.argsort(-depths)
    colours = _colours(vertices_cam, faces, kept, face_materials, look)[order].tolist()
    # OpenCV counts pixels from the centre of the first one, we count from its corner.
    corners = np.round((points_px[front[order]] - 0.5) * (1 << _SUBPIXEL_BITS)).clip(-(1 << 30), 1 << 30)
    picture = np.zeros((height, width, 4), np.uint8)
    for triangle, colour in zip(corners.astype(np.int32), colours, strict=True):
        cv2.fillConvexPoly(picture, triangle, colour, cv2.LINE_8, _SUBPIXEL_BITS)
    return picture


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, outwards, weighted by the areas of the faces around."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    of_faces = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(of_faces[:, axis], 3), len(vertices)) for axis in range(3)], 1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _project_front(
    vertices_cam: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(V, 2) pixels, and the (N, 3) faces that are in front of the camera and turned to it."""
    points_px = project(vertices_cam, intrinsics)
    return points_px, faces[_kept_faces(vertices_cam, faces, points_px)]


def _kept_faces(vertices_cam: np.ndarray, faces: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """(T,) bool. Seen in the picture (y down), faces that turn to the camera run clockwise: their area is negative."""
    a, b, c = points_px[faces[:, 0]], points_px[faces[:, 1]], points_px[faces[:, 2]]
    u, v = b - a, c - a
    far_enough = (vertices_cam[:, 2] > NEAR_M)[faces].all(1)
    with np.errstate(invalid="ignore"):
        return far_enough & (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0)


def _contour_edges(faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of `faces` that are not walked equally often in both directions: start, end, and how often net (E,)."""
    a = faces.astype(np.int64).ravel()
    b = np.roll(faces, -1, axis=1).astype(np.int64).ravel()
    keys = np.minimum(a, b) * vertex_count + np.maximum(a, b)
    order = np.argsort(keys, kind="stable")
    keys, signs = keys[order], np.where(a < b, 1, -1)[order]
    if not len(keys):
        return keys, keys, signs
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    net = np.add.reduceat(signs, first)
    kept = net != 0
    lower, upper = np.divmod(keys[first[kept]], vertex_count)
    return lower, upper, net[kept]


def _fill(start_px: np.ndarray, end_px: np.ndarray, winding: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W) bool where the outlines wind about the pixel's centre."""
    mask = np.zeros((height, width), bool)
    if not len(start_px):
        return mask
    down = start_px[:, 1] <= end_px[:, 1]
    top, bottom = np.where(down[:, None], start_px, end_px), np.where(down[:, None], end_px, start_px)
    # Rows whose centre (row + 0.5) lies in [top, bottom): a shared end point is counted once.
    first = np.ceil(top[:, 1] - 0.5).clip(0, height).astype(np.int64)
    last = np.ceil(bottom[:, 1] - 0.5).clip(0, height).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    if not len(edge):
        return mask
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (bottom[:, 0] - top[:, 0])[edge] / (bottom[:, 1] - top[:, 1])[edge]
    x = top[edge, 0] + (row + 0.5 - top[edge, 1]) * slope
    column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
    # Only the rows and columns that are reached are summed: a person is a small part of a large picture.
    y0, y1, x0, x1 = row.min(), row.max() + 1, column.min(), column.max() + 1
    cells = (row - y0) * (x1 - x0) + column - x0
    steps = np.bincount(cells, np.where(down, winding, -winding)[edge], (y1 - y0) * (x1 - x0))
    layers = np.cumsum(steps.reshape(y1 - y0, x1 - x0).astype(np.int16), axis=1, dtype=np.int16)
    mask[y0:y1, x0 : min(x1, width)] = (layers != 0)[:, : width - x0]
    return mask


def _colours(
    vertices_cam: np.ndarray, faces: np.ndarray, kept: np.ndarray, face_materials: np.ndarray | None, look: Look
) -> np.ndarray:
    """(N, 4) RGBA of the kept faces."""
    normals = vertex_normals(vertices_cam, faces)[faces[kept]].mean(1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    towards_camera = -vertices_cam[faces[kept]].mean(1)
    towards_camera /= np.linalg.norm(towards_camera, axis=1, keepdims=True)
    light = np.array(look.light_cam) / np.linalg.norm(look.light_cam)
    # Half Lambert: the dark side keeps its shape.
    lit = look.ambient + (1 - look.ambient) * (0.5 + 0.5 * normals @ light) ** 1.6
    facing = np.einsum("ij,ij->i", normals, towards_camera).clip(0, 1)
    palette = np.array(look.colours, np.float64)
    materials = np.zeros(len(faces), int) if face_materials is None else face_materials
    base = palette[np.minimum(materials[kept], len(palette) - 1)]
    rgb = base * lit[:, None] + 255 * look.rim * ((1 - facing) ** 3)[:, None]
    return np.concatenate([rgb.clip(0, 255), np.full((len(rgb), 1), 255.0)], 1)
