# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: how the engine is started."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, StringProperty

from .engine_command import engine_command
from .errors import EngineNotFound

ADDON = __package__.rpartition(".")[0]
"""The package's full name, which Blender chooses: bl_ext.<repository>.recover_body."""


class RECOVER_BODY_preferences(bpy.types.AddonPreferences):
    bl_idname = ADDON

    engine: StringProperty(
        name="Engine",
        description=(
            "The Python of the engine's environment, or a whole command such as: ssh gpu-box recover-body serve. "
            "Empty: the environment that lies beside the add-on"
        ),
    )
    send_pictures: BoolProperty(
        name="Engine on Another Machine",
        description="Send the picture itself with the request, because the engine cannot read files of this machine",
    )

    def draw(self, _context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "engine")
        layout.prop(self, "send_pictures")
        try:
            layout.label(text="Starts: " + " ".join(engine_command(self.engine)), icon="CHECKMARK")
        except EngineNotFound as error:
            layout.label(text=error.sentence, icon="ERROR")
            layout.label(text=error.remedy)


def told_engine() -> str:
    """What the preferences say about the engine; "" also when the add-on is used as a plain package."""
    addon = bpy.context.preferences.addons.get(ADDON)
    return addon.preferences.engine if addon else ""


def sends_pictures() -> bool:
    """Whether pictures travel with the request."""
    addon = bpy.context.preferences.addons.get(ADDON)
    return addon.preferences.send_pictures if addon else False


CLASSES = (RECOVER_BODY_preferences,)
