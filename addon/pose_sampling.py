# SPDX-License-Identifier: GPL-3.0-or-later
"""What bones do over time, as Blender evaluates it: keys, constraints, drivers and an artist's changes included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np


def action_frames(owner: bpy.types.Object, scene: bpy.types.Scene) -> np.ndarray:
    """(N,) whole frames of the timeline in which `owner` is animated; the present one where it is not."""
    animation = owner.animation_data
    ranges = []
    if animation is not None:
        ranges += [animation.action.frame_range] if animation.action is not None else []
        ranges += [(strip.frame_start, strip.frame_end) for track in animation.nla_tracks for strip in track.strips]
    if not ranges:
        return np.array([scene.frame_current])
    first, last = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return np.arange(int(np.floor(first)), int(np.ceil(last)) + 1)


def sample_bones(owner: bpy.types.Object, frames: Sequence[int], scene: bpy.types.Scene) -> np.ndarray:
    """(N, bones, 4, 4) armature-space matrix of every pose bone, in the order of `owner.pose.bones`, at `frames`."""
    count = len(owner.pose.bones)
    matrices = np.empty((len(frames), count, 4, 4))
    buffer = np.empty(count * 16, np.float32)
    with _only_bones(scene):
        for row, frame in enumerate(frames):
            scene.frame_set(int(frame))
            owner.pose.bones.foreach_get("matrix", buffer)
            matrices[row] = buffer.reshape(count, 4, 4).transpose(0, 2, 1)  # Blender stores columns
    return matrices


def rest_matrices(owner: bpy.types.Object) -> np.ndarray:
    """(bones, 4, 4) armature-space matrix of every bone at rest, in the order of `owner.pose.bones`."""
    return np.array([bone.bone.matrix_local for bone in owner.pose.bones], np.float64)


@contextmanager
def _only_bones(scene: bpy.types.Scene) -> Iterator[None]:
    """Nobody looks at the meshes while bones are read: without their skinning a frame takes a tenth of the time."""
    frame, subframe = scene.frame_current, scene.frame_subframe
    hidden = [o for o in scene.objects if o.type == "MESH" and not o.hide_viewport and o.library is None]
    for mesh in hidden:
        mesh.hide_viewport = True
    try:
        yield
    finally:
        for mesh in hidden:
            mesh.hide_viewport = False
        scene.frame_set(frame, subframe=subframe)
