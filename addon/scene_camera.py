# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovered camera: exact lens, shift and sensor, the render size that goes with it, and the picture behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import bpy
import numpy as np
from mathutils import Matrix

from ..wire.frames import BlenderLens, blender_camera_matrix, lens_from_intrinsics
from ..wire.take import CameraTrack, Take
from .pose_math import continuous, matrix_to_quaternion
from .scene_animation import Curves, TakeAction
from .timeline import SAME_FRAMES, FrameMap

CLIP_START_M, CLIP_END_M = 0.01, 1000.0


def draw_camera(
    take: Take,
    image: bpy.types.Image | bpy.types.MovieClip | None,
    collection: bpy.types.Collection,
    timeline: FrameMap = SAME_FRAMES,
) -> bpy.types.Object:
    """Draw the take's camera into `collection`, with `image` behind it, fitted exactly."""
    data = bpy.data.cameras.new("Recovered camera")
    camera = bpy.data.objects.new(data.name, data)
    collection.objects.link(camera)
    camera.rotation_mode = "QUATERNION"

    lens = lens_at(take.camera, 0)
    data.sensor_fit = lens.sensor_fit
    data.sensor_width = lens.sensor_mm * (1.0 if lens.sensor_fit == "HORIZONTAL" else lens.width / lens.height)
    data.sensor_height = lens.sensor_mm * (1.0 if lens.sensor_fit == "VERTICAL" else lens.height / lens.width)
    data.lens, data.shift_x, data.shift_y = lens.lens_mm, lens.shift_x, lens.shift_y
    data.clip_start, data.clip_end = CLIP_START_M, CLIP_END_M
    camera.matrix_world = Matrix(blender_camera_matrix(take.camera.pose(0)))
    action = TakeAction("Camera take")
    lens_curves = cache(lambda: action.animate(data))  # made when the first of its properties is keyed
    if not take.camera.is_static:
        _key(action.animate(camera), lens_curves(), take, timeline)
    if image is not None:
        _show_behind(data, image, take, timeline, lens_curves)
    return camera


def frame_scene(scene: bpy.types.Scene, camera: bpy.types.Object, track: CameraTrack) -> None:
    """Make `camera` the scene's and give the render the size and pixel shape of the picture."""
    lens = lens_at(track, 0)
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = lens.width, lens.height, 100
    render.pixel_aspect_x, render.pixel_aspect_y = lens.pixel_aspect_x, lens.pixel_aspect_y
    render.use_border = False
    scene.camera = camera


def lens_at(track: CameraTrack, frame: int) -> BlenderLens:
    """Blender's words for the pinhole of one frame (index)."""
    i = 0 if track.is_static else frame
    values = (float(a[i]) for a in (track.fx_px, track.fy_px, track.cx_px, track.cy_px))
    return lens_from_intrinsics(*values, track.width, track.height)


def _key(camera_curves: Curves, lens_curves: Curves, take: Take, timeline: FrameMap) -> None:
    frames = timeline.to_scene(take.frame_numbers)
    matrices = blender_camera_matrix(take.camera.T_world_camera)
    camera_curves.key("location", frames, matrices[:, :3, 3])
    turns = continuous(matrix_to_quaternion(matrices[:, :3, :3])[:, None])[:, 0]
    camera_curves.key("rotation_quaternion", frames, turns)
    lenses = [lens_at(take.camera, i) for i in range(len(frames))]
    for path, field in (("lens", "lens_mm"), ("shift_x", "shift_x"), ("shift_y", "shift_y")):
        lens_curves.key(path, frames, np.array([getattr(lens, field) for lens in lenses]))


def _show_behind(
    data: bpy.types.Camera,
    footage: bpy.types.Image | bpy.types.MovieClip,
    take: Take,
    timeline: FrameMap,
    lens_curves: Callable[[], Curves],
) -> None:
    """STRETCH fills the camera's frame whatever the picture's own pixel shape, so it lies exactly on the render."""
    background = data.background_images.new()
    background.frame_method, background.display_depth, background.alpha = "STRETCH", "BACK", 1.0
    if isinstance(footage, bpy.types.MovieClip):  # which knows itself when it plays
        background.source, background.clip = "MOVIE_CLIP", footage
    else:
        background.image = footage
        if footage.source in ("MOVIE", "SEQUENCE"):
            _play_behind(background.image_user, take, timeline, lens_curves)
    data.show_background_images = True


def _play_behind(user: bpy.types.ImageUser, take: Take, timeline: FrameMap, lens_curves: Callable[[], Curves]) -> None:
    """At frame n Blender shows n - frame_start + 1 + frame_offset of the file, frame_start to frame_duration later."""
    ends = np.sort(timeline.to_scene([int(take.frame_numbers[0]), int(take.frame_numbers[-1])]))
    first, last = int(np.floor(ends[0])), int(np.ceil(ends[1]))
    user.frame_start, user.frame_duration, user.use_auto_refresh = first, last - first + 1, True
    scene_frames = np.arange(first, last + 1)
    offsets = timeline.shown_at(scene_frames) - (scene_frames - first + 1)
    user.frame_offset = int(offsets[0])
    if timeline.is_one_to_one:
        return
    changes = np.r_[True, np.diff(offsets) != 0]  # another rate: the offset is keyed where it changes
    lens_curves().key(_OFFSET, scene_frames[changes], offsets[changes], stepped=True)


_OFFSET = "background_images[0].image_user.frame_offset"
