# SPDX-License-Identifier: GPL-3.0-or-later
"""The Engine section of the preferences: what is installed, and the buttons that fit the state it is in."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import bpy
from bpy.props import EnumProperty

from . import compat, jobs, tasks
from .child_task import ChildTask
from .engine_command import PACKAGE_ROOT, engine_command
from .engine_setup.options import Accelerator, guess_accelerator, total_mb
from .engine_setup.places import engine_places
from .engine_setup.state import ACTIONS, State, Status, look
from .errors import EngineNotFound
from .panels import draw_text
from .preferences import ACCELERATORS, RECOVER_BODY_preferences, preferences
from .translations import tr

TOPIC = "setup"
_ICONS = {
    State.ABSENT: "IMPORT",
    State.WORKING: "SORTTIME",
    State.INTERRUPTED: "ERROR",
    State.READY: "CHECKMARK",
    State.OUTDATED: "FILE_REFRESH",
    State.DAMAGED: "ERROR",
}
_DEVICES = {name: label for name, label, _ in ACCELERATORS}
_KEPT_S = 1.0  # how long a look is good for: drawing happens many times a second
_seen: tuple[float, Status] | None = None

_ACTIONS = [
    ("install", "Install Engine", "Give the engine a Python environment of its own in your user folder"),
    ("verify", "Verify", "Compare every installed file with its hash, and start the engine once"),
    ("repair", "Repair", "Install again what is damaged"),
    ("uninstall", "Uninstall", "Remove the engine; weights that you imported stay"),
]


class RECOVER_BODY_OT_set_up_engine(bpy.types.Operator):
    """Install, verify, repair or remove the engine, in a process of its own"""

    bl_idname = "recover_body.set_up_engine"
    bl_label = "Set Up Engine"
    bl_options = {"INTERNAL"}

    action: EnumProperty(name="Action", items=_ACTIONS, options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _context, properties) -> str:
        return next(text for name, _, text in _ACTIONS if name == properties.action)

    @classmethod
    def poll(cls, _context) -> bool:
        if tasks.is_running(TOPIC):
            cls.poll_message_set("The engine is being set up")
            return False
        if jobs.is_running():
            cls.poll_message_set("A recovery is under way")
            return False
        return True

    def invoke(self, context, event):
        if self.action == "uninstall":
            return context.window_manager.invoke_confirm(self, event)
        return self.execute(context)

    def execute(self, _context):
        if why := why_not(self.action):
            self.report({"ERROR"}, why)
            return {"CANCELLED"}
        jobs.stop()  # an engine that runs holds files that are to be replaced
        task = tasks.start(TOPIC, ChildTask(setup_command(self.action, preferences())), _ended)
        if not bpy.app.background:
            return {"FINISHED"}
        for note in task.notes:
            self.report({"WARNING"}, note)
        if task.failure:
            self.report({"ERROR"}, f"{task.failure.sentence} {task.failure.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


class RECOVER_BODY_OT_cancel_set_up(bpy.types.Operator):
    """Stop the set-up; what was installed completely stays, and it can be resumed"""

    bl_idname = "recover_body.cancel_set_up"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        return tasks.is_running(TOPIC)

    def execute(self, _context):
        tasks.of(TOPIC).cancel()
        return {"FINISHED"}


class RECOVER_BODY_OT_open_set_up_log(bpy.types.Operator):
    """Open the log of the set-up: what was done, and pip's own words"""

    bl_idname = "recover_body.open_set_up_log"
    bl_label = "Open Log"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context) -> bool:
        return engine_places().log.exists()

    def execute(self, _context):
        bpy.ops.wm.path_open(filepath=str(engine_places().log))
        return {"FINISHED"}


def why_not(action: str) -> str:
    """Why an action is impossible now, in a sentence; "" where it is possible."""
    found = preferences()
    has_wheels = found is not None and (found.bundle or Path(bpy.path.abspath(found.find_links or "//?")).is_dir())
    if action in ("install", "repair") and not has_wheels and not bpy.app.online_access:
        return "Online access is off (Preferences > System > Network). An offline bundle works without it."
    return ""


def setup_command(action: str, chosen: RECOVER_BODY_preferences | None) -> list[str]:
    """The child that does it: the same script that a shell calls."""
    script = PACKAGE_ROOT / "blender_scripts" / "setup_engine.py"
    # -B: nothing is written into the add-on's folder.
    command = [sys.executable, "-s", "-B", str(script), action, "--json", "--watch-stdin"]
    if chosen is not None and action in ("install", "repair"):
        command += ["--accelerator", chosen.accelerator]
        for name in ("python", "index_url", "extra_index_url", "find_links", "proxy", "bundle"):
            value = getattr(chosen, name).strip()
            if value and (name in ("python", "bundle") or Path(bpy.path.abspath(value)).exists()):
                value = bpy.path.abspath(value)
            if value:
                command += [f"--{name.replace('_', '-')}", value]
    if not bpy.app.online_access and action in ("install", "repair"):
        command.append("--offline")
    return command


def status(fresh: bool = False) -> Status:
    """What is installed; looked up once a second at most."""
    global _seen
    now = time.monotonic()
    if fresh or _seen is None or now - _seen[0] > _KEPT_S:
        _seen = now, look(engine_places())
    return _seen[1]


