# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person chooses before pressing the button. Kept with the scene."""

from __future__ import annotations

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..wire.messages import CameraHint, ChosenPerson
from . import editors, jobs, tasks
from .errors import AddonError
from .lens_fields import LensFields

PROPERTY = "recover_body"
"""`scene.recover_body` holds the settings."""
BODIES = ("neutral", "female", "male")
"""The bodies that every engine has."""


class NobodyChosen(AddonError):
    """The list of people is empty, or nobody in it is ticked."""

    remedy = "Press Find People and tick somebody, or recover everybody."
    exit_code = 2


def _backends(_self, _context, _text: str) -> list[str]:
    """What the running engine offers; before it has said so, what is sure to be there."""
    hello = jobs.engine_hello()
    return ["auto", *(b.name for b in hello.backends if b.ready)] if hello else ["auto", "landmarks"]


def _bodies(_self, _context, _text: str) -> list[str]:
    """What the running engine can recover, or what it told the preferences; else what is sure to be there."""
    from .models_panel import BACKENDS  # here, because it shows what draws on this module

    if hello := jobs.engine_hello():
        return list(hello.bodies)
    asked = tasks.of(BACKENDS)
    told = [answer["bodies"] for answer in asked.answers if "bodies" in answer] if asked else []
    return told[-1] if told else list(BODIES)


def _redraw(_self, _context) -> None:
    editors.redraw_pictures()


class RECOVER_BODY_PG_person(bpy.types.PropertyGroup):
    """Somebody who was found in a source."""

    name: StringProperty(name="Name", description="What this person is called, also in the outliner", update=_redraw)
    use: BoolProperty(name="Recover", description="Whether this person is recovered", default=True, update=_redraw)
    source: StringProperty(description="Where the person was found")
    frame: IntProperty(description="In which frame of it", default=1)
    box_px: FloatVectorProperty(description="Left, top, right, bottom in pixels", size=4)
    width: IntProperty(description="Of the picture the box belongs to, pixels")
    height: IntProperty(description="Of the picture the box belongs to, pixels")


class RECOVER_BODY_PG_settings(LensFields, bpy.types.PropertyGroup):
    """Settings of the next recovery."""

    filepath: StringProperty(
        name="Picture",
        description="Photo, movie or folder of numbered pictures to recover people from",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    frames: EnumProperty(
        name="Frames",
        items=[
            ("ALL", "Whole Clip", "Every frame that is shown"),
            ("SCENE", "Scene Range", "The frames of the scene's range, or of its preview range"),
            ("CURRENT", "This Frame", "Only the frame that is shown now, as a still"),
        ],
    )
    frame_step: IntProperty(
        name="Every", description="1 recovers every frame, 2 every other", default=1, min=1, soft_max=10
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
            ("CHOSEN", "Chosen", "Those who are ticked in the list below"),
        ],
        update=_redraw,
    )
    people_count: IntProperty(name="Count", description="How many people at most", default=2, min=1, max=100)
    found: CollectionProperty(type=RECOVER_BODY_PG_person)
    active_person: IntProperty(name="Person", update=_redraw)
    body: StringProperty(
        name="Body",
        description="Which body carries the shape: neutral, female, male, or an SMPL-X of your own that was imported",
        default=BODIES[0],
        search=_bodies,
        search_options={"SUGGESTION"},
    )
    focal: EnumProperty(
        name="Focal Length",
        items=[
            ("AUTO", "From Picture", "From the file's EXIF data, else estimated"),
            ("ESTIMATE", "Estimate", "From the bodies, whatever EXIF data says"),
            ("MM", "Millimetres", "The lens's focal length, and the sensor's length along the picture's longer side"),
            ("PX", "Pixels", "Focal length in pixels of the full picture"),
            ("SCENE", "Scene's Camera", "The scene's active camera, as it is placed, aimed and animated, filmed this"),
            ("CLIP", "Solved Clip", "The camera that Blender's tracker solved for the clip"),
        ],
    )
    lock_lens: BoolProperty(
        name="Lock Lens",
        description="Take the given camera's focal length in the middle of the shot for all of it, though it may zoom",
    )
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

    def request_fields(self, source: str = "") -> dict:
        """The settings as fields of a `RecoverRequest` for the source of that path. Raises NobodyChosen."""
        people = {"LARGEST": "largest", "COUNT": str(self.people_count)}.get(self.people, "all")
        chosen = self.chosen(source) if self.people == "CHOSEN" else ()
        if self.people == "CHOSEN" and not chosen:
            raise NobodyChosen("Nobody is chosen in this picture.")
        camera = CameraHint(use_exif=False) if self.focal == "ESTIMATE" else self.typed_lens()
        return dict(
            backend=self.backend or "auto",
            people=people,
            chosen=chosen,
            camera=camera,
            height_m=self.height_m if self.use_height else None,
            body=self.body.strip() or BODIES[0],
        )

    def chosen(self, source: str) -> tuple[ChosenPerson, ...]:
        """Who is ticked in the list, of those found in that source."""
        return tuple(
            ChosenPerson(tuple(person.box_px), person.frame, person.name)
            for person in self.found
            if person.use and person.source == source
        )


CLASSES = (RECOVER_BODY_PG_person, RECOVER_BODY_PG_settings)


def settings_of(scene: bpy.types.Scene) -> RECOVER_BODY_PG_settings:
    """The settings of a scene."""
    return getattr(scene, PROPERTY)


def register() -> None:
    setattr(bpy.types.Scene, PROPERTY, PointerProperty(type=RECOVER_BODY_PG_settings))


def unregister() -> None:
    delattr(bpy.types.Scene, PROPERTY)
