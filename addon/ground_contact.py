# SPDX-License-Identifier: GPL-3.0-or-later
"""A character that stands on the floor: its lowest point is brought to z = 0 by moving its root bone."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from .scene_rig import ROOT


def snap_to_ground(rig: bpy.types.Object, body: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> float:
    """Move the root so that the body's lowest point, as it is now, lies at z = 0; returns by how much, metres."""
    lowest = lowest_point_m(body, depsgraph)
    root = rig.pose.bones[ROOT]
    # From the world's up to the root bone's own axes, whatever object and armature stand like.
    axes = rig.matrix_world.to_3x3() @ root.bone.matrix_local.to_3x3()
    root.location = root.location + axes.inverted() @ Vector((0, 0, -lowest))
    return -lowest


def lowest_point_m(body: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> float:
    """World z of the body's lowest vertex as it is skinned now, metres."""
    seen = body.evaluated_get(depsgraph)
    mesh = seen.to_mesh()
    try:
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
    finally:
        seen.to_mesh_clear()
    matrix = np.array(seen.matrix_world)
    return float((points.reshape(-1, 3) @ matrix[2, :3]).min() + matrix[2, 3])
