# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer keys for a recovered character, with an error that is told in pixels of the matched camera."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..wire.frames import FLIP_CV_BLENDER_CAMERA, BlenderLens, intrinsics_from_lens
from . import compat
from .errors import DrawError
from .key_math import Chain, Motion, reduce_keys
from .pose_math import continuous
from .pose_sampling import action_frames, rest_matrices
from .scene_animation import Curves
from .scene_facts import joint_names
from .scene_rig import ROOT


@dataclass(frozen=True)
class Reduced:
    """What became of the keys."""

    keys_before: int
    keys_after: int
    error_px: float
    """Largest distance of any bone's end from where it was, in any frame, seen through the camera."""


def reduce_character(
    rig: bpy.types.Object, camera: bpy.types.Object, scene: bpy.types.Scene, budget_px: float
) -> Reduced:
    """Replace the rig's keys by as few as keep it within `budget_px`. Raises DrawError where there is nothing to do.

    Keys come to lie on whole frames. What an artist animated besides rotations and the pelvis's place is left alone.
    """
    names = joint_names(rig)
    bag = compat.own_curves(rig)
    frames = action_frames(rig, scene).astype(np.float64)
    if bag is None or len(frames) < 3 or not names:
        raise DrawError(f"{rig.name} has no motion whose keys could be fewer.", "Recover a clip.")
    fcurves, groups = bag
    curves = {(c.data_path, c.array_index): c for c in fcurves}
    place = f'pose.bones["{names[0]}"].location'
    paths = [f'pose.bones["{name}"].rotation_quaternion' for name in names]
    motion = Motion(
        frames,
        _unit(np.stack([_sampled(curves, path, frames, rig, 4) for path in paths], 1)),
        _sampled(curves, place, frames, rig, 3),
    )
    keys = reduce_keys(motion, _chain(rig, names, camera, frames, scene), budget_px)

    before = sum(len(c.keyframe_points) for c in fcurves)
    writer = Curves(fcurves, groups)
    for path in (*paths, place):
        for index in range(4):
            if (path, index) in curves:
                fcurves.remove(curves[path, index])
    for column, (name, path) in enumerate(zip(names, paths, strict=True)):
        _write(writer, path, name, motion.times, motion.quaternions[:, column], keys.bones[:, column])
    _write(writer, place, names[0], motion.times, motion.location, keys.location)
    return Reduced(before, sum(len(c.keyframe_points) for c in fcurves), keys.error_px)


def _write(curves: Curves, path: str, group: str, times, values: np.ndarray, keyed: np.ndarray) -> None:
    slopes = np.gradient(values, times, axis=0)
    curves.key_smooth(path, times[keyed], values[keyed], slopes[keyed], group=group)


def _sampled(curves: dict, path: str, frames: np.ndarray, rig: bpy.types.Object, size: int) -> np.ndarray:
    """(N, size) values of a property at whole frames; what is not keyed stays what it is."""
    now = rig.path_resolve(path)
    columns = []
    for index in range(size):
        curve = curves.get((path, index))
        columns.append([curve.evaluate(f) for f in frames.tolist()] if curve else np.full(len(frames), now[index]))
    return np.array(columns).T


def _unit(quaternions: np.ndarray) -> np.ndarray:
    return continuous(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True))


def _chain(
    rig: bpy.types.Object, names: list[str], camera: bpy.types.Object, frames: np.ndarray, scene: bpy.types.Scene
) -> Chain:
    rest = dict(zip((bone.name for bone in rig.pose.bones), rest_matrices(rig), strict=True))
    bones = [rig.data.bones[name] for name in names]
    parents = [names.index(bone.parent.name) if bone.parent.name != ROOT else -1 for bone in bones]
    relative = [np.linalg.inv(rest[bone.parent.name]) @ rest[bone.name] for bone in bones]
    carrier = np.array(rig.matrix_world @ rig.pose.bones[ROOT].matrix, np.float64)
    relative[0] = carrier @ relative[0]
    lengths = np.array([bone.length for bone in bones])
    return Chain(parents, np.array(relative), lengths, camera_projections(camera, frames, scene))


def camera_projections(camera: bpy.types.Object, frames: np.ndarray, scene: bpy.types.Scene) -> np.ndarray:
    """(N, 3, 4) world -> homogeneous pixels of the render, at `frames`."""
    moves = any(owner.animation_data is not None for owner in (camera, camera.data))
    if not moves:
        return np.repeat(_projection(camera, scene)[None], len(frames), 0)
    now, found = scene.frame_current, []
    for frame in frames.tolist():
        scene.frame_set(int(frame))
        found.append(_projection(camera, scene))
    scene.frame_set(now)
    return np.array(found)


def _projection(camera: bpy.types.Object, scene: bpy.types.Scene) -> np.ndarray:
    data, render = camera.data, scene.render
    fit = data.sensor_fit
    if fit == "AUTO":
        fit = "HORIZONTAL" if render.resolution_x >= render.resolution_y else "VERTICAL"
    sensor_mm = data.sensor_width if fit == "HORIZONTAL" or data.sensor_fit == "AUTO" else data.sensor_height
    fx, fy, cx, cy = intrinsics_from_lens(
        BlenderLens(
            data.lens,
            fit,
            sensor_mm,
            data.shift_x,
            data.shift_y,
            render.resolution_x,
            render.resolution_y,
            render.pixel_aspect_x,
            render.pixel_aspect_y,
        )
    )
    intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    to_camera = np.linalg.inv(np.array(camera.matrix_world, np.float64) @ FLIP_CV_BLENDER_CAMERA)
    return intrinsics @ to_camera[:3]
