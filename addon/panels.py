# SPDX-License-Identifier: GPL-3.0-or-later
"""The "Recover Body" tab in the sidebars of the 3D view, the Image Editor, the Sequencer and the Clip Editor."""

from __future__ import annotations

import textwrap
import unicodedata

import bpy

from . import compat, editors, jobs, operators, people_operators, preferences, source_strip, view_operators
from .dropping import CATEGORY
from .engine_command import is_engine_missing
from .lens_distortion import warning_about
from .operators import GIVEN
from .properties import settings_of
from .sources import is_movie_name
from .translations import tr

_PIXELS_PER_LETTER = 7.0
_LETTERS_PER_ICON = 5
_ENGINE_TROUBLE = ("engine_not_found", "engine_silent", "engine_garbled", "version_mismatch", "missing_package")
"""Failures whose remedy lies in the preferences' section Engine …"""
_MODEL_TROUBLE = ("backend_not_ready", "missing_weights")
"""… and in the section Models."""


class _Panel:
    bl_region_type = "UI"
    bl_category = CATEGORY


class _MainPanel(_Panel):
    bl_label = "Recover Body"

    def draw(self, context) -> None:
        layout, settings = self.layout, settings_of(context.scene)
        layout.use_property_split, layout.use_property_decorate = True, False
        may_move = _draw_source(layout, context, settings)
        if may_move:
            layout.prop(settings, "frames")
            if settings.frames != "CURRENT":
                layout.prop(settings, "frame_step")
        layout.prop(settings, "body")
        layout.prop(settings, "backend")
        _draw_jobs(layout, context)


class _PeoplePanel(_Panel):
    bl_label = "People"

    def draw(self, context) -> None:
        layout, settings = self.layout, settings_of(context.scene)
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(settings, "people", text="Recover")
        if settings.people == "COUNT":
            layout.prop(settings, "people_count")
        row = layout.row(align=True)
        row.operator(people_operators.RECOVER_BODY_OT_find_people.bl_idname, icon="VIEWZOOM")
        if context.area.type in editors.WITH_BOXES:
            row.operator(people_operators.RECOVER_BODY_OT_choose_people.bl_idname, icon="RESTRICT_SELECT_OFF")
        if settings.people == "CHOSEN" and len(settings.found):
            row = layout.row()
            row.template_list(
                "RECOVER_BODY_UL_people", "", settings, "found", settings, "active_person", rows=2, maxrows=6
            )
            row.operator(people_operators.RECOVER_BODY_OT_drop_person.bl_idname, text="", icon="REMOVE")
        row = layout.row(heading="Known Height")
        row.prop(settings, "use_height", text="")
        value = row.row()
        value.active = settings.use_height
        value.prop(settings, "height_m", text="")


class _CameraPanel(_Panel):
    bl_label = "Camera"

    def draw(self, context) -> None:
        layout, settings = self.layout, settings_of(context.scene)
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(settings, "focal", text="Lens")
        if settings.focal == "MM":
            layout.prop(settings, "focal_mm")
            layout.prop(settings, "sensor_mm")
        elif settings.focal == "PX":
            layout.prop(settings, "focal_px")
        elif settings.focal in GIVEN:
            layout.prop(settings, "lock_lens")
            clip = getattr(context.space_data, "clip", None)
            if settings.focal == "CLIP" and (bending_px := warning_about(clip)):
                draw_text(layout, context, operators.bending_note(bending_px), "INFO")
        camera = context.scene.camera
        row = layout.row(align=True)
        row.operator(view_operators.RECOVER_BODY_OT_look_through.bl_idname, icon="VIEW_CAMERA", text="Look Through")
        if context.area.type == "VIEW_3D":
            row.operator(view_operators.RECOVER_BODY_OT_side_by_side.bl_idname, icon="SPLIT_VERTICAL")
        if view_operators.footage_of(camera) is not None:
            row = layout.row(heading="Footage")
            row.prop(camera.data, "show_background_images", text="")
            value = row.row()
            value.active = camera.data.show_background_images
            value.prop(camera.data.background_images[0], "alpha", text="", slider=True)


class RECOVER_BODY_UL_people(bpy.types.UIList):
    """Everybody who was found in what the editor shows."""

    def draw_item(self, _context, layout, _data, item, _icon, _active, _property, _index=0) -> None:
        layout.use_property_split = False
        row = layout.row(align=True)
        row.prop(item, "use", text="")
        name = row.row()
        name.active = item.use
        name.prop(item, "name", text="", emboss=False)

    def filter_items(self, context, data, property):
        shown = _shown_key(context)
        everybody = getattr(data, property)
        flags = [self.bitflag_filter_item if person.source == shown else 0 for person in everybody]
        return flags, []


def _shown_key(context) -> str:
    """The path of the source that the button would take."""
    if context.space_data.type in editors.WITH_BOXES and (shown := editors.shown_in(context)):
        return shown[0]
    if context.space_data.type == "SEQUENCE_EDITOR" and (strip := compat.active_strip(context)) is not None:
        return source_strip.key_of_strip(strip)
    return bpy.path.abspath(settings_of(context.scene).filepath)


# ---------------------------------------------------------------------------------------------- what the button takes


