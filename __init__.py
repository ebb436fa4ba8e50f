# SPDX-License-Identifier: GPL-3.0-or-later
"""Recover Body: from pictures of people to rigged, camera-matched characters in Blender.

This folder is one Python package and, at the same time, a Blender extension. Importing it needs neither bpy nor torch;
Blender calls `register`, which reaches the add-on only then.
"""

__version__ = "0.1.0"


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .addon import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled: undoes everything `register` did."""
    from .addon import registration

    registration.unregister()
