# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the focal length comes from, best source first: given, EXIF, estimated from the body, assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ..wire.frames import FULL_FRAME_MM
from ..wire.messages import CameraHint
from ..wire.take import CameraTrack

ASSUMED_DIAGONAL_FOV_RAD = 2 * math.atan(21.63 / 35)
"""Of 35 mm on full frame, 63 degrees: between a telephone's main lens (24 to 26 mm) and a portrait lens (50 mm)."""
ASSUMED_SIGMA = 0.7
"""Spread of ln(focal) over everyday pictures about that value: a telephone's widest lens lies half below, 70 mm twice
above."""
EXIF_SIGMA = 0.05
"""EXIF rounds the focal length, and cropping or stabilisation goes unrecorded."""


CAMERA_ARRAYS = ("fx_px", "fy_px", "cx_px", "cy_px", "T_world_camera")
"""Fields of a `CameraTrack` with a row for each frame."""


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera without a place. Pixels count from the top left corner of the full image."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    width: int
    height: int
    source: str
    """given, exif, estimated or assumed."""
    fx_sigma: float
    """One standard deviation of ln(fx_px)."""
    evidence: str = "perspective"
    """What told the focal length, where it is estimated."""

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) intrinsics, float64."""
        return np.array([[self.fx_px, 0, self.cx_px], [0, self.fy_px, self.cy_px], [0, 0, 1]])

    def intrinsics(self, frame: int = 0) -> np.ndarray:
        """The same matrix for every frame, as `CameraTrack` has it."""
        return self.matrix

    @property
    def is_known(self) -> bool:
        """True when the focal length was told rather than guessed, and must not be changed by a fit."""
        return self.source in ("given", "exif")

    def rows(self, frames: np.ndarray | slice) -> Pinhole:
        """The camera in some frames: the same for one that does not change."""
        return self

    def focals_px(self, count: int) -> np.ndarray:
        """(T,) focal lengths of `count` frames."""
        return np.full(count, self.fx_px)

    def centres_px(self, count: int) -> np.ndarray:
        """(T, 2) principal points of `count` frames."""
        return np.tile([self.cx_px, self.cy_px], (count, 1))

    def places(self, count: int) -> np.ndarray | None:
        """(T, 4, 4) T_world_camera of `count` frames; None where the camera is taken to stand still."""
        return None


@dataclass(frozen=True)
class FilmedCamera(Pinhole):
    """A camera that was given frame by frame; the fields of `Pinhole` are the medians over its frames."""

    track: CameraTrack = field(kw_only=True)
    """Its T frames, or one for all of them."""

    @classmethod
    def of(cls, track: CameraTrack) -> FilmedCamera:
        """With square pixels."""
        fx, cx, cy = (float(np.median(values)) for values in (track.fx_px, track.cx_px, track.cy_px))
        return cls(fx, fx, cx, cy, track.width, track.height, track.source, track.fx_sigma, track=track)

    def intrinsics(self, frame: int = 0) -> np.ndarray:
        """(3, 3) of one frame."""
        return self.track.intrinsics(frame)

    def rows(self, frames: np.ndarray | slice) -> FilmedCamera:
        """The camera in some frames."""
        if self.track.is_static:
            return self
        arrays = {name: getattr(self.track, name)[frames] for name in CAMERA_ARRAYS}
        return FilmedCamera.of(replace(self.track, **arrays))

    def focals_px(self, count: int) -> np.ndarray:
        """(T,)."""
        return np.array(np.broadcast_to(self.track.fx_px, count))

    def centres_px(self, count: int) -> np.ndarray:
        """(T, 2)."""
        return np.array(np.broadcast_to(np.stack([self.track.cx_px, self.track.cy_px], 1), (count, 2)))

    def places(self, count: int) -> np.ndarray | None:
        """(T, 4, 4)."""
        return None if self.track.is_static else self.track.T_world_camera


def assumed_focal_px(width, height):
    """Of pictures of which nothing is known; numbers or arrays."""
    return np.hypot(width, height) / (2 * math.tan(ASSUMED_DIAGONAL_FOV_RAD / 2))


def initial_camera(width: int, height: int, hint: CameraHint, exif_focal_36mm: float | None) -> Pinhole:
    """The best that is known before anybody has been found.

    `exif_focal_36mm` is the focal length in millimetres for a picture whose longer side is 36 mm wide, or None.
    """
    longer = max(width, height)
    if hint.fx_px is not None:
        focal_px, source, sigma = hint.fx_px, "given", 0.0
    elif hint.focal_mm is not None:
        focal_px, source, sigma = hint.focal_mm / hint.sensor_mm * longer, "given", 0.0
    elif exif_focal_36mm is not None and hint.use_exif:
        focal_px, source, sigma = exif_focal_36mm / FULL_FRAME_MM * longer, "exif", EXIF_SIGMA
    else:
        focal_px = assumed_focal_px(width, height)
        source, sigma = "assumed", ASSUMED_SIGMA
    cx_px = width / 2 if hint.cx_px is None else hint.cx_px
    cy_px = height / 2 if hint.cy_px is None else hint.cy_px
    return Pinhole(float(focal_px), float(focal_px), float(cx_px), float(cy_px), width, height, source, sigma)