def _ended(_task) -> None:
    status(fresh=True)


# ---- drawing


def draw(layout, context, chosen: RECOVER_BODY_preferences) -> None:
    """The whole section."""
    _draw_installed(layout.box(), context, chosen)
    _draw_choices(layout.column(), chosen)
    _draw_own_command(layout.column(), chosen)


def _draw_installed(box, context, chosen) -> None:
    found, task = status(), tasks.of(TOPIC)
    if tasks.is_running(TOPIC):
        row = box.row(align=True)
        row.progress(factor=task.fraction, text=task.text or "Starting", type="BAR")
        row.operator(RECOVER_BODY_OT_cancel_set_up.bl_idname, text="", icon="X")
        return
    draw_text(box, context, found.sentence, _ICONS[found.state])
    if found.unfinished is not None and found.environment is not None:
        draw_text(
            box,
            context,
            tr("An upgrade did not come to its end: {why}", why=found.unfinished.failure or "interrupted"),
            "INFO",
        )
    if found.record is not None and found.environment is not None:
        torch = tr(_DEVICES[found.record.accelerator])
        draw_text(
            box,
            context,
            tr(
                "{size} MB, {device}, in {folder}",
                size=round(found.record.bytes / 1e6),
                device=torch,
                folder=found.environment,
            ),
            "BLANK1",
        )
    if task is not None:
        _draw_outcome(box, context, task)
    _draw_buttons(box, context, found, chosen)


def _draw_outcome(box, context, task) -> None:
    if task.failure is not None and task.failure.code != "setup_cancelled":
        draw_text(box, context, task.failure.sentence, "CANCEL")
        draw_text(box, context, task.failure.remedy, "BLANK1")
    for answer in task.answers:
        draw_text(box, context, answer.get("text", ""), "INFO")
    for note in task.notes:
        draw_text(box, context, note, "ERROR")


def _draw_buttons(box, context, found: Status, chosen) -> None:
    if found.state is State.WORKING:
        draw_text(box, context, "Another Blender, or a shell, is setting it up.", "INFO")
        return
    row = box.row()
    for action in _offered(found, chosen):
        cell = row.row()
        cell.enabled = not why_not(action)
        operator = RECOVER_BODY_OT_set_up_engine.bl_idname
        cell.operator(operator, text=_button_text(action, found.state)).action = action
    row.operator(RECOVER_BODY_OT_open_set_up_log.bl_idname, icon="TEXT")
    if "install" in _offered(found, chosen):
        download_mb, disk_mb = total_mb(_accelerator(chosen))
        size = tr(
            "About {download} MB to download, {disk} MB on disk ({device}).",
            download=download_mb,
            disk=disk_mb,
            device=tr(_DEVICES[_accelerator(chosen).value]),
        )
        draw_text(box, context, "Nothing is downloaded: it comes from the bundle." if chosen.bundle else size, "BLANK1")
    if why := why_not(_offered(found, chosen)[0]):
        draw_text(box, context, why, "INFO")
        if not compat.is_online_access_overridden():
            box.prop(context.preferences.system, "use_online_access")


def _offered(found: Status, chosen) -> tuple[str, ...]:
    """The actions of the state; also another installation where another accelerator was chosen."""
    actions = ACTIONS[found.state]
    wants_other = found.record is not None and chosen.accelerator not in ("auto", found.record.accelerator)
    return ("install", *actions) if found.state is State.READY and wants_other else actions


def _button_text(action: str, state: State) -> str:
    special = {
        ("install", State.INTERRUPTED): "Resume",
        ("install", State.OUTDATED): "Upgrade",
        ("install", State.READY): "Change",
        ("uninstall", State.INTERRUPTED): "Start Afresh",
    }
    return special.get((action, state)) or next(label for name, label, _ in _ACTIONS if name == action)


def _accelerator(chosen) -> Accelerator:
    return Accelerator(chosen.accelerator) if chosen.accelerator != "auto" else guess_accelerator()


def _draw_choices(column, chosen) -> None:
    column.use_property_split = True
    column.prop(chosen, "accelerator")
    column.prop(chosen, "bundle")
    row = column.row()
    row.use_property_split, row.alignment = False, "LEFT"
    row.prop(chosen, "show_sources", icon="DOWNARROW_HLT" if chosen.show_sources else "RIGHTARROW", emboss=False)
    if chosen.show_sources:
        for name in ("index_url", "extra_index_url", "find_links", "proxy", "python"):
            column.prop(chosen, name)


def _draw_own_command(column, chosen) -> None:
    column.use_property_split = True
    column.separator()
    column.prop(chosen, "engine")
    column.prop(chosen, "send_pictures")
    try:
        command = " ".join(engine_command(chosen.engine))
        column.label(text=tr("Starts: {command}", command=command), icon="CONSOLE", translate=False)
    except EngineNotFound:
        pass  # as is said above


CLASSES = (RECOVER_BODY_OT_set_up_engine, RECOVER_BODY_OT_cancel_set_up, RECOVER_BODY_OT_open_set_up_log)
