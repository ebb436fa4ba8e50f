# SPDX-License-Identifier: GPL-3.0-or-later
"""The cube of Blender's own start-up file: it stands where the first character comes to stand, and hides it."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix


def hide_default_cube(scene: bpy.types.Scene) -> bool:
    """Hide the cube in the view layers and renders of `scene`, if it is there as Blender made it; returns whether."""
    cube = scene.objects.get("Cube")
    if cube is None or not _is_untouched(cube):
        return False
    layers = [layer for layer in scene.view_layers if cube.name in layer.objects]
    if all(cube.hide_get(view_layer=layer) for layer in layers):
        return False
    for layer in layers:
        cube.hide_set(True, view_layer=layer)
    cube.hide_render = True
    return True


def _is_untouched(cube: bpy.types.Object) -> bool:
    if cube.type != "MESH" or cube.mode != "OBJECT" or cube.library is not None or cube.override_library is not None:
        return False
    used = (cube.parent, cube.animation_data, cube.data.shape_keys, *cube.children, *cube.modifiers, *cube.constraints)
    if any(each is not None for each in used) or cube.matrix_world != Matrix() or len(cube.data.vertices) != 8:
        return False
    corners = np.empty(24, np.float32)
    cube.data.vertices.foreach_get("co", corners)
    return bool((np.abs(corners) == 1.0).all())
