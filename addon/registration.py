# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender is told when the extension is enabled, and how all of it is taken back."""

from __future__ import annotations

import bpy

from . import command, jobs, operators, panels, preferences, properties, result_operators, result_panel

CLASSES = (
    *preferences.CLASSES,
    *properties.CLASSES,
    *operators.CLASSES,
    *result_operators.CLASSES,
    *panels.CLASSES,
    *result_panel.CLASSES,
)


def register() -> None:
    """Classes, the scene's settings, the command line, and a word before another file is opened."""
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    properties.register()
    command.register()
    bpy.app.handlers.load_pre.append(jobs.before_loading)


def unregister() -> None:
    """The same backwards; also ends the engine and the timer."""
    bpy.app.handlers.load_pre.remove(jobs.before_loading)
    jobs.stop()
    command.unregister()
    properties.unregister()
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
