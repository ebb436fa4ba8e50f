# SPDX-License-Identifier: GPL-3.0-or-later
"""The Result panel: what was recovered, how far to trust it, and what can be done with it now."""

from __future__ import annotations

import bpy

from . import result_operators
from .scene_replace import ROLE, SOURCE, objects_by_role


class _ResultPanel:
    bl_region_type = "UI"
    bl_category = "Recover Body"
    bl_label = "Result"

    @classmethod
    def poll(cls, context) -> bool:
        return shown_recovery(context) is not None

    def draw(self, context) -> None:
        collection = shown_recovery(context)
        layout = self.layout
        layout.label(text=collection.name, icon="OUTLINER_COLLECTION")
        for role, rig in sorted(objects_by_role(collection).items()):
            if role.startswith("rig"):
                _draw_person(layout.box(), rig)


class RECOVER_BODY_PT_view3d_result(_ResultPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class RECOVER_BODY_PT_image_result(_ResultPanel, bpy.types.Panel):
    bl_space_type = "IMAGE_EDITOR"


class RECOVER_BODY_PT_sequencer_result(_ResultPanel, bpy.types.Panel):
    bl_space_type = "SEQUENCE_EDITOR"


class RECOVER_BODY_PT_clip_result(_ResultPanel, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"


def shown_recovery(context) -> bpy.types.Collection | None:
    """The recovery that the active object belongs to, else the newest of the scene."""
    active = context.active_object
    if active is not None and ROLE in active:
        for collection in active.users_collection:
            if SOURCE in collection:
                return collection
    found = [c for c in context.scene.collection.children_recursive if SOURCE in c]
    return found[-1] if found else None


def _draw_person(layout, rig) -> None:
    layout.label(text=rig.name, icon="ARMATURE_DATA")
    column = layout.column(align=True)
    if "overlay_iou" in rig:
        column.label(text=f"Overlap with the picture: {100 * rig['overlay_iou']:.0f} %")
    if "reprojection_px" in rig:
        percent = f" ({rig['reprojection_percent']:.1f} % of height)" if "reprojection_percent" in rig else ""
        column.label(text=f"Joints off by {rig['reprojection_px']:.1f} px{percent}")
    inferred = rig.get("inferred_joints", "").split()
    if inferred:
        row = layout.row()
        row.label(text=f"{len(inferred)} inferred joints")
        row.operator(result_operators.RECOVER_BODY_OT_select_inferred.bl_idname, text="Select").rig = rig.name


CLASSES = (
    RECOVER_BODY_PT_view3d_result,
    RECOVER_BODY_PT_image_result,
    RECOVER_BODY_PT_sequencer_result,
    RECOVER_BODY_PT_clip_result,
)
