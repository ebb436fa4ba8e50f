# SPDX-License-Identifier: GPL-3.0-or-later
"""Silhouettes are exact: they agree with asking every pixel whether a triangle covers its centre."""

import numpy as np
import pytest

from recover_body.engine import raster
from recover_body.models.body_model import load_body

WIDTH, HEIGHT = 80, 60
INTRINSICS = np.array([[70.0, 0, 41.3], [0, 75.0, 28.6], [0, 0, 1]])


def sphere(centre=(0.0, 0.0, 3.0), radius=1.0, rings=12, sectors=24):
    """Vertices and faces, counter-clockwise from outside."""
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.arange(sectors) / sectors * 2 * np.pi
    around = np.stack(
        [np.outer(np.sin(theta), np.cos(phi)), np.outer(np.cos(theta), np.ones(sectors)),
         np.outer(np.sin(theta), np.sin(phi))], -1
    ).reshape(-1, 3)  # fmt: skip
    vertices = np.concatenate([around, [[0, 1, 0], [0, -1, 0]]]) * radius + centre
    grid = np.arange(len(around)).reshape(rings - 1, sectors)
    right = np.roll(grid, -1, 1)
    a, b, c, d = grid[:-1], right[:-1], right[1:], grid[1:]
    quads = [np.stack([a, b, c], -1), np.stack([a, c, d], -1)]
    north, south = len(around), len(around) + 1
    caps = [np.stack([np.full(sectors, north), right[0], grid[0]], -1),
            np.stack([np.full(sectors, south), grid[-1], right[-1]], -1)]  # fmt: skip
    faces = np.concatenate([f.reshape(-1, 3) for f in quads + caps])
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inwards = np.einsum("ij,ij->i", normals, corners.mean(1) - centre) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return vertices, faces


def asked_pixel_by_pixel(vertices, faces, intrinsics=INTRINSICS, width=WIDTH, height=HEIGHT):
    points = vertices[:, :2] / vertices[:, 2:] * [intrinsics[0, 0], intrinsics[1, 1]] + intrinsics[:2, 2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    covered = np.zeros((height, width), bool)
    for triangle in points[faces]:
        sides = [
            (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
            for a, b in zip(triangle, np.roll(triangle, -1, 0), strict=True)
        ]
        covered |= np.all([s >= 0 for s in sides], 0) | np.all([s <= 0 for s in sides], 0)
    return covered


@pytest.mark.parametrize("centre", [(0, 0, 3), (0.61, -0.3, 2.5), (-1.4, 0.9, 3), (2.5, 0, 3), (0, 0, 1.05)])
def test_silhouette_is_exact(centre):
    vertices, faces = sphere(centre)
    mask = raster.silhouette(vertices, faces, INTRINSICS, WIDTH, HEIGHT)
    assert np.array_equal(mask, asked_pixel_by_pixel(vertices, faces))


def test_layers_do_not_cancel():
    """Three spheres one behind the other, and one apart."""
    parts = [sphere((0, 0, 3)), sphere((0.3, 0.1, 5), 1.2), sphere((0.2, 0, 8), 3), sphere((-1.2, 0, 3), 0.2)]
    starts = np.cumsum([0] + [len(v) for v, _ in parts])
    vertices = np.concatenate([v for v, _ in parts])
    faces = np.concatenate([f + start for (_, f), start in zip(parts, starts, strict=False)])
    mask = raster.silhouette(vertices, faces, INTRINSICS, WIDTH, HEIGHT)
    assert np.array_equal(mask, asked_pixel_by_pixel(vertices, faces))


def test_pixels_count_from_the_corner():
    """A square from pixel (10, 20) to (30, 40) covers exactly those 20 x 20 pixels."""
    corners = np.array([[10, 20], [30, 20], [30, 40], [10, 40]])
    vertices = np.column_stack([(corners - INTRINSICS[:2, 2]) / [70, 75], np.ones(4)])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    mask = raster.silhouette(vertices, faces, INTRINSICS, WIDTH, HEIGHT)
    ys, xs = np.nonzero(mask)
    assert (xs.min(), xs.max(), ys.min(), ys.max(), mask.sum()) == (10, 29, 20, 39, 400)
    painted = raster.shade(vertices, faces, INTRINSICS, WIDTH, HEIGHT)[..., 3] > 0
    ys, xs = np.nonzero(painted)  # OpenCV also paints pixels that an edge merely touches
    assert np.abs(np.array([xs.mean(), ys.mean()]) + 0.5 - [20, 30]).max() <= 0.5


def test_nothing_is_drawn_of_what_is_behind_beside_or_absent():
    vertices, faces = sphere((0, 0, -3))
    assert not raster.silhouette(vertices, faces, INTRINSICS, WIDTH, HEIGHT).any()
    vertices, faces = sphere((0, 50, 3))
    assert not raster.silhouette(vertices, faces, INTRINSICS, WIDTH, HEIGHT).any()
    assert not raster.silhouette(vertices, faces[:0], INTRINSICS, WIDTH, HEIGHT).any()
    assert not raster.shade(vertices, faces[:0], INTRINSICS, WIDTH, HEIGHT).any()


def test_a_sphere_about_the_camera_does_no_harm():
    vertices, faces = sphere((0, 0, 0.5))
    raster.silhouette(vertices, faces, INTRINSICS, WIDTH, HEIGHT)
    raster.shade(vertices, faces, INTRINSICS, WIDTH, HEIGHT)


def test_shaded_picture_covers_the_silhouette_and_shows_the_nearest():
    near, faces = sphere((0, 0, 3), 0.4)
    far, _ = sphere((0, 0, 6), 2.0)
    vertices, both = np.concatenate([far, near]), np.concatenate([faces, faces + len(far)])
    materials = np.repeat([0, 1], len(faces))
    look = raster.Look(colours=((255, 0, 0), (0, 255, 0)), rim=0)
    picture = raster.shade(vertices, both, INTRINSICS, WIDTH, HEIGHT, materials, look)
    mask = raster.silhouette(vertices, both, INTRINSICS, WIDTH, HEIGHT)
    assert (picture[..., 3] > 0)[mask].mean() > 0.99
    assert picture[28, 41, 1] > 0 and picture[28, 41, 0] == 0


def test_normals_of_a_sphere_point_outwards():
    vertices, faces = sphere((0, 0, 3), rings=24, sectors=48)
    normals = raster.vertex_normals(vertices, faces)
    assert np.einsum("ij,ij->i", normals, vertices - (0, 0, 3)).min() > 0.99


def test_the_body_from_front_and_back_has_the_mirrored_outline():
    body = load_body("neutral")
    pose = np.zeros((2, 55, 3))
    pose[0, 0, 0] = np.pi
    intrinsics = np.array([[300.0, 0, 100], [0, 300.0, 150], [0, 0, 1]])
    rest = body.forward(pose[:1], np.zeros((1, 10))).vertices[0]
    rest = rest - rest.mean(0) + [0, 0, 3.5]
    mask = raster.silhouette(rest, body.faces, intrinsics, 200, 300)
    mirrored = raster.silhouette(rest * [-1, 1, 1], body.faces[:, ::-1], intrinsics, 200, 300)
    assert mask.sum() > 3000
    assert (mask & mirrored[:, ::-1]).sum() / (mask | mirrored[:, ::-1]).sum() > 0.995
