# SPDX-License-Identifier: GPL-3.0-or-later
"""The Help section of the preferences: examine everything in one click, and make a report that may be sent."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty

from . import bug_report, doctor
from .errors import AddonError
from .panels import draw_text


class _HelpOperator:
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        if doctor.is_running():
            cls.poll_message_set("An examination is under way")
            return False
        return True


class RECOVER_BODY_OT_doctor(_HelpOperator, bpy.types.Operator):
    """Examine Blender, the engine's installation, the graphics card and every backend; start the engine once"""

    bl_idname = "recover_body.doctor"
    bl_label = "Examine"

    def execute(self, _context):
        doctor.examine(doctor.write_text)
        findings = doctor.found()
        if bpy.app.background and findings is not None and findings.trouble:
            self.report({"WARNING"}, " ".join(findings.trouble))
        return {"FINISHED"}


class RECOVER_BODY_OT_show_doctor(bpy.types.Operator):
    """Show all that was found in a window with the text; it is also in the Text Editor"""

    bl_idname = "recover_body.show_doctor"
    bl_label = "Show All"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        return doctor.found() is not None

    def execute(self, context):
        text = doctor.write_text(doctor.found())
        bpy.ops.wm.window_new()
        area = context.window_manager.windows[-1].screen.areas[0]
        area.type = "TEXT_EDITOR"
        area.spaces.active.text = text
        return {"FINISHED"}


class RECOVER_BODY_OT_copy_doctor(bpy.types.Operator):
    """Copy all that was found, without names of people, machines and files"""

    bl_idname = "recover_body.copy_doctor"
    bl_label = "Copy"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        return doctor.found() is not None

    def execute(self, context):
        context.window_manager.clipboard = bug_report.pieces(doctor.found())["doctor.txt"]
        self.report({"INFO"}, "Copied.")
        return {"FINISHED"}


class RECOVER_BODY_OT_bug_report(_HelpOperator, bpy.types.Operator):
    bl_description = (
        "Save a zip with what the doctor finds, the set-up's log and the last failure, for those who can help. Names "
        "of people, machines, projects and files are taken out; no picture and nothing of the scene goes in"
    )
    bl_idname = "recover_body.bug_report"
    bl_label = "Save Bug Report"

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: StringProperty(default="*.zip", options={"HIDDEN"})

    def invoke(self, context, _event):
        self.filepath = "recover-body-report.zip"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, _context):
        path = Path(bpy.path.abspath(self.filepath)).with_suffix(".zip")
        try:
            if doctor.found() is not None:
                _save(path, doctor.found())
            else:
                doctor.examine(lambda findings: _save(path, findings))
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


_saved = ""


def _save(path: Path, findings: doctor.Findings) -> None:
    global _saved
    try:
        _saved = f"Saved {bug_report.write(path, findings)}. Look into it before you send it."
    except AddonError as error:
        _saved = error.sentence
        if bpy.app.background:
            raise


def draw(layout, context, _preferences) -> None:
    """The whole section."""
    row = layout.row()
    row.operator(RECOVER_BODY_OT_doctor.bl_idname, icon="VIEWZOOM")
    row.operator(RECOVER_BODY_OT_bug_report.bl_idname, icon="FILE_ARCHIVE")
    if _saved:
        draw_text(layout, context, _saved, "INFO")
    if doctor.is_running():
        layout.label(text="Examining", icon="SORTTIME")
        return
    findings = doctor.found()
    if findings is None:
        return
    box = layout.box()
    for sentence in findings.trouble:
        draw_text(box, context, sentence, "ERROR")
    if not findings.trouble:
        box.label(text="All is well.", icon="CHECKMARK")
    column = box.column(align=True)
    column.scale_y = 0.8
    for line in findings.lines:
        column.label(text=line, translate=False)
    row = box.row()
    row.operator(RECOVER_BODY_OT_copy_doctor.bl_idname, icon="COPYDOWN")
    row.operator(RECOVER_BODY_OT_show_doctor.bl_idname, icon="TEXT")


CLASSES = (
    RECOVER_BODY_OT_doctor,
    RECOVER_BODY_OT_show_doctor,
    RECOVER_BODY_OT_copy_doctor,
    RECOVER_BODY_OT_bug_report,
)
