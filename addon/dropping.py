# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and movies that are dropped on an editor whose sidebar shows our tab."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from .properties import settings_of

CATEGORY = "Recover Body"
"""Name of the sidebar's tab."""


class RECOVER_BODY_OT_take_footage(bpy.types.Operator):
    """Take the picture or movie as what to recover from"""

    bl_idname = "recover_body.take_footage"
    bl_label = "Recover Body From This"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})

    def execute(self, context):
        settings_of(context.scene).filepath = self.filepath
        space = context.space_data
        if space is not None and space.type == "IMAGE_EDITOR":
            space.image = bpy.data.images.load(self.filepath, check_existing=True)
        elif space is not None and space.type == "CLIP_EDITOR":
            space.clip = bpy.data.movieclips.load(self.filepath, check_existing=True)
        return {"FINISHED"}


class RECOVER_BODY_FH_footage(bpy.types.FileHandler):
    bl_idname = "RECOVER_BODY_FH_footage"
    bl_label = "Recover Body"
    bl_import_operator = RECOVER_BODY_OT_take_footage.bl_idname
    bl_file_extensions = ";".join(sorted(bpy.path.extensions_image | bpy.path.extensions_movie))

    @classmethod
    def poll_drop(cls, context) -> bool:
        """Elsewhere Blender's own ways with dropped pictures stay as they are."""
        area = context.area
        return area is not None and any(
            region.type == "UI" and region.width > 1 and getattr(region, "active_panel_category", "") == CATEGORY
            for region in area.regions
        )


CLASSES = (RECOVER_BODY_OT_take_footage, RECOVER_BODY_FH_footage)
