# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of reference and lenses: OpenCV camera <-> Blender camera, body frame <-> Blender world, pixels <-> mm.

Each convention is written once, here. Pixels count from the image's top left corner (a pixel's centre is at .5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

B_BLENDER_BODY = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""(3, 3) turns the body frame (x to the body's left, y up, z front) into Blender's (z up, the body faces -y)."""

FLIP_CV_BLENDER_CAMERA = np.diag([1.0, -1, -1, 1])
"""(4, 4) OpenCV camera (y down, looks along +z) <-> Blender camera (y up, looks along -z); its own inverse."""

FULL_FRAME_MM = 36.0


@dataclass(frozen=True)
class BlenderLens:
    """A pinhole in Blender's words. `shift_*` are both in units of the fitted side, as Blender has them."""

    lens_mm: float
    sensor_fit: str
    """HORIZONTAL when the picture is at least as wide as high, else VERTICAL; never AUTO, which asks render size."""
    sensor_mm: float
    """Length of the fitted side: sensor_width for HORIZONTAL, sensor_height for VERTICAL."""
    shift_x: float
    shift_y: float
    width: int
    height: int
    pixel_aspect_x: float
    pixel_aspect_y: float


def lens_from_intrinsics(
    fx_px: float,
    fy_px: float,
    cx_px: float,
    cy_px: float,
    width: int,
    height: int,
    sensor_mm: float = FULL_FRAME_MM,
) -> BlenderLens:
    """The Blender camera that images exactly as the pinhole does.

    Blender images with one focal length and pixels that may be oblong: an x pixel is `pixel_aspect_x` wide, a y pixel
    `pixel_aspect_y` high, so fy / fx = aspect_x / aspect_y. Blender keeps aspects at or above 1.
    """
    ratio = fy_px / fx_px
    if abs(ratio - 1) < 1e-6:
        ratio = 1.0
    aspect_x, aspect_y = (ratio, 1.0) if ratio >= 1 else (1.0, 1 / ratio)
    horizontal = width >= height
    if horizontal:
        side_px, focal_px = float(width), fx_px
    else:
        side_px, focal_px = float(height), fy_px
    # Both shifts are in lengths of the fitted side, so the other axis needs its pixels turned into that side's.
    to_side_x = 1.0 if horizontal else aspect_x / aspect_y
    to_side_y = aspect_y / aspect_x if horizontal else 1.0
    return BlenderLens(
        lens_mm=focal_px / side_px * sensor_mm,
        sensor_fit="HORIZONTAL" if horizontal else "VERTICAL",
        sensor_mm=sensor_mm,
        shift_x=(width / 2 - cx_px) * to_side_x / side_px,
        shift_y=(cy_px - height / 2) * to_side_y / side_px,
        width=width,
        height=height,
        pixel_aspect_x=aspect_x,
        pixel_aspect_y=aspect_y,
    )


def intrinsics_from_lens(lens: BlenderLens) -> tuple[float, float, float, float]:
    """fx_px, fy_px, cx_px, cy_px of a Blender camera; the inverse of `lens_from_intrinsics`."""
    horizontal = lens.sensor_fit == "HORIZONTAL"
    side_px = float(lens.width if horizontal else lens.height)
    focal_px = lens.lens_mm / lens.sensor_mm * side_px
    ratio = lens.pixel_aspect_x / lens.pixel_aspect_y
    fx_px, fy_px = (focal_px, focal_px * ratio) if horizontal else (focal_px / ratio, focal_px)
    to_side_x = 1.0 if horizontal else ratio
    to_side_y = 1 / ratio if horizontal else 1.0
    cx_px = lens.width / 2 - lens.shift_x * side_px / to_side_x
    cy_px = lens.height / 2 + lens.shift_y * side_px / to_side_y
    return fx_px, fy_px, cx_px, cy_px


def blender_camera_matrix(T_world_camera: np.ndarray) -> np.ndarray:
    """(..., 4, 4) `matrix_world` of the Blender camera for an OpenCV camera pose."""
    return T_world_camera @ FLIP_CV_BLENDER_CAMERA


def project(points_cam: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., 3) camera points -> (..., 2) pixels. Points behind the camera give NaN."""
    x, y, z = np.moveaxis(np.asarray(points_cam, np.float64), -1, 0)  # one by one: ten times quicker than in pairs
    z = np.where(z > 1e-6, z, np.nan)
    fx, fy, cx, cy = (intrinsics[..., row, column] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return np.stack([x / z * fx + cx, y / z * fy + cy], -1)


def rays(points_px: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., 2) pixels -> (..., 3) directions in the camera frame with z = 1."""
    focal = np.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], -1)
    centre = np.stack([intrinsics[..., 0, 2], intrinsics[..., 1, 2]], -1)
    xy = (points_px - centre) / focal
    return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)


def transform(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a (4, 4) rigid transform to (..., 3) points."""
    return points @ T[:3, :3].T + T[:3, 3]
