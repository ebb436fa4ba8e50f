# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender is told when the extension is enabled, and how all of it is taken back."""

from __future__ import annotations

import bpy

from . import (
    command,
    doctor,
    dropping,
    export_operators,
    help_panel,
    jobs,
    keymap,
    models_panel,
    motion_operators,
    operators,
    panels,
    people_operators,
    people_overlay,
    preferences,
    properties,
    result_operators,
    result_panel,
    result_properties,
    setup_panel,
    take_store,
    tasks,
    translations,
    view_operators,
)

CLASSES = (
    *preferences.CLASSES,
    *setup_panel.CLASSES,
    *models_panel.CLASSES,
    *help_panel.CLASSES,
    *properties.CLASSES,
    *result_properties.CLASSES,
    *operators.CLASSES,
    *people_operators.CLASSES,
    *view_operators.CLASSES,
    *dropping.CLASSES,
    *result_operators.CLASSES,
    *motion_operators.CLASSES,
    *export_operators.CLASSES,
    *panels.CLASSES,
    *result_panel.CLASSES,
)


def register() -> None:
    """Classes, the scene's settings, the command line, boxes, the Esc key, and a word before another file is opened."""
    translations.register()
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    properties.register()
    result_properties.register()
    command.register()
    people_overlay.register()
    keymap.register()
    bpy.app.handlers.load_pre.append(jobs.before_loading)
    bpy.app.handlers.load_post.append(result_properties.after_loading)
    bpy.app.handlers.save_pre.append(take_store.follow_blend)


def unregister() -> None:
    """The same backwards; also ends the engine and the timer."""
    bpy.app.handlers.save_pre.remove(take_store.follow_blend)
    bpy.app.handlers.load_post.remove(result_properties.after_loading)
    bpy.app.handlers.load_pre.remove(jobs.before_loading)
    tasks.stop()
    doctor.forget()
    jobs.stop()
    keymap.unregister()
    people_overlay.unregister()
    command.unregister()
    result_properties.unregister()
    properties.unregister()
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
    translations.unregister()
