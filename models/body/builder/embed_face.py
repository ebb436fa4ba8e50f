# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds MediaPipe's 478 face points on the neutral head: `python -m recover_body.models.body.builder.embed_face`.

Needs mediapipe 0.10.21 and OpenCV, and the bodies built before. The head is drawn from the front without perspective,
MediaPipe's face mesh looks at the picture, and a ray through every point it reports meets the mesh in a triangle. Run
it when the mesh's triangles change; the result is kept in `face_landmarks.npz`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...body_model import BodyModel, load_body

SIDE_PX = 1000
FRAMES_M = (0.35, 0.4, 0.45, 0.5, 0.6)  # widths of the pictures; the mean over several steadies the points
CENTRE_M = np.array([0.0, 0.24])
COLOURS = {"eye_white": (235, 235, 235), "iris": (60, 80, 100), "pupil": (10, 10, 10), "mouth": (60, 60, 130)}
SKIN = (150, 180, 225)  # blue, green, red
LIGHT = np.array([0.4, 0.6, 0.7]) / np.linalg.norm([0.4, 0.6, 0.7])


def main() -> None:
    body = load_body("neutral")
    points = np.mean([points_seen(draw(body, width), width) for width in FRAMES_M], 0)
    # The lips stand a little apart: a ray between them must not end on the tongue.
    inner = [body.material_names.index(name) for name in ("mouth", "tongue")]
    outer_triangles = np.flatnonzero(~np.isin(np.asarray(body.face_materials), inner))
    corners = body.v_template[body.faces[outer_triangles]].astype(np.float64)
    hits = [meet(corners, point) for point in points]
    triangles, barycentric = (np.array(column) for column in zip(*hits, strict=True))
    np.savez_compressed(
        Path(__file__).with_name("face_landmarks.npz"),
        triangles=outer_triangles[triangles].astype(np.uint16),
        barycentric=barycentric.astype(np.float32),
    )
    beside = (barycentric.max(1) == 1).sum()
    print(f"{len(points)} points, {beside} of them beside the mesh and moved to the nearest vertex")


def draw(body: BodyModel, width_m: float) -> np.ndarray:
    """(SIDE_PX, SIDE_PX, 3) the head from the front, flat shaded, farthest triangle first."""
    corners = body.v_template[body.faces]
    normals = _normals(corners)
    shade = 0.25 + 0.6 * np.clip(normals @ LIGHT, 0, 1) + 0.15 * np.clip(normals[:, 2], 0, 1)
    colours = np.array([COLOURS.get(name, SKIN) for name in body.material_names])[body.face_materials] * shade[:, None]
    pixels = (corners[:, :, :2] - CENTRE_M) * [1, -1] * SIDE_PX / width_m + SIDE_PX / 2
    picture = np.full((2 * SIDE_PX, 2 * SIDE_PX, 3), 60, np.uint8)  # twice the size, for smooth edges
    sixteenths = np.round(pixels * 2 * 16).astype(np.int32)
    for triangle in np.argsort(corners[:, :, 2].mean(1), kind="stable"):
        if normals[triangle, 2] > 0:
            cv2.fillConvexPoly(picture, sixteenths[triangle], colours[triangle].tolist(), cv2.LINE_8, 4)
    return cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def points_seen(picture: np.ndarray, width_m: float) -> np.ndarray:
    """(478, 2) metres in the body's x and y."""
    import mediapipe

    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as face_mesh:
        found = face_mesh.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).multi_face_landmarks
    if not found:
        raise RuntimeError(f"MediaPipe sees no face in the picture {width_m} m wide.")
    fractions = np.array([[point.x, point.y] for point in found[0].landmark])
    return (fractions - 0.5) * [1, -1] * width_m + CENTRE_M


def meet(corners: np.ndarray, point: np.ndarray) -> tuple[int, np.ndarray]:
    """The foremost triangle of (F, 3, 3) on the line through (x, y) along z, and where in it; or the nearest corner."""
    a, b, c = corners[:, :, :2].transpose(1, 0, 2)
    area = _cross(b - a, c - a)
    weights = np.stack([_cross(c - b, point - b), _cross(a - c, point - c), _cross(b - a, point - a)], 1)
    weights = weights / np.where(area > 1e-12, area, np.inf)[:, None]  # triangles seen from behind get no hit
    depth = np.where((weights >= 0).all(1) & (weights.sum(1) > 0.5), (weights * corners[:, :, 2]).sum(1), -np.inf)
    triangle = int(depth.argmax())
    if np.isfinite(depth[triangle]):
        return triangle, weights[triangle]
    distance = np.linalg.norm(corners[:, :, :2] - point, axis=2) + np.where(area > 1e-12, 0, np.inf)[:, None]
    triangle, corner = np.unravel_index(distance.argmin(), distance.shape)
    return int(triangle), np.eye(3)[corner]


def _normals(corners: np.ndarray) -> np.ndarray:
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


if __name__ == "__main__":
    main()
