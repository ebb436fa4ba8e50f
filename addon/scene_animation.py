# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, written in bulk, and the scene's time."""

from __future__ import annotations

import bpy
import numpy as np

from ..wire.take import Take
from . import compat
from .timeline import FrameMap


class TakeAction:
    """One action for everything that belongs together: pose and shape, or camera and lens.

    Where actions have slots (Blender 4.4 and later) it is really one, so that a take can be swapped as a whole; before
    that every datablock gets an action of its own.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._shared: bpy.types.Action | None = None

    def animate(self, owner: bpy.types.ID) -> Curves:
        """Start animating `owner`, which must not be animated yet."""
        if compat.HAS_SLOTS:
            self._shared = self._shared or bpy.data.actions.new(self._name)
            return Curves(*compat.action_curves(self._shared, owner))
        return Curves(*compat.action_curves(bpy.data.actions.new(f"{self._name} {owner.name}"), owner))


class Curves:
    """The F-curves of one datablock."""

    def __init__(self, fcurves, groups) -> None:
        self._fcurves, self._groups = fcurves, groups

    def key(
        self, data_path: str, frames: np.ndarray, values: np.ndarray, group: str = "", stepped: bool = False
    ) -> None:
        """Key a property at `frames` (N,); `values` is (N,) for a number, (N, components) for a vector.

        With `stepped` each value holds until the next key.
        """
        columns = values[:, None] if values.ndim == 1 else values
        points = np.empty((len(frames), 2), np.float32)
        points[:, 0] = frames
        for index, column in enumerate(columns.T):
            curve = self._fcurves.new(data_path, index=index)
            points[:, 1] = column
            curve.keyframe_points.add(len(points))
            curve.keyframe_points.foreach_set("co", points.ravel())
            # A key on every frame leaves nothing to ease between: straight lines neither overshoot nor lag.
            curve.keyframe_points.foreach_set(
                "interpolation", np.full(len(points), _STEPPED if stepped else _LINEAR, np.int32)
            )
            curve.update()
            if group:
                curve.group = self._groups.get(group) or self._groups.new(group)

    def key_smooth(
        self, data_path: str, frames: np.ndarray, values: np.ndarray, slopes: np.ndarray, group: str = ""
    ) -> None:
        """Key a vector at `frames` (N,) with `values` (N, components), passing through each with its slope (per frame).

        Handles a third of the way to the neighbours make Blender's curve the cubic with these values and slopes.
        """
        steps = np.diff(frames, prepend=frames[:1] - 1, append=frames[-1:] + 1)
        for index, (column, slope) in enumerate(zip(values.T, slopes.T, strict=True)):
            curve = self._fcurves.new(data_path, index=index)
            curve.keyframe_points.add(len(frames))
            for name, step in (("co", 0.0), ("handle_left", -steps[:-1] / 3), ("handle_right", steps[1:] / 3)):
                points = np.stack([frames + step, column + slope * step], -1)
                curve.keyframe_points.foreach_set(name, points.astype(np.float32).ravel())
            for side in ("handle_left_type", "handle_right_type"):
                curve.keyframe_points.foreach_set(side, np.full(len(frames), _ALIGNED, np.int32))
            curve.keyframe_points.foreach_set("interpolation", np.full(len(frames), _BEZIER, np.int32))
            curve.update()
            if group:
                curve.group = self._groups.get(group) or self._groups.new(group)


_KINDS = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items
_LINEAR, _STEPPED, _BEZIER = (_KINDS[kind].value for kind in ("LINEAR", "CONSTANT", "BEZIER"))
_ALIGNED = bpy.types.Keyframe.bl_rna.properties["handle_left_type"].enum_items["ALIGNED"].value


def set_time(scene: bpy.types.Scene, take: Take, timeline: FrameMap) -> None:
    """Give the scene the clip's rate and length. A still leaves the scene's time as it is, and so does footage that
    lies on its timeline."""
    frames = timeline.to_scene(take.frame_numbers)
    if len(frames) < 2 or not timeline.sets_time:
        return
    scene.render.fps = max(1, round(take.fps))
    scene.render.fps_base = scene.render.fps / take.fps
    scene.frame_start, scene.frame_end = int(frames[0]), int(frames[-1])
    scene.frame_set(int(frames[0]))
