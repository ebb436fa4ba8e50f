# SPDX-License-Identifier: GPL-3.0-or-later
"""The Result panel: what was recovered, how far to trust it, and what can be done with it now."""

from __future__ import annotations

import bpy

from . import compat, editors, export_operators, motion_operators, result_operators
from .bone_colors import STYLE
from .bone_fitting import is_out_of_step
from .chosen_result import body_of, is_rig, rigs_in, shown_recovery
from .dropping import CATEGORY
from .export import FORMATS
from .frame_marks import BAD_OVERLAP, BAD_REPROJECTION_PERCENT, MARKERS
from .hand_poses import FINGERS
from .panels import draw_text
from .result_properties import PROPERTY
from .scene_facts import CORRECTIVES, DOUBTS, inferred_joints
from .scene_replace import BACKEND, FRAMES, NOTES
from .take_store import TAKE
from .translations import tr

BAD_ERROR_MM = 150.0
"""From this expected error on a limb or two are probably elsewhere; a good fit has half of it."""


class _Panel:
    bl_region_type = "UI"
    bl_category = CATEGORY

    @classmethod
    def poll(cls, context) -> bool:
        return shown_recovery(context) is not None


class _ResultPanel(_Panel):
    bl_label = "Result"

    def draw(self, context) -> None:
        collection, layout = shown_recovery(context), self.layout
        layout.label(text=collection.name, icon="OUTLINER_COLLECTION")
        for rig in rigs_in(collection).values():
            _draw_person(layout.box(), context, rig)
        row = layout.row(align=True)
        style = next((rig.get(STYLE) for rig in rigs_in(collection).values()), None)
        row.label(text="Bone Colours")
        for key, icon in (("INFERRED", "BONE_DATA"), ("CONFIDENCE", "COLOR"), ("NONE", "X")):
            name = result_operators.RECOVER_BODY_OT_color_bones.bl_idname
            row.operator(name, text="", icon=icon, depress=style == key).style = key
        facts = layout.column(align=True)
        facts.scale_y = 0.8
        if BACKEND in collection:
            facts.label(text=tr("Backend: {name}", name=collection[BACKEND]))
        if TAKE in collection:
            row = layout.row(align=True)
            row.prop(collection, f'["{TAKE}"]', text="Take")
        for note in str(collection.get(NOTES, "")).splitlines():
            draw_text(layout, context, note, "INFO")


class _BodyPanel(_Panel):
    bl_label = "Body and Hands"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        layout, rig = self.layout, _shown_rig(context)
        if rig is None:
            layout.label(text="Nobody is left in this recovery")
            return
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.label(text=rig.name, icon="ARMATURE_DATA")
        body = body_of(rig)
        if is_out_of_step(rig, body):
            row = layout.row()
            row.alert = True
            name = result_operators.RECOVER_BODY_OT_fit_bones.bl_idname
            row.operator(name, icon="BONE_DATA").rig = rig.name
        if CORRECTIVES in rig:
            layout.prop(rig, f'["{CORRECTIVES}"]', text="Correctives", slider=True)
        name = result_operators.RECOVER_BODY_OT_snap_to_ground.bl_idname
        layout.operator(name, icon="SNAP_FACE").rig = rig.name
        row = layout.row(align=True)
        for side in ("LEFT", "RIGHT"):
            name = result_operators.RECOVER_BODY_OT_pose_hand.bl_idname
            menu = row.operator_menu_enum(name, "pose", text=f"{side.title()} Hand", icon="VIEW_PAN")
            menu.side, menu.rig = side, rig.name
        keys = getattr(body.data, "shape_keys", None) if body is not None else None
        if keys is not None:
            _draw_sliders(layout, keys, "beta_", "Shape")
            _draw_sliders(layout, keys, "expression_", "Expression")


class _MotionPanel(_Panel):
    bl_label = "Motion and Lens"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        collection, layout = shown_recovery(context), self.layout
        settings, is_clip = getattr(collection, PROPERTY), collection.get(FRAMES, 1) > 1
        layout.use_property_split, layout.use_property_decorate = True, False
        column = layout.column()
        column.enabled = TAKE in collection
        if is_clip:
            column.prop(settings, "smoothing")
            if settings.smoothing == "SECONDS":
                column.prop(settings, "smoothing_s")
            column.prop(settings, "fill_gaps")
            column.prop(settings, "foot_lock")
        column.prop(settings, "ground")
        column.prop(settings, "focal", text="Lens")
        if settings.focal == "MM":
            column.prop(settings, "focal_mm")
            column.prop(settings, "sensor_mm")
        elif settings.focal == "PX":
            column.prop(settings, "focal_px")
        column.prop(settings, "everybody")
        row = layout.row()
        row.enabled = TAKE in collection
        row.scale_y = 1.3
        row.operator(motion_operators.RECOVER_BODY_OT_rerun.bl_idname, icon="FILE_REFRESH")
        if is_clip:
            layout.separator()
            layout.operator(motion_operators.RECOVER_BODY_OT_reduce_keys.bl_idname, icon="KEYFRAME")
            layout.operator(motion_operators.RECOVER_BODY_OT_push_down.bl_idname, icon="NLA_PUSHDOWN")
            layout.operator(
                motion_operators.RECOVER_BODY_OT_mark_frames.bl_idname,
                icon="MARKER_HLT",
                depress=bool(collection.get(MARKERS)),
            )


