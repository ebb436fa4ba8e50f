# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons around the list of people, and choosing them by clicks in the picture."""

from __future__ import annotations

import bpy

from . import editors, jobs, people
from .errors import AddonError
from .properties import settings_of
from .sources import chosen_source


class RECOVER_BODY_OT_find_people(bpy.types.Operator):
    """Look for people in the picture, of a clip in the frame that is shown now, so that you can choose among them"""

    bl_idname = "recover_body.find_people"
    bl_label = "Find People"
    bl_options = {"REGISTER"}  # the undo step is made when they are found

    def execute(self, context):
        try:
            source = chosen_source(context, setting=settings_of(context.scene).filepath)
            job = people.start(source, context.scene)
        except AddonError as error:
            self.report({"ERROR"}, f"{error.sentence} {error.remedy}")
            return {"CANCELLED"}
        if bpy.app.background:
            jobs.wait(job)
            if job.failure:
                self.report({"ERROR"}, f"{job.failure.sentence} {job.failure.remedy}")
                return {"CANCELLED"}
        return {"FINISHED"}


class RECOVER_BODY_OT_drop_person(bpy.types.Operator):
    """Take the person out of the list"""

    bl_idname = "recover_body.drop_person"
    bl_label = "Drop Person"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context) -> bool:
        settings = settings_of(context.scene)
        return 0 <= settings.active_person < len(settings.found)

    def execute(self, context):
        settings = settings_of(context.scene)
        settings.found.remove(settings.active_person)
        settings.active_person = max(0, settings.active_person - 1)
        editors.redraw_pictures()
        return {"FINISHED"}


class RECOVER_BODY_OT_choose_people(bpy.types.Operator):
    """Click people in the picture to choose them or leave them out; Enter, Esc or the right button ends it"""

    bl_idname = "recover_body.choose_people"
    bl_label = "Click People"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context) -> bool:
        if context.area is None or context.area.type not in ("IMAGE_EDITOR", "CLIP_EDITOR"):
            cls.poll_message_set("Click people in an Image Editor or Clip Editor")
            return False
        if not len(settings_of(context.scene).found):
            cls.poll_message_set("Find people first")
            return False
        return True

    def invoke(self, context, _event):
        settings_of(context.scene).people = "CHOSEN"
        context.workspace.status_text_set("Click people to choose them or leave them out.  Enter: done")
        context.window.cursor_modal_set("EYEDROPPER")
        context.window_manager.modal_handler_add(self)
        self._area = context.area
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type in {"ESC", "RET", "NUMPAD_ENTER", "RIGHTMOUSE"} and event.value == "PRESS":
            return self._end(context)
        if context.area is None or context.area != self._area:
            return self._end(context)
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            region = next(r for r in self._area.regions if r.type == "WINDOW")
            x, y = event.mouse_x - region.x, event.mouse_y - region.y
            if 0 <= x < region.width and 0 <= y < region.height and not self._over_sidebar(event):
                self._toggle(context, region, x, y)
                return {"RUNNING_MODAL"}
        return {"PASS_THROUGH"}

    def _over_sidebar(self, event) -> bool:
        return any(
            r.x <= event.mouse_x < r.x + r.width and r.y <= event.mouse_y < r.y + r.height
            for r in self._area.regions
            if r.type != "WINDOW"
        )

    def _toggle(self, context, region, x: float, y: float) -> None:
        shown, settings = editors.shown_in(context), settings_of(context.scene)
        someone = next(people.people_of(context.scene, shown[0]), None) if shown else None
        if someone is None:
            return
        right, up = region.view2d.region_to_view(x, y)
        person = people.person_at(context.scene, *shown, right * someone.width, (1 - up) * someone.height)
        if person is not None:
            person.use = not person.use
            settings.active_person = next(i for i, each in enumerate(settings.found) if each == person)

    def _end(self, context):
        context.workspace.status_text_set(None)
        context.window.cursor_modal_restore()
        if context.area is not None:
            context.area.tag_redraw()
        return {"FINISHED"}


CLASSES = (RECOVER_BODY_OT_find_people, RECOVER_BODY_OT_drop_person, RECOVER_BODY_OT_choose_people)
