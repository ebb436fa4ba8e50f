# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a recovered body lies on its picture, in numbers that need no one to look."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..models.body_model import load_body
from ..wire.frames import project
from ..wire.take import CameraTrack
from . import doubts, trust
from .backends.base import BodyTrack
from .blas import one_blas_thread
from .cameras import Pinhole
from .masks import Mask, PackedMask
from .raster import silhouette

_THREADS, _TOGETHER = 2, 16
"""Frames that are posed together: enough to share the work, few enough to stay in the cache."""
_THINNED = 4
"""Every so many vertices tell how large somebody is."""
TRUSTED = 0.5
"""Keypoints with more confidence than this are counted."""


@dataclass(frozen=True)
class Verdict:
    """Per frame; NaN where a frame cannot be judged."""

    overlay_iou: np.ndarray
    """(F,) body's silhouette and person mask: pixels in both / pixels in either, inside the picture."""
    reprojection_px: np.ndarray
    """(F,) median distance between trusted keypoints and where the body has them, pixels."""
    reprojection_percent: np.ndarray
    """(F,) the same in percent of the person's size in the picture, see `size_in_picture`."""
    joint_error_mm: np.ndarray | None
    """(F, 22) what the backend expects, knowing the overlap too; None where it tells nothing."""
    doubts: tuple[str, ...]
    """What the overlap says in words."""


def judge(track: BodyTrack, camera: Pinhole | CameraTrack, body: str) -> Verdict:
    """Compare `track` with what its backend saw. `camera` sees the whole picture, `body` is a name for `load_body`."""
    model = load_body(body)
    frames = len(track.present)
    iou, error_px, error_percent = (np.full(frames, np.nan) for _ in range(3))

    def look(rows: np.ndarray) -> None:
        vertices_cam = model.forward(
            track.pose[rows], track.betas, track.expression[rows], track.translation[rows]
        ).vertices
        for frame, vertices in zip(rows, vertices_cam, strict=True):
            mask, intrinsics = track.masks[frame], camera.intrinsics(frame)
            if mask is not None:
                iou[frame] = _overlap(mask, vertices, model.faces, intrinsics)
            error_px[frame] = reprojection(track.keypoints_px[frame], track.reprojected_px[frame])
            size_px = size_in_picture(project(vertices[::_THINNED], intrinsics), camera.width, camera.height)
            error_percent[frame] = 100 * error_px[frame] / size_px

    seen = np.flatnonzero(track.present & (track.score > 0))  # others were filled in
    with one_blas_thread(), ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(look, np.split(seen, range(_TOGETHER, len(seen), _TOGETHER))))
    expected_mm = track.joint_error_mm
    if expected_mm is not None:
        expected_mm = trust.with_overlap(expected_mm, iou).astype(np.float32)
        expected_mm[~np.isin(np.arange(frames), seen)] = np.nan
    return Verdict(iou, error_px, error_percent, expected_mm, doubts.of_overlap(iou))


def _overlap(mask: Mask, vertices_cam: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray) -> float:
    """Body's silhouette against the mask, as fine as the mask is."""
    if isinstance(mask, PackedMask):
        reduced = np.diag([mask.scale, mask.scale, 1.0]) @ intrinsics
        return mask.overlap(silhouette(vertices_cam, faces, reduced, *mask.reduced_size))
    height, width = mask.shape
    return intersection_over_union(silhouette(vertices_cam, faces, intrinsics, width, height), mask)


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks (H, W) bool; 0 where both are empty."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 0.0


def reprojection(keypoints_px: np.ndarray, reprojected_px: np.ndarray) -> float:
    """Median distance, pixels, of the trusted among (K, 3) keypoints (x, y, confidence) to (K, 2); NaN without any."""
    distances = np.linalg.norm(keypoints_px[:, :2] - reprojected_px, axis=1)
    counted = distances[(keypoints_px[:, 2] > TRUSTED) & np.isfinite(distances)]
    return float(np.median(counted)) if len(counted) else float("nan")


def size_in_picture(points_px: np.ndarray, width: int, height: int) -> float:
    """Longer side, pixels, of the box around the part of the body (V, 2) that lies in the picture; NaN without any.

    Neither the detector's box, which may hold somebody else's arm, nor the stature: someone lying is as large as
    someone standing, and legs outside the picture do not make an error look small.
    """
    inside = points_px[np.isfinite(points_px).all(1)].clip(0, (width, height))
    size = float(np.ptp(inside, axis=0).max()) if len(inside) else 0.0
    return size if size > 0 else float("nan")
