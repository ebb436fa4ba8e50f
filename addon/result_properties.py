# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist wants changed about a recovery that is drawn. Kept with its collection."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, PointerProperty

from ..wire.motion import MotionOptions
from ..wire.take import Take
from .lens_fields import LensFields

DONE = "recover_body_done"
"""Custom property of a recovery's collection: gaps filled, ground found, feet locked, seconds of smoothing (or
`_AUTOMATIC`), focal length and the picture's longer side in pixels."""
_AUTOMATIC = -1.0
PROPERTY = "recover_body"
"""`collection.recover_body` holds the settings."""


class RECOVER_BODY_PG_result(LensFields, bpy.types.PropertyGroup):
    """What the next re-run does differently."""

    fill_gaps: BoolProperty(
        name="Fill Gaps", description="Move evenly where somebody was not seen for a moment", default=True
    )
    smoothing: EnumProperty(
        name="Smoothing",
        items=[
            ("AUTO", "Automatic", "Slow motion is smoothed more than quick motion"),
            ("SECONDS", "Seconds", "Over a time you choose"),
            ("OFF", "Off", "As it was seen"),
        ],
    )
    smoothing_s: FloatProperty(
        name="Over",
        description="Time over which slow motion is smoothed",
        default=0.1,
        min=0.01,
        max=2.0,
        subtype="TIME_ABSOLUTE",
        unit="TIME_ABSOLUTE",
    )
    ground: BoolProperty(
        name="Find Ground", description="Lay one ground plane under everybody, from what touches it", default=True
    )
    foot_lock: BoolProperty(
        name="Lock Feet", description="Keep heels and toes in place while they touch the ground", default=True
    )
    focal: EnumProperty(
        name="Focal Length",
        items=[
            ("KEEP", "As It Is", "The camera's lens stays"),
            ("MM", "Millimetres", "Another focal length, and the sensor's length along the picture's longer side"),
            ("PX", "Pixels", "Another focal length, in pixels of the full picture"),
        ],
    )
    everybody: BoolProperty(name="Bring All Back", description="Also draw people of the take whose rigs were deleted")
    is_remembered: BoolProperty(options={"HIDDEN"})
    """Whether the settings say what was done to what is drawn."""

    def motion(self) -> MotionOptions:
        """The settings as a request has them."""
        smoothing_s = {"AUTO": None, "OFF": 0.0, "SECONDS": self.smoothing_s}[self.smoothing]
        return MotionOptions(self.fill_gaps, smoothing_s, self.ground, self.foot_lock)


def note_facts(collection: bpy.types.Collection, take: Take) -> None:
    """Leave on a recovery's collection what was done to its motion, and its lens: also where no add-on is enabled."""
    motion, lens = take.motion, take.camera
    smoothing_s = _AUTOMATIC if motion.smoothing_s is None else motion.smoothing_s
    switches = [float(flag) for flag in (motion.fill_gaps, motion.ground, motion.foot_lock)]
    collection[DONE] = [*switches, smoothing_s, float(lens.fx_px[0]), float(max(lens.width, lens.height))]


def remember(collection: bpy.types.Collection) -> None:
    """Let the settings say what was done; nothing happens where the add-on is not enabled."""
    settings = getattr(collection, PROPERTY, None)
    if settings is None or DONE not in collection:
        return
    fill_gaps, ground, foot_lock, smoothing_s, focal_px, longer_side_px = collection[DONE]
    settings.fill_gaps, settings.ground, settings.foot_lock = bool(fill_gaps), bool(ground), bool(foot_lock)
    if smoothing_s == _AUTOMATIC:
        settings.smoothing = "AUTO"
    elif smoothing_s == 0:
        settings.smoothing = "OFF"
    else:
        settings.smoothing, settings.smoothing_s = "SECONDS", smoothing_s
    settings.focal, settings.everybody, settings.is_remembered = "KEEP", False, True
    settings.focal_px = focal_px
    settings.focal_mm = focal_px / longer_side_px * settings.sensor_mm


@bpy.app.handlers.persistent
def after_loading(*_) -> None:
    """A file that was drawn where the add-on was not enabled, on a farm for instance."""
    for collection in bpy.data.collections:
        settings = getattr(collection, PROPERTY, None)
        if settings is not None and DONE in collection and not settings.is_remembered and collection.library is None:
            remember(collection)


CLASSES = (RECOVER_BODY_PG_result,)


def register() -> None:
    setattr(bpy.types.Collection, PROPERTY, PointerProperty(type=RECOVER_BODY_PG_result))


def unregister() -> None:
    delattr(bpy.types.Collection, PROPERTY)
