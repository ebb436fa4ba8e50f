# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons for what comes after the network: again from the take, fewer keys, the NLA editor, marks on the timeline."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, FloatProperty, StringProperty

from . import jobs, rerunning
from .chosen_result import body_of, rig_named, rigs_in, shown_recovery
from .errors import AddonError
from .frame_marks import MARKERS, mark_bad_frames, unmark
from .key_reduction import reduce_character
from .nla import push_down
from .result_properties import PROPERTY
from .scene_replace import TIMELINE, objects_by_role
from .take_store import take_of
from .timeline import SAME_FRAMES, FrameMap


class OnRecovery:
    """A button about the recovery that the panel shows."""

    @classmethod
    def poll(cls, context) -> bool:
        if shown_recovery(context) is None:
            cls.poll_message_set("Nothing was recovered in this scene")
            return False
        return True

    def execute(self, context):
        try:
            return self.work(context)
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}

    def finished(self, job: jobs.Job):
        """With a window the answer comes later; in the background it is waited for."""
        if not bpy.app.background:
            return {"FINISHED"}
        jobs.wait(job)
        for note in job.notes:
            self.report({"WARNING"}, note)
        if job.failure:
            self.report({"ERROR"}, f"{job.failure.sentence} {job.failure.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


class RECOVER_BODY_OT_rerun(OnRecovery, bpy.types.Operator):
    """Do everything after the network again, with the settings above: takes seconds, and needs no picture"""

    bl_idname = "recover_body.rerun"
    bl_label = "Update Result"
    bl_options = {"REGISTER"}  # the undo step is made when the answer arrives

    def work(self, context):
        collection = shown_recovery(context)
        wanted = getattr(collection, PROPERTY)
        motion, camera, everybody = wanted.motion(), wanted.typed_lens(), wanted.everybody
        return self.finished(rerunning.start(collection, context.scene, motion, camera, everybody))


class RECOVER_BODY_OT_import_motion(OnRecovery, bpy.types.Operator):
    """Draw a take of Recover Body, or AMASS / SMPL-X motion, as a character"""

    bl_idname = "recover_body.import_motion"
    bl_label = "Import Take or AMASS"
    bl_options = {"REGISTER"}  # the undo step is made when the character arrives

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.npz", options={"HIDDEN"})
    set_time: BoolProperty(
        name="Set Scene's Time", description="Give the scene the motion's frame rate and length", default=True
    )

    @classmethod
    def poll(cls, _context) -> bool:
        return True

    def invoke(self, context, _event):
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def work(self, context):
        return self.finished(rerunning.start_import(self.filepath, context.scene, self.set_time))


class RECOVER_BODY_FH_motion(bpy.types.FileHandler):
    """Takes and AMASS motion that are dropped on a 3D view."""

    bl_idname = "RECOVER_BODY_FH_motion"
    bl_label = "Take or AMASS"
    bl_import_operator = RECOVER_BODY_OT_import_motion.bl_idname
    bl_file_extensions = ".npz"

    @classmethod
    def poll_drop(cls, context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class RECOVER_BODY_OT_reduce_keys(OnRecovery, bpy.types.Operator):
    """Keep only the keys that are needed so that, seen through the camera, nothing moves by more than the budget"""

    bl_idname = "recover_body.reduce_keys"
    bl_label = "Reduce Keys"
    bl_options = {"REGISTER", "UNDO"}

    budget_px: FloatProperty(
        name="Budget",
        description="How far any bone may be from where it is now, in pixels of the recovered camera's picture",
        default=2.0,
        min=0.1,
        max=100.0,
        subtype="PIXEL",
    )
    rig: StringProperty(name="Rig", description="Empty: everybody", options={"SKIP_SAVE", "HIDDEN"})

    def work(self, context):
        collection = shown_recovery(context)
        camera = objects_by_role(collection).get("camera") or context.scene.camera
        if camera is None:
            self.report({"ERROR"}, "There is no camera to see the error through. Give the scene one.")
            return {"CANCELLED"}
        rigs = [rig_named(context, self.rig)] if self.rig else list(rigs_in(collection).values())
        found = [reduce_character(rig, camera, context.scene, self.budget_px) for rig in rigs]
        before, after = sum(r.keys_before for r in found), sum(r.keys_after for r in found)
        worst = max(r.error_px for r in found)
        self.report({"INFO"}, f"{before} keys became {after}; nothing moved by more than {worst:.1f} px.")
        return {"FINISHED"}


class RECOVER_BODY_OT_push_down(OnRecovery, bpy.types.Operator):
    """Put the motion into the NLA editor, so that you can animate on top of it"""

    bl_idname = "recover_body.push_down"
    bl_label = "Push Down to NLA"
    bl_options = {"REGISTER", "UNDO"}

    rig: StringProperty(name="Rig", description="Empty: everybody", options={"SKIP_SAVE", "HIDDEN"})

    def work(self, context):
        rigs = [rig_named(context, self.rig)] if self.rig else list(rigs_in(shown_recovery(context)).values())
        owners = []
        for rig in rigs:
            body = body_of(rig)
            owners += [rig, body.data.shape_keys if body is not None else None]
        push_down(owners)
        return {"FINISHED"}


class RECOVER_BODY_OT_mark_frames(OnRecovery, bpy.types.Operator):
    """Mark the frames that look wrong on the timeline, or take the marks away"""

    bl_idname = "recover_body.mark_frames"
    bl_label = "Mark Bad Frames"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context):
        collection = shown_recovery(context)
        if collection.get(MARKERS):
            unmark(collection, context.scene)
            return {"FINISHED"}
        timeline = FrameMap.from_numbers(collection[TIMELINE]) if TIMELINE in collection else SAME_FRAMES
        found = mark_bad_frames(collection, take_of(collection), timeline, context.scene)
        if not found:
            self.report({"INFO"}, "No frame looks wrong.")
        return {"FINISHED"}


CLASSES = (
    RECOVER_BODY_OT_rerun,
    RECOVER_BODY_OT_import_motion,
    RECOVER_BODY_FH_motion,
    RECOVER_BODY_OT_reduce_keys,
    RECOVER_BODY_OT_push_down,
    RECOVER_BODY_OT_mark_frames,
)
