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
from .mesh_edges import MeshEdges, edges_of

NEAR_M = 0.02
"""Triangles with a corner nearer than this (or behind the camera) are left out."""


@dataclass(frozen=True)
class Look:
    """How a shaded body looks; colours are sRGB, 0 to 255."""

    colours: tuple[tuple[int, int, int], ...] | np.ndarray = ((94, 169, 214),)
    """(M, 3), one per material; the last serves further ones."""
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
    return silhouette_and_rim(vertices_cam, faces, intrinsics, width, height)[0]


def silhouette_and_rim(
    vertices_cam: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """The silhouette, and (E,) the vertices where the surface turns from the camera: outer contour and folds in it."""
    points_px = project(vertices_cam, intrinsics)
    edges = edges_of(faces)
    start, end = edges.contour(_front_faces(vertices_cam, edges, points_px))
    on_rim = np.zeros(len(points_px), bool)
    on_rim[start] = on_rim[end] = True
    return _fill(points_px[start], points_px[end], width, height), np.flatnonzero(on_rim)


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
    points_px = project(vertices_cam, intrinsics)
    kept = _front_faces(vertices_cam, edges_of(faces), points_px)
    order = np.argsort(-vertices_cam[faces[kept], 2].mean(1))
    pixels, whose = _covered(points_px[faces[kept][order]], width, height)
    picture = np.zeros((height * width, 4), np.uint8)
    colours = _colours(vertices_cam, faces, kept, face_materials, look)[order].astype(np.uint8)
    picture.view(np.uint32)[pixels, 0] = colours.view(np.uint32)[whose, 0]  # of two the later, which is nearer
    return picture.reshape(height, width, 4)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, outwards, weighted by the areas of the faces around."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    of_faces = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(of_faces[:, axis], 3), len(vertices)) for axis in range(3)], 1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _front_faces(vertices_cam: np.ndarray, edges: MeshEdges, points_px: np.ndarray) -> np.ndarray:
    """(T,) bool. Seen in the picture (y down), faces that turn to the camera run clockwise: their area is negative."""
    x, y = np.ascontiguousarray(points_px[:, 0]), np.ascontiguousarray(points_px[:, 1])
    a, b, c = edges.corners
    ax, ay = x.take(a), y.take(a)
    with np.errstate(invalid="ignore"):
        front = (x.take(b) - ax) * (y.take(c) - ay) - (y.take(b) - ay) * (x.take(c) - ax) < 0
    ahead = vertices_cam[:, 2] > NEAR_M
    return front if ahead.all() else front & ahead.take(a) & ahead.take(b) & ahead.take(c)


def _fill(start_px: np.ndarray, end_px: np.ndarray, width: int, height: int) -> np.ndarray:
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
    steps = np.bincount(cells, np.where(down, 1.0, -1.0)[edge], (y1 - y0) * (x1 - x0))
    layers = np.cumsum(steps.reshape(y1 - y0, x1 - x0).astype(np.int16), axis=1, dtype=np.int16)
    mask[y0:y1, x0 : min(x1, width)] = (layers != 0)[:, : width - x0]
    return mask


def _covered(triangles_px: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels have their centre in which of (N, 3, 2) triangles that run anticlockwise as one sees them.

    (P,) pixel numbers, row by row, and (P,) triangles, ascending; a pixel for each triangle that covers it.
    """
    start = np.moveaxis(triangles_px, 1, 0)  # (3, N, 2)
    end = np.roll(start, -1, axis=0)
    rows = np.ceil(np.stack([start[..., 1].min(0), start[..., 1].max(0)]) - 0.5).clip(0, height).astype(np.int64)
    count = rows[1] - rows[0]
    whose = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(whose)) - np.repeat(np.cumsum(count) - count, count) + rows[0][whose]
    # Along a row, edges that go down bound the triangle from the left, and those that go up from the right.
    first, last = np.full(len(row), -np.inf), np.full(len(row), np.inf)
    for (ax, ay), (bx, by) in zip(start.swapaxes(1, 2), end.swapaxes(1, 2), strict=True):
        rise = by - ay
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (bx - ax) / rise
        x = ax[whose] + (row + 0.5 - ay[whose]) * slope[whose]
        np.maximum(first, x, out=first, where=rise[whose] > 0)
        np.minimum(last, x, out=last, where=rise[whose] < 0)
    left, right = (np.ceil(np.nan_to_num(x) - 0.5).clip(0, width).astype(np.int64) for x in (first, last))
    wide = np.maximum(right - left, 0)
    starts = row * width + left
    pixels = np.arange(wide.sum()) + np.repeat(starts - (np.cumsum(wide) - wide), wide)
    return pixels, np.repeat(whose, wide)


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
