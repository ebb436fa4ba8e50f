# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons around the work itself. Each says what is wanted and leaves the doing to plain functions."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from . import jobs, preferences, recovering
from .errors import AddonError
from .given_camera import given_camera
from .lens_distortion import warning_about
from .properties import settings_of
from .sources import Source, chosen_source, narrowed
from .translations import tr

GIVEN = ("SCENE", "CLIP")
"""Choices of the focal length that mean a camera Blender knows."""


def request_from(context: bpy.types.Context, filepath: str = "", image: str = "") -> tuple[Source, dict]:
    """What the panel says now: the source, and the fields of its request. Raises AddonError."""
    settings = settings_of(context.scene)
    source = chosen_source(context, filepath, image, settings.filepath)
    source = narrowed(source, settings.frames, settings.frame_step, context.scene)
    fields = settings.request_fields(source.path)
    if settings.focal in GIVEN:
        scene = bpy.data.scenes.get(source.scene_name) or context.scene
        fields["given_camera"] = given_camera(settings.focal, source, scene, settings.lock_lens)
    return source, fields


def notes_about(source: Source, focal: str) -> list[str]:
    """What the artist should know about what was asked for."""
    bending_px = warning_about(bpy.data.movieclips.get(source.clip_name)) if focal == "CLIP" else None
    return [bending_note(bending_px)] if bending_px else []


def bending_note(bending_px: float) -> str:
    """In words, that a solved lens is no pinhole."""
    return tr(
        "The solved lens bends straight lines by up to {px} pixels, and people are fitted as if it did not. "
        "To be exact, undistort the clip in the compositor and recover that.",
        px=round(bending_px),
    )


class RECOVER_BODY_OT_recover(bpy.types.Operator):
    """Find the people in the picture or clip and draw each as a rigged character, seen through the recovered camera"""

    bl_idname = "recover_body.recover"
    bl_label = "Recover Body"
    bl_options = {"REGISTER"}  # the undo step is made when the character arrives

    filepath: StringProperty(name="Picture", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    image: StringProperty(name="Image", description="Name of an image", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context):
        try:
            source, fields = request_from(context, self.filepath, self.image)
            keep_camera = settings_of(context.scene).focal == "SCENE"
            job = recovering.start(source, context.scene, keep_camera, **fields)
            job.notes += notes_about(source, settings_of(context.scene).focal)
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
    """Stop what is under way; nothing in the file is changed. Esc does the same"""

    bl_idname = "recover_body.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}  # it changes no data, so there is nothing to undo

    job: StringProperty(
        name="Job", description="Which one; empty for the one that is worked on", options={"SKIP_SAVE", "HIDDEN"}
    )

    @classmethod
    def poll(cls, _context) -> bool:
        return jobs.is_running()

    def execute(self, _context):
        found = next((job for job in jobs.queued() if self.job in ("", job.id)), None)
        if found is None:
            return {"CANCELLED"}  # it came to its end in the same moment
        jobs.cancel(found)
        return {"FINISHED"}


class RECOVER_BODY_OT_try_again(bpy.types.Operator):
    """Ask the engine for the same once more; a new engine is started if the last one has ended"""

    bl_idname = "recover_body.try_again"
    bl_label = "Try Again"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        return jobs.last_done() is not None

    def execute(self, _context):
        try:
            job = jobs.again(jobs.last_done())
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        if bpy.app.background:
            jobs.wait(job)
        return {"FINISHED"}


class RECOVER_BODY_OT_dismiss(bpy.types.Operator):
    """Put the message away"""

    bl_idname = "recover_body.dismiss"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        jobs.dismiss()
        return {"FINISHED"}


class RECOVER_BODY_OT_open_preferences(bpy.types.Operator):
    """Open the add-on's preferences, where the engine is set up"""

    bl_idname = "recover_body.open_preferences"
    bl_label = "Set Up the Engine"
    bl_options = {"INTERNAL"}

    tab: StringProperty(name="Section", description="Which section to open", default="ENGINE", options={"SKIP_SAVE"})

    def execute(self, _context):
        if found := preferences.preferences():
            found.tab = self.tab
        bpy.ops.preferences.addon_show(module=preferences.ADDON)
        return {"FINISHED"}


CLASSES = (
    RECOVER_BODY_OT_recover,
    RECOVER_BODY_OT_cancel,
    RECOVER_BODY_OT_try_again,
    RECOVER_BODY_OT_dismiss,
    RECOVER_BODY_OT_open_preferences,
)
