# SPDX-License-Identifier: GPL-3.0-or-later
"""The Models section of the preferences: what each backend needs, on which terms, where it is to be had, and importing.

The engine knows all of this; it is asked in a child process when the section is opened. Nothing is downloaded here:
pages are opened in the browser, where their owners ask for what they ask.
"""

from __future__ import annotations

import os

import bpy
from bpy.props import CollectionProperty, StringProperty

from . import jobs, tasks
from .child_task import ChildTask
from .engine_command import engine_command, other_verb
from .errors import EngineNotFound
from .panels import draw_text
from .preferences import preferences, sends_pictures, told_engine

LIST, BACKENDS, WORK = "models-list", "models-backends", "models-work"


def refresh() -> None:
    """Ask the engine what there is. Raises EngineNotFound."""
    command = engine_command(told_engine())
    tasks.start(LIST, ChildTask(other_verb(command, "models", "list", "--json")))
    tasks.start(BACKENDS, ChildTask(other_verb(command, "doctor", "--json")))


def refresh_if_shown() -> None:
    """The same when the section is open, and without complaint."""
    found = preferences()
    if found is not None and found.tab == "MODELS":
        try:
            refresh()
        except EngineNotFound:
            tasks.forget(LIST)


def _work(operator, verb: tuple[str, ...]):
    """Let the engine do it; the list is asked for again afterwards."""
    try:
        command = other_verb(engine_command(told_engine()), "models", *verb)
    except EngineNotFound as error:
        operator.report({"ERROR"}, f"{error.sentence} {error.remedy}")
        return {"CANCELLED"}
    task = tasks.start(WORK, ChildTask(command), lambda _task: _changed())
    if bpy.app.background and task.failure:
        operator.report({"ERROR"}, f"{task.failure.sentence} {task.failure.remedy}")
        return {"CANCELLED"}
    return {"FINISHED"}


def _changed() -> None:
    """A running engine may hold what was replaced, and has told what it had when it started."""
    if not jobs.is_running():
        jobs.stop()
    refresh()


class _ModelsOperator:
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        if tasks.is_running(WORK):
            cls.poll_message_set("Something is being imported or verified")
            return False
        return True


class RECOVER_BODY_OT_refresh_models(_ModelsOperator, bpy.types.Operator):
    """Ask the engine what there is and what is imported"""

    bl_idname = "recover_body.refresh_models"
    bl_label = "Refresh"

    def execute(self, _context):
        try:
            refresh()
        except EngineNotFound as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


