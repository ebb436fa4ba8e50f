# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a result: through the camera, beside the footage, with the footage more or less visible."""

from __future__ import annotations

import bpy

from . import editors


class RECOVER_BODY_OT_look_through(bpy.types.Operator):
    """Look through the scene's camera in the 3D views, or out of it again"""

    bl_idname = "recover_body.look_through"
    bl_label = "Look Through Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context) -> bool:
        if context.scene.camera is None:
            cls.poll_message_set("The scene has no camera")
            return False
        return True

    def execute(self, context):
        views = [area.spaces.active.region_3d for area in context.screen.areas if area.type == "VIEW_3D"]
        through = not all(view.view_perspective == "CAMERA" for view in views)
        for view in views:
            view.view_perspective = "CAMERA" if through else "PERSP"
        return {"FINISHED"}


class RECOVER_BODY_OT_side_by_side(bpy.types.Operator):
    """Show the footage in an editor of its own beside the 3D view; press again to close it"""

    bl_idname = "recover_body.side_by_side"
    bl_label = "Side by Side"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context) -> bool:
        if context.area is None or context.area.type != "VIEW_3D":
            cls.poll_message_set("Press this in a 3D view")
            return False
        if footage_of(context.scene.camera) is None:
            cls.poll_message_set("The scene's camera has no footage behind it")
            return False
        return True

    def execute(self, context):
        footage, screen = footage_of(context.scene.camera), context.screen
        kind, name = ("CLIP_EDITOR", "clip") if isinstance(footage, bpy.types.MovieClip) else ("IMAGE_EDITOR", "image")
        for area in screen.areas:
            if area.type == kind and getattr(area.spaces.active, name) == footage:
                with context.temp_override(area=area, region=area.regions[-1]):
                    bpy.ops.screen.area_close()
                return {"FINISHED"}
        before = set(screen.areas)
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
        made = next((area for area in screen.areas if area not in before), None)
        if made is None:
            self.report({"ERROR"}, "There is no room for another editor.")
            return {"CANCELLED"}
        made.type = kind
        setattr(made.spaces.active, name, footage)
        if kind == "IMAGE_EDITOR" and footage.source in ("MOVIE", "SEQUENCE"):
            _play_alike(made.spaces.active.image_user, context.scene.camera.data.background_images[0].image_user)
        editors.look_through_camera(screen)
        return {"FINISHED"}


def footage_of(camera: bpy.types.Object | None) -> bpy.types.Image | bpy.types.MovieClip | None:
    """What lies behind a camera; None where there is nothing."""
    if camera is None or camera.type != "CAMERA":
        return None
    behind = next(iter(camera.data.background_images), None)
    return None if behind is None else behind.clip if behind.source == "MOVIE_CLIP" else behind.image


def _play_alike(user: bpy.types.ImageUser, like: bpy.types.ImageUser) -> None:
    for name in ("frame_start", "frame_duration", "frame_offset"):
        setattr(user, name, getattr(like, name))
    user.use_auto_refresh = True


CLASSES = (RECOVER_BODY_OT_look_through, RECOVER_BODY_OT_side_by_side)
