# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons for a character that stands in the scene: its bones, its shape, its hands, the floor."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, StringProperty

from . import compat
from .bone_colors import STYLES, color_bones
from .bone_fitting import fit_bones
from .chosen_result import NothingChosen, body_of, rig_named, rigs_in, shown_recovery
from .errors import AddonError
from .ground_contact import snap_to_ground
from .hand_poses import POSES, pose_hand
from .scene_facts import inferred_joints


class OnRig:
    """A button about one character: the rig it names, else the active one."""

    rig: StringProperty(name="Rig", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context) -> bool:
        if shown_recovery(context) is None:
            cls.poll_message_set("Nothing was recovered in this scene")
            return False
        return True

    def execute(self, context):
        try:
            self.work(context, rig_named(context, self.rig))
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


class RECOVER_BODY_OT_select_inferred(OnRig, bpy.types.Operator):
    """Select the bones that nothing in the picture told about: they are a guess, and yours to pose"""

    bl_idname = "recover_body.select_inferred"
    bl_label = "Select Inferred Bones"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, _context, rig) -> None:
        inferred = inferred_joints(rig)
        for bone in rig.pose.bones:
            compat.select_pose_bone(bone, bone.name in inferred)


class RECOVER_BODY_OT_color_bones(bpy.types.Operator):
    """Colour the bones of everybody in this recovery by how far they can be trusted"""

    bl_idname = "recover_body.color_bones"
    bl_label = "Colour Bones"
    bl_options = {"REGISTER", "UNDO"}

    style: EnumProperty(name="Style", items=[(key, *words) for key, words in STYLES.items()])

    @classmethod
    def poll(cls, context) -> bool:
        return shown_recovery(context) is not None

    def execute(self, context):
        for rig in rigs_in(shown_recovery(context)).values():
            color_bones(rig, self.style)
        return {"FINISHED"}


class RECOVER_BODY_OT_fit_bones(OnRig, bpy.types.Operator):
    """Move the joints to where the changed body shape has them; poses and keys keep their meaning"""

    bl_idname = "recover_body.fit_bones"
    bl_label = "Bones Follow Shape"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, _context, rig) -> None:
        fit_bones(rig, _needed_body(rig))


class RECOVER_BODY_OT_snap_to_ground(OnRig, bpy.types.Operator):
    bl_description = (
        "Move the root bone so that the lowest point of the body, in this frame, touches the floor (z = 0). Seen "
        "through the camera, the character may then lie beside the picture"
    )
    bl_idname = "recover_body.snap_to_ground"
    bl_label = "Snap to Ground"
    bl_options = {"REGISTER", "UNDO"}

    def work(self, context, rig) -> None:
        moved_m = snap_to_ground(rig, _needed_body(rig), context.evaluated_depsgraph_get())
        self.report({"INFO"}, f"Moved {'up' if moved_m >= 0 else 'down'} by {100 * abs(moved_m):.1f} cm.")


class RECOVER_BODY_OT_pose_hand(OnRig, bpy.types.Operator):
    """Give a hand one of a few common poses"""

    bl_idname = "recover_body.pose_hand"
    bl_label = "Pose Hand"
    bl_options = {"REGISTER", "UNDO"}

    pose: EnumProperty(name="Pose", items=[(key, pose.title, pose.about) for key, pose in POSES.items()])
    side: EnumProperty(
        name="Hand",
        items=[("BOTH", "Both", "Both hands"), ("LEFT", "Left", "Left hand"), ("RIGHT", "Right", "Right hand")],
    )
    keys: EnumProperty(
        name="Keys",
        items=[
            ("SHOT", "Whole Shot", "The fingers hold the pose throughout; their other keys are removed"),
            ("FRAME", "This Frame", "Key the pose at the present frame"),
            ("NONE", "No Key", "Only pose; where fingers are keyed the next frame undoes it"),
        ],
    )

    def work(self, context, rig) -> None:
        sides = ("left", "right") if self.side == "BOTH" else (self.side.lower(),)
        for side in sides:
            pose_hand(rig, side, self.pose, self.keys, context.scene.frame_current)


def _needed_body(rig: bpy.types.Object) -> bpy.types.Object:
    body = body_of(rig)
    if body is None:
        raise NothingChosen(f"The body of {rig.name} is gone.", "Undo its removal, or update the result.")
    return body


CLASSES = (
    RECOVER_BODY_OT_select_inferred,
    RECOVER_BODY_OT_color_bones,
    RECOVER_BODY_OT_fit_bones,
    RECOVER_BODY_OT_snap_to_ground,
    RECOVER_BODY_OT_pose_hand,
)
