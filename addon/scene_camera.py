# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovered camera: exact lens, shift and sensor, the render size that goes with it, and the picture behind."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..wire.frames import BlenderLens, blender_camera_matrix, lens_from_intrinsics
from ..wire.take import CameraTrack, Take
from .pose_math import continuous, matrix_to_quaternion
from .scene_animation import TakeAction

CLIP_START_M, CLIP_END_M = 0.01, 1000.0


def draw_camera(take: Take, image: bpy.types.Image | None, collection: bpy.types.Collection) -> bpy.types.Object:
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
    if not take.camera.is_static:
        _key(camera, take)
    if image is not None:
        _show_behind(data, image, take)
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


def _key(camera: bpy.types.Object, take: Take) -> None:
    frames = take.frame_numbers
    action = TakeAction("Camera take")
    matrices = blender_camera_matrix(take.camera.T_world_camera)
    curves = action.animate(camera)
    curves.key("location", frames, matrices[:, :3, 3])
    curves.key("rotation_quaternion", frames, continuous(matrix_to_quaternion(matrices[:, :3, :3])[:, None])[:, 0])
    lenses = [lens_at(take.camera, i) for i in range(len(frames))]
    curves = action.animate(camera.data)
    for path, field in (("lens", "lens_mm"), ("shift_x", "shift_x"), ("shift_y", "shift_y")):
        curves.key(path, frames, np.array([getattr(lens, field) for lens in lenses]))


def _show_behind(data: bpy.types.Camera, image: bpy.types.Image, take: Take) -> None:
    """STRETCH fills the camera's frame whatever the picture's own pixel shape, so it lies exactly on the render."""
    background = data.background_images.new()
    background.image = image
    background.frame_method, background.display_depth, background.alpha = "STRETCH", "BACK", 1.0
    if len(take.frame_numbers) > 1:
        user = background.image_user
        first, last = int(take.frame_numbers[0]), int(take.frame_numbers[-1])
        # In frames of the movie, of which the take may hold every other one only.
        user.frame_start, user.frame_duration, user.frame_offset = first, last - first + 1, first - 1
        user.use_auto_refresh = True
    data.show_background_images = True
