# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons that bring characters to other programs and other rigs."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from .chosen_result import is_rig, rig_named, rigs_in, shown_recovery
from .errors import AddonError, RetargetError
from .export import FORMATS, export_people, with_suffix
from .retarget import retarget_character
from .retarget_maps import map_for


class RECOVER_BODY_OT_export(bpy.types.Operator):
    """Write the recovered characters to a file for another program"""

    bl_idname = "recover_body.export"
    bl_label = "Export Characters"
    bl_options = {"REGISTER"}  # nothing in the scene changes, so there is nothing to undo

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    filter_glob: StringProperty(default=";".join(f"*{made.suffix}" for made in FORMATS.values()), options={"HIDDEN"})
    kind: EnumProperty(name="Format", items=[(key, made.title, made.about) for key, made in FORMATS.items()])
    rig: StringProperty(name="Rig", description="Empty: everybody", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context) -> bool:
        if shown_recovery(context) is None:
            cls.poll_message_set("Nothing was recovered in this scene")
            return False
        return True

    def invoke(self, context, _event):
        if not self.filepath:
            collection = shown_recovery(context)
            folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
            name = bpy.path.clean_name(self.rig or collection.name.removeprefix("Recover Body: "))
            self.filepath = str(folder / (name + FORMATS[self.kind].suffix))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, _context) -> bool:
        """Another format was chosen in the file browser: the name gets its suffix."""
        wanted = str(with_suffix(Path(self.filepath), FORMATS[self.kind].suffix))
        changed, self.filepath = wanted != self.filepath, wanted
        return changed

    def draw(self, _context) -> None:
        self.layout.prop(self, "kind")
        self.layout.label(text=FORMATS[self.kind].about)

    def execute(self, context):
        try:
            if not self.filepath:
                self.report({"ERROR"}, "There is no file name. Give one.")
                return {"CANCELLED"}
            rigs = [rig_named(context, self.rig)] if self.rig else list(rigs_in(shown_recovery(context)).values())
            files = export_people(rigs, bpy.path.abspath(self.filepath), self.kind, context.scene)
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        self.report({"INFO"}, f"Wrote {', '.join(path.name for path in files)}.")
        return {"FINISHED"}


_targets: list[tuple[str, str, str]] = []
"""Blender reads the strings of a dynamic list again later, so they must stay alive."""


def _other_rigs(_self, context) -> list[tuple[str, str, str]]:
    _targets[:] = []
    for other in context.scene.objects:
        if other.type == "ARMATURE" and not is_rig(other):
            try:
                title = map_for(other.data.bones.keys()).title
            except RetargetError:
                continue
            _targets.append((other.name, other.name, f"{title} rig"))
    return _targets or [("", "No rig found", "Add a generated Rigify human, or a skeleton with Mixamo's bone names")]


class RECOVER_BODY_OT_retarget(bpy.types.Operator):
    """Bake the character's motion onto a Rigify human or a skeleton with Mixamo's bone names"""

    bl_idname = "recover_body.retarget"
    bl_label = "Retarget"
    bl_options = {"REGISTER", "UNDO"}

    rig: StringProperty(name="From", description="Recovered rig", options={"SKIP_SAVE", "HIDDEN"})
    target: EnumProperty(name="To", description="The rig that is to move", items=_other_rigs)
    lock_feet: BoolProperty(
        name="Lock Feet",
        description="Bend the legs so that feet stand still where the character's do, at the price of a slightly "
        "different knee where the proportions differ",
        default=True,
    )

    @classmethod
    def poll(cls, context) -> bool:
        if shown_recovery(context) is None:
            cls.poll_message_set("Nothing was recovered in this scene")
            return False
        return True

    def invoke(self, context, _event):
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context):
        try:
            target = context.scene.objects.get(self.target) if self.target else None
            if target is None:
                raise RetargetError("There is no rig in this scene that could be moved.")
            retarget_character(rig_named(context, self.rig), target, context.scene, self.lock_feet)
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (RECOVER_BODY_OT_export, RECOVER_BODY_OT_retarget)
