# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons of the Result panel. Each says what is wanted and leaves the doing to plain functions."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from . import compat
from .scene_facts import inferred_joints
from .scene_replace import ROLE


class RECOVER_BODY_OT_select_inferred(bpy.types.Operator):
    """Select the bones that nothing in the picture told about: they are a guess, and yours to pose"""

    bl_idname = "recover_body.select_inferred"
    bl_label = "Select Inferred Bones"
    bl_options = {"REGISTER", "UNDO"}

    rig: StringProperty(name="Rig", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context):
        owner = context.scene.objects.get(self.rig) or context.object
        if owner is None or not owner.get(ROLE, "").startswith("rig"):
            self.report({"ERROR"}, "Select a recovered character's rig first.")
            return {"CANCELLED"}
        inferred = inferred_joints(owner)
        for bone in owner.pose.bones:
            compat.select_pose_bone(bone, bone.name in inferred)
        return {"FINISHED"}


CLASSES = (RECOVER_BODY_OT_select_inferred,)
