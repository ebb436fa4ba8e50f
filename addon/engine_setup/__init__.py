# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the engine a Python environment of its own, in the user's data folder: never in Blender, never in the add-on.

No bpy and nothing beyond the standard library, so that the same code runs in a child of Blender, in a shell and on a
farm. `installer` is the main path; `state` tells what is there; `cli` is the door.
"""
