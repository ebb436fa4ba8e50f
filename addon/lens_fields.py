# SPDX-License-Identifier: GPL-3.0-or-later
"""A lens that somebody types: the same fields before a recovery and when it is done again."""

from __future__ import annotations

from bpy.props import FloatProperty

from ..wire.messages import CameraHint


class LensFields:
    """Mixed into property groups that have a choice `focal`, with MM and PX among it."""

    focal_mm: FloatProperty(
        name="Focal Length",
        description="Of the lens, as is written on it",
        default=35.0,
        min=1.0,
        max=2000.0,
        subtype="DISTANCE_CAMERA",
    )
    sensor_mm: FloatProperty(
        name="Sensor",
        description="Length of the sensor along the picture's longer side; 36 mm is full frame",
        default=36.0,
        min=1.0,
        max=200.0,
        subtype="DISTANCE_CAMERA",
    )
    focal_px: FloatProperty(
        name="Pixels", description="Focal length in pixels of the full picture", default=1000.0, min=1.0, max=1e6
    )

    def typed_lens(self) -> CameraHint:
        """What was typed; nothing is known of the lens where something else was chosen."""
        if self.focal == "MM":
            return CameraHint(focal_mm=self.focal_mm, sensor_mm=self.sensor_mm)
        return CameraHint(fx_px=self.focal_px) if self.focal == "PX" else CameraHint()
