# SPDX-License-Identifier: GPL-3.0-or-later
"""The "Recover Body" tab in the sidebars of the 3D view and the Image Editor."""

from __future__ import annotations

import textwrap

import bpy

from . import jobs, operators, properties

_PIXELS_PER_LETTER = 7.0
_LETTERS_PER_ICON = 5


class _Panel:
    bl_region_type = "UI"
    bl_category = "Recover Body"

    def draw(self, context) -> None:
        layout, settings = self.layout, getattr(context.scene, properties.PROPERTY)
        layout.use_property_split, layout.use_property_decorate = True, False
        self.draw_source(layout, context, settings)
        column = layout.column()
        column.enabled = not jobs.is_running()
        _draw_settings(column, settings)
        _draw_job(layout, context)


class RECOVER_BODY_PT_view3d(_Panel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_label = "Recover Body"

    def draw_source(self, layout, _context, settings) -> None:
        layout.prop(settings, "filepath")


class RECOVER_BODY_PT_image(_Panel, bpy.types.Panel):
    bl_space_type = "IMAGE_EDITOR"
    bl_label = "Recover Body"

    def draw_source(self, layout, context, settings) -> None:
        image = context.space_data.image
        if image is None:
            layout.prop(settings, "filepath")
        else:
            layout.label(text=image.name, icon="IMAGE_DATA")


def _draw_settings(layout, settings) -> None:
    layout.prop(settings, "people")
    if settings.people == "COUNT":
        layout.prop(settings, "people_count")
    layout.prop(settings, "body")
    layout.prop(settings, "focal")
    if settings.focal == "MM":
        layout.prop(settings, "focal_mm")
        layout.prop(settings, "sensor_mm")
    elif settings.focal == "PX":
        layout.prop(settings, "focal_px")
    row = layout.row(heading="Known Height")
    row.prop(settings, "use_height", text="")
    value = row.row()
    value.active = settings.use_height
    value.prop(settings, "height_m", text="")
    layout.prop(settings, "backend")


def _draw_job(layout, context) -> None:
    """The button; while a job runs its progress; after a failed one, why, and what to do."""
    if jobs.is_running():
        progress = jobs.current().progress
        row = layout.row(align=True)
        row.progress(factor=progress.fraction if progress else 0.0, text=_progress_text(progress))
        row.operator(operators.RECOVER_BODY_OT_cancel.bl_idname, text="", icon="X")
        return
    row = layout.row()
    row.scale_y = 1.6
    row.operator(operators.RECOVER_BODY_OT_recover.bl_idname, icon="ARMATURE_DATA")
    job = jobs.current()
    if job is None:
        return
    if job.failure is not None and job.failure.code != "cancelled":
        box = layout.box()
        _draw_text(box, context, job.failure.sentence, "ERROR")
        _draw_text(box, context, job.failure.remedy)
    for note in job.notes:
        _draw_text(layout, context, note, "INFO")


def _progress_text(progress) -> str:
    if progress is None:
        return "Starting the engine"
    words = progress.detail or progress.stage.capitalize()
    return words if progress.eta_s is None else f"{words}, {progress.eta_s:.0f} s to go"


def _draw_text(layout, context, text: str, icon: str = "NONE") -> None:
    """Several lines, broken to the width of the sidebar."""
    letters = max(20, int(context.region.width / (_PIXELS_PER_LETTER * context.preferences.system.ui_scale)))
    letters -= 0 if icon == "NONE" else _LETTERS_PER_ICON
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, letters)]
    for index, line in enumerate(lines):
        column.label(text=line, icon=icon if index == 0 else ("NONE" if icon == "NONE" else "BLANK1"))


CLASSES = (RECOVER_BODY_PT_view3d, RECOVER_BODY_PT_image)
