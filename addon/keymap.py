# SPDX-License-Identifier: GPL-3.0-or-later
"""Esc cancels what is under way, wherever nothing else makes use of the key."""

from __future__ import annotations

import bpy

from .operators import RECOVER_BODY_OT_cancel

_made: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


def register() -> None:
    own = bpy.context.window_manager.keyconfigs.addon
    if own is None:  # in the background
        return
    keymap = own.keymaps.new(name="Window", space_type="EMPTY")
    _made.append((keymap, keymap.keymap_items.new(RECOVER_BODY_OT_cancel.bl_idname, "ESC", "PRESS")))


def unregister() -> None:
    while _made:
        keymap, item = _made.pop()
        keymap.keymap_items.remove(item)