class RECOVER_BODY_OT_import_models(_ModelsOperator, bpy.types.Operator):
    bl_description = (
        "Import downloaded weights or bodies: files, zips as they were downloaded, or a whole folder. Files are "
        "recognised by what is in them, and checked before anything is replaced"
    )
    bl_idname = "recover_body.import_models"
    bl_label = "Import Files"

    directory: StringProperty(name="Folder", subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(name="Files", type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: StringProperty(
        default="*.zip;*.tar;*.gz;*.pth;*.pt;*.ckpt;*.pkl;*.npz;*.safetensors", options={"HIDDEN"}
    )

    @classmethod
    def poll(cls, context) -> bool:
        if sends_pictures():
            cls.poll_message_set("The engine is on another machine: run `recover-body models import` there")
            return False
        return super().poll(context)

    def invoke(self, context, _event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, _context):
        names = [file.name for file in self.files if file.name]
        chosen = [os.path.join(self.directory, name) for name in names] or [self.filepath or self.directory]
        paths = [bpy.path.abspath(path) for path in chosen if path]
        if not paths:
            self.report({"ERROR"}, "Choose a file, or a folder that has some.")
            return {"CANCELLED"}
        return _work(self, ("import", "--json", "--watch-stdin", *paths))


class RECOVER_BODY_OT_verify_models(_ModelsOperator, bpy.types.Operator):
    """Compare imported files with their checksums"""

    bl_idname = "recover_body.verify_models"
    bl_label = "Verify"

    model: StringProperty(name="Model", description="Which one; empty verifies all", options={"SKIP_SAVE"})

    def execute(self, _context):
        return _work(self, ("verify", "--json", *([self.model] if self.model else [])))


class RECOVER_BODY_OT_remove_model(_ModelsOperator, bpy.types.Operator):
    """Delete the imported file; the one that you downloaded stays where it is"""

    bl_idname = "recover_body.remove_model"
    bl_label = "Remove"

    model: StringProperty(name="Model", options={"SKIP_SAVE"})

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context):
        return _work(self, ("remove", "--json", self.model))


class RECOVER_BODY_OT_open_model_page(bpy.types.Operator):
    """Open the page of its authors, where it is licensed and downloaded"""

    bl_idname = "recover_body.open_model_page"
    bl_label = "Get It"
    bl_options = {"INTERNAL"}

    address: StringProperty(name="Address", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def description(cls, _context, properties) -> str:
        return properties.address

    def execute(self, _context):
        return bpy.ops.wm.url_open(url=self.address)


class RECOVER_BODY_OT_cancel_models(bpy.types.Operator):
    """Stop importing; nothing is half imported"""

    bl_idname = "recover_body.cancel_models"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        return tasks.is_running(WORK)

    def execute(self, _context):
        tasks.of(WORK).cancel()
        return {"FINISHED"}


# ---- drawing


def draw(layout, context, _preferences) -> None:
    """The whole section."""
    row = layout.row()
    row.operator(RECOVER_BODY_OT_import_models.bl_idname, icon="IMPORT")
    row.operator(RECOVER_BODY_OT_verify_models.bl_idname, text="Verify All", icon="CHECKMARK")
    row.operator(RECOVER_BODY_OT_refresh_models.bl_idname, text="", icon="FILE_REFRESH")
    _draw_work(layout, context)
    listed = tasks.of(LIST)
    if listed is None:
        draw_text(layout, context, "Press Refresh to ask the engine what it knows; it must be installed first.", "INFO")
        return
    if not listed.is_done:
        layout.label(text="Asking the engine", icon="SORTTIME")
        return
    if listed.failure:
        draw_text(layout, context, listed.failure.sentence, "ERROR")
        return
    models = {entry["id"]: entry for entry in listed.answers if entry.get("event") == "model"}
    _draw_backends(layout, context, models)


def _draw_work(layout, context) -> None:
    task = tasks.of(WORK)
    if task is None:
        return
    if not task.is_done:
        row = layout.row(align=True)
        row.progress(factor=task.fraction, text=task.text or "Starting")
        row.operator(RECOVER_BODY_OT_cancel_models.bl_idname, text="", icon="X")
        return
    if task.failure is not None:
        draw_text(layout, context, task.failure.sentence, "ERROR")
        draw_text(layout, context, task.failure.remedy, "BLANK1")
    for answer in task.answers:
        text, is_well = _in_words(answer)
        draw_text(layout, context, text, "CHECKMARK" if is_well else "ERROR")


def _in_words(answer: dict) -> tuple[str, bool]:
    kind = answer.get("event")
    if kind == "verified":
        return f"{answer['message']} {answer['remedy']}".strip(), answer["ok"]
    verbs = {"imported": "imported", "removed": "removed"}
    return f"{answer.get('id', '')} {verbs.get(kind, kind)}.", True


def _draw_backends(layout, context, models: dict[str, dict]) -> None:
    asked = tasks.of(BACKENDS)
    backends = asked.answers[0]["backends"] if asked is not None and asked.is_done and asked.answers else []
    left = dict(models)
    for backend in backends:
        if backend["name"] == "fake":
            continue
        box = layout.box()
        box.label(text=backend["title"], icon="CHECKMARK" if backend["ready"] else "RADIOBUT_OFF", translate=False)
        if not backend["needs"]:
            draw_text(box, context, f"Needs no file. {backend['licence']}", "BLANK1")
        if backend["ready"]:
            draw_text(box, context, "Ready to use.", "BLANK1")
        for name in backend["needs"]:
            if entry := models.get(name):
                _draw_model(box, context, entry)
                left.pop(name, None)
        if not backend["ready"] and all(models.get(name, {}).get("state") == "imported" for name in backend["needs"]):
            for sentence in backend["missing"]:  # something else than files, such as torch
                draw_text(box, context, sentence, "INFO")
    if left:
        box = layout.box()
        box.label(text="Bodies and other files, optional", icon="OUTLINER_OB_ARMATURE")
        for entry in left.values():
            _draw_model(box, context, entry)


def _draw_model(box, context, entry: dict) -> None:
    icons = {"imported": "CHECKMARK", "damaged": "ERROR"}
    row = box.row()
    row.label(text=entry["title"], icon=icons.get(entry["state"], "LAYER_USED"), translate=False)
    buttons = row.row(align=True)
    buttons.alignment = "RIGHT"
    if entry["state"] == "-":
        for address in entry["pages"][:1]:
            buttons.operator(RECOVER_BODY_OT_open_model_page.bl_idname, icon="URL").address = address
    else:
        buttons.operator(RECOVER_BODY_OT_verify_models.bl_idname).model = entry["id"]
        buttons.operator(RECOVER_BODY_OT_remove_model.bl_idname, text="", icon="TRASH").model = entry["id"]
    terms = "Commercial use allowed" if entry["commercial"] else "No commercial use"
    column = box.column(align=True)
    column.active = False
    draw_text(column, context, f"{terms}. {entry['licence']}.", "BLANK1")
    if entry["state"] == "-":
        draw_text(column, context, f"{' or '.join(entry['files'])}, from {entry['where']}", "BLANK1")


CLASSES = (
    RECOVER_BODY_OT_refresh_models,
    RECOVER_BODY_OT_import_models,
    RECOVER_BODY_OT_verify_models,
    RECOVER_BODY_OT_remove_model,
    RECOVER_BODY_OT_open_model_page,
    RECOVER_BODY_OT_cancel_models,
)