class _ExportPanel(_Panel):
    bl_label = "Export and Retarget"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        layout = self.layout
        grid = layout.grid_flow(columns=3, align=True, even_columns=True)
        for key, made in FORMATS.items():
            title = made.title.partition(" ")[0]
            cell = grid.row(align=True)
            cell.enabled = made.operator == "" or compat.has_operator(made.operator)  # some builds leave formats out
            cell.operator(export_operators.RECOVER_BODY_OT_export.bl_idname, text=title).kind = key
        rig = _shown_rig(context)
        row = layout.row()
        row.enabled = rig is not None
        button = row.operator(
            export_operators.RECOVER_BODY_OT_retarget.bl_idname,
            text="Retarget to Rigify or Mixamo",
            icon="CON_ARMATURE",
        )
        button.rig = rig.name if rig is not None else ""
        layout.operator(motion_operators.RECOVER_BODY_OT_import_motion.bl_idname, icon="IMPORT")


def _draw_person(layout, context, rig) -> None:
    row = layout.row()
    row.label(text=rig.name, icon="ARMATURE_DATA")
    column = layout.column(align=True)
    if "overlay_iou" in rig:
        bad = rig["overlay_iou"] < BAD_OVERLAP
        column.label(
            text=tr("Overlap with picture {percent} %", percent=round(100 * rig["overlay_iou"])), icon=_sign(bad)
        )
    if "reprojection_px" in rig:
        percent = rig.get("reprojection_percent", 0.0)
        words = tr(
            "Joints off by {px} px ({percent} %)", px=round(rig["reprojection_px"], 1), percent=round(percent, 1)
        )
        column.label(text=words, icon=_sign(percent > BAD_REPROJECTION_PERCENT))
    if "expected_error_mm" in rig:
        error_mm = rig["expected_error_mm"]
        column.label(text=tr("Expected error {cm} cm", cm=round(error_mm / 10)), icon=_sign(error_mm > BAD_ERROR_MM))
        if doubts := str(rig.get(DOUBTS, "")).splitlines():
            draw_text(layout, context, ", ".join(doubts), "BLANK1")
    inferred = inferred_joints(rig)
    if inferred:
        row = layout.row()
        row.label(text=tr("Inferred: {count}", count=len(inferred)), icon="QUESTION")
        row.operator(result_operators.RECOVER_BODY_OT_select_inferred.bl_idname, text="Select").rig = rig.name
        draw_text(layout, context, ", ".join(_in_words(inferred)), "BLANK1")


def _in_words(joints: list[str]) -> list[str]:
    """Joints as people call them; all fingers of a hand are one word."""
    words = []
    for joint in joints:
        side, _, part = joint.partition("_")
        word = f"{side} fingers" if part[:-1] in FINGERS else joint.removesuffix("_smplhf").replace("_", " ")
        if word not in words:
            words.append(word)
    return words


def _sign(bad: bool) -> str:
    return "ERROR" if bad else "CHECKMARK"


def _draw_sliders(layout, keys, prefix: str, title: str) -> None:
    column = layout.column(align=True)
    for block in keys.key_blocks:
        if block.name.startswith(prefix):
            column.prop(block, "value", text=f"{title} {int(block.name.removeprefix(prefix))}", slider=True)


def _shown_rig(context) -> bpy.types.Object | None:
    """The active character of the recovery, else its first."""
    active, rigs = context.view_layer.objects.active, rigs_in(shown_recovery(context))
    if active is not None and active.parent is not None and is_rig(active.parent):
        active = active.parent
    return active if active in rigs.values() else next(iter(rigs.values()), None)


def _panels() -> tuple[type, ...]:
    """The same panels in each editor."""
    made = []
    for space, suffix in zip(editors.WITH_PANEL, ("view3d", "image", "sequencer", "clip"), strict=True):
        main = f"RECOVER_BODY_PT_{suffix}_result"
        made.append(type(main, (_ResultPanel, bpy.types.Panel), {"bl_space_type": space}))
        for base, part in ((_BodyPanel, "body"), (_MotionPanel, "motion"), (_ExportPanel, "export")):
            settings = {"bl_space_type": space, "bl_parent_id": main}
            made.append(type(f"{main}_{part}", (base, bpy.types.Panel), settings))
    return tuple(made)


CLASSES = _panels()
