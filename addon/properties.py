# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person chooses before pressing the button. Kept with the scene."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..wire.messages import CameraHint
from . import jobs

PROPERTY = "recover_body"
"""`scene.recover_body` holds the settings."""


def _backends(_self, _context, _text: str) -> list[str]:
    """What the running engine offers; before it has said so, what is sure to be there."""
    hello = jobs.engine_hello()
    return ["auto", *(b.name for b in hello.backends if b.ready)] if hello else ["auto", "landmarks"]


class RECOVER_BODY_PG_settings(bpy.types.PropertyGroup):
    """Settings of the next recovery."""

    filepath: StringProperty(
        name="Picture", description="Photo to recover people from", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    backend: StringProperty(
        name="Backend",
        description="Which recoverer to use; auto takes the best one that is ready",
        default="auto",
        search=_backends,
        search_options={"SUGGESTION"},
    )
    people: EnumProperty(
        name="People",
        items=[
            ("ALL", "Everybody", "Everyone who is found"),
            ("LARGEST", "Largest", "The person who is largest in the picture"),
            ("COUNT", "At Most", "So many at most, largest first"),
        ],
    )
    people_count: IntProperty(name="Count", description="How many people at most", default=2, min=1, max=100)
    body: EnumProperty(
        name="Body",
        description="Which body carries the shape",
        items=[("neutral", "Neutral", ""), ("female", "Female", ""), ("male", "Male", "")],
    )
    focal: EnumProperty(
        name="Focal Length",
        items=[
            ("AUTO", "From Picture", "From the file's EXIF data, else estimated"),
            ("MM", "Millimetres", "The lens's focal length, and the sensor's length along the picture's longer side"),
            ("PX", "Pixels", "Focal length in pixels of the full picture"),
        ],
    )
    focal_mm: FloatProperty(name="Focal Length", default=35.0, min=1.0, max=2000.0, subtype="DISTANCE_CAMERA")
    sensor_mm: FloatProperty(
        name="Sensor",
        description="Length of the sensor along the picture's longer side; 36 mm is full frame",
        default=36.0,
        min=1.0,
        max=200.0,
        subtype="DISTANCE_CAMERA",
    )
    focal_px: FloatProperty(name="Pixels", default=1000.0, min=1.0, max=1e6)
    use_height: BoolProperty(name="Known Height", description="Set the scale of the scene by the largest person")
    height_m: FloatProperty(
        name="Height",
        description="How tall the largest person is",
        default=1.7,
        min=0.3,
        max=3.0,
        subtype="DISTANCE",
        unit="LENGTH",
    )

    def request_fields(self) -> dict:
        """The settings as fields of a `RecoverRequest`."""
        people = {"ALL": "all", "LARGEST": "largest", "COUNT": str(self.people_count)}[self.people]
        camera = {
            "AUTO": CameraHint(),
            "MM": CameraHint(focal_mm=self.focal_mm, sensor_mm=self.sensor_mm),
            "PX": CameraHint(fx_px=self.focal_px),
        }[self.focal]
        return dict(
            backend=self.backend or "auto",
            people=people,
            camera=camera,
            height_m=self.height_m if self.use_height else None,
            body=self.body,
        )


CLASSES = (RECOVER_BODY_PG_settings,)


def register() -> None:
    setattr(bpy.types.Scene, PROPERTY, PointerProperty(type=RECOVER_BODY_PG_settings))


def unregister() -> None:
    delattr(bpy.types.Scene, PROPERTY)