def _draw_source(layout, context, settings) -> bool:
    """What would be recovered from; returns whether it may have several frames."""
    space = context.space_data
    if space.type == "IMAGE_EDITOR" and space.image is not None:
        layout.label(text=space.image.name, icon="IMAGE_DATA")
        return space.image.source in ("MOVIE", "SEQUENCE")
    if space.type == "CLIP_EDITOR" and space.clip is not None:
        layout.label(text=space.clip.name, icon="TRACKER")
        return True
    if space.type == "SEQUENCE_EDITOR" and (strip := compat.active_strip(context)) is not None:
        if told := source_strip.refusal(strip):
            draw_text(layout, context, told[0], "ERROR")
            draw_text(layout, context, told[1])
            return False
        layout.label(text=strip.name, icon="SEQ_SEQUENCER")
        return True
    layout.prop(settings, "filepath")
    path = settings.filepath
    return bool(path) and (is_movie_name(path) or "." not in bpy.path.basename(path) or "#" in path or "%" in path)


# ---------------------------------------------------------------------------------------------- what is under way


def _draw_jobs(layout, context) -> None:
    """The button, what is under way, and after a failure why, and what to do."""
    if jobs.engine_hello() is None and is_engine_missing(preferences.told_engine()):
        box = layout.box()
        draw_text(box, context, "The work is done by a separate program, the engine. It is not installed yet.", "INFO")
        box.operator(operators.RECOVER_BODY_OT_open_preferences.bl_idname, icon="PREFERENCES")
    row = layout.row()
    row.scale_y = 1.6
    row.operator(operators.RECOVER_BODY_OT_recover.bl_idname, icon="ARMATURE_DATA")
    for place, job in enumerate(jobs.queued()):
        row = layout.row(align=True)
        fraction = job.progress.fraction if job.progress else 0.0
        row.progress(factor=fraction, text=_progress_text(job, is_first=place == 0))
        row.operator(operators.RECOVER_BODY_OT_cancel.bl_idname, text="", icon="X").job = job.id
    if jobs.is_engine_silent():
        silent = "The engine has said nothing for a while. If you cancel, it is replaced by a new one."
        draw_text(layout, context, silent, "ERROR")
    job = jobs.last_done()
    if job is None:
        return
    if job.failure is not None and job.failure.code != "cancelled":
        _draw_failure(layout.box(), context, job)
    for note in job.notes:
        draw_text(layout, context, note, "INFO")


def _draw_failure(box, context, job) -> None:
    failure = job.failure
    draw_text(box, context, failure.sentence, "ERROR")
    draw_text(box, context, failure.remedy)
    row = box.row()
    if failure.code in _MODEL_TROUBLE:
        shown = row.operator(operators.RECOVER_BODY_OT_open_preferences.bl_idname, icon="PREFERENCES", text="Models")
        shown.tab = "MODELS"
    elif failure.code in _ENGINE_TROUBLE or failure.exit_code == 3:
        row.operator(operators.RECOVER_BODY_OT_open_preferences.bl_idname, icon="PREFERENCES")
    row.operator(operators.RECOVER_BODY_OT_try_again.bl_idname, icon="FILE_REFRESH")
    row.operator(operators.RECOVER_BODY_OT_dismiss.bl_idname, text="", icon="X")


def _progress_text(job, is_first: bool) -> str:
    progress = job.progress
    if job.answer is not None:
        return tr("Ready: it arrives when you let go")
    if progress is None:
        is_starting = is_first and jobs.engine_hello() is None
        return tr("Starting the engine") if is_starting else tr("{title}: waiting", title=job.title)
    words = progress.detail or progress.stage.capitalize()
    share = f"{100 * progress.fraction:.0f} %"
    if progress.eta_s is None:
        return f"{share}  {words}"
    return tr("{share}  {words}, {time} to go", share=share, words=words, time=_time_text(progress.eta_s))


def _time_text(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def draw_text(layout, context, text: str, icon: str = "NONE") -> None:
    """Several lines, translated as a whole and then broken to the width of the sidebar."""
    text = tr(text)
    letters = max(20, int(context.region.width / (_PIXELS_PER_LETTER * context.preferences.system.ui_scale)))
    letters -= 0 if icon == "NONE" else _LETTERS_PER_ICON
    if any(unicodedata.east_asian_width(letter) == "W" for letter in text):
        letters //= 2
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, letters)]
    for index, line in enumerate(lines):
        column.label(text=line, translate=False, icon=icon if index == 0 else ("NONE" if icon == "NONE" else "BLANK1"))


def _panels() -> tuple[type, ...]:
    """The same panels in each editor."""
    made = []
    for space, suffix in zip(editors.WITH_PANEL, ("view3d", "image", "sequencer", "clip"), strict=True):
        main = f"RECOVER_BODY_PT_{suffix}"
        made.append(type(main, (_MainPanel, bpy.types.Panel), {"bl_space_type": space}))
        for base, part in ((_PeoplePanel, "people"), (_CameraPanel, "camera")):
            settings = {"bl_space_type": space, "bl_parent_id": main}
            made.append(type(f"{main}_{part}", (base, bpy.types.Panel), settings))
    return tuple(made)


CLASSES = (RECOVER_BODY_UL_people, *_panels())
