# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons. Each says what is wanted and leaves the doing to plain functions."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from . import jobs, properties
from .errors import AddonError, SourceError
from .sources import Picture, picture_from_file, picture_from_image


def chosen_picture(context: bpy.types.Context, filepath: str = "", image: str = "") -> Picture:
    """What to recover from: the file or image named, else the Image Editor's image, else the panel's file.

    Raises SourceError when there is none.
    """
    if filepath:
        return picture_from_file(filepath)
    if image:
        if image not in bpy.data.images:
            raise SourceError(f"There is no image called {image}.")
        return picture_from_image(bpy.data.images[image])
    space = context.space_data
    if space is not None and space.type == "IMAGE_EDITOR" and space.image is not None:
        return picture_from_image(space.image)
    if path := getattr(context.scene, properties.PROPERTY).filepath:
        return picture_from_file(path)
    raise SourceError("No picture is chosen.")


class RECOVER_BODY_OT_recover(bpy.types.Operator):
    """Find the people in the picture and draw each as a rigged character, seen through the recovered camera"""

    bl_idname = "recover_body.recover"
    bl_label = "Recover Body"
    bl_options = {"REGISTER"}  # the undo step is made when the character arrives

    filepath: StringProperty(name="Picture", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    image: StringProperty(name="Image", description="Name of an image", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, _context) -> bool:
        if jobs.is_running():
            cls.poll_message_set("A recovery is under way")
            return False
        return True

    def execute(self, context):
        settings = getattr(context.scene, properties.PROPERTY)
        try:
            picture = chosen_picture(context, self.filepath, self.image)
            job = jobs.start(picture, context.scene, **settings.request_fields())
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        if not bpy.app.background:
            return {"FINISHED"}
        jobs.wait(job)
        for note in job.notes:
            self.report({"WARNING"}, note)
        if job.failure:
            self.report({"ERROR"}, f"{job.failure.sentence} {job.failure.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


class RECOVER_BODY_OT_cancel(bpy.types.Operator):
    """Stop the recovery that is under way; nothing in the file is changed"""

    bl_idname = "recover_body.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context) -> bool:
        return jobs.is_running()

    def execute(self, _context):
        jobs.cancel()
        return {"FINISHED"}


CLASSES = (RECOVER_BODY_OT_recover, RECOVER_BODY_OT_cancel)
