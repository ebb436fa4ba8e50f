# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that Blender knows already, as the camera of a request: the scene's own, or the one solved for a clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import bpy
import numpy as np
from mathutils import Matrix

from ..wire.frames import FLIP_CV_BLENDER_CAMERA, BlenderLens, intrinsics_from_lens
from ..wire.messages import GivenCamera
from ..wire.take import CameraTrack
from .background import footage_size
from .errors import SourceError
from .sources import Source, frame_count


def given_camera(which: str, source: Source, scene: bpy.types.Scene, lock_lens: bool = False) -> GivenCamera:
    """The scene's camera (which = SCENE) or the clip's solved one (CLIP). Raises SourceError."""
    given = _solved(source) if which == "CLIP" else _of_scene(source, scene)
    if not lock_lens:
        return given
    middle = len(given.frame_numbers) // 2
    fixed = {n: np.full_like(getattr(given.track, n), getattr(given.track, n)[middle]) for n in ("fx_px", "fy_px")}
    return replace(given, track=replace(given.track, **fixed))


# ---------------------------------------------------------------------------------------------- the scene's camera


def _of_scene(source: Source, scene: bpy.types.Scene) -> GivenCamera:
    camera = scene.camera
    if camera is None or camera.type != "CAMERA" or camera.data.type != "PERSP":
        raise SourceError(
            "The scene has no perspective camera.", "Add one and aim it as the real one was, or choose another lens."
        )
    size = footage_size(source)
    if not _is_animated(camera):
        here = scene == bpy.context.scene
        seen = camera.evaluated_get(bpy.context.evaluated_depsgraph_get()) if here else camera
        return _track(np.array([source.frames.first]), [_row(seen, scene, size)], size)
    numbers, rows = source_frames(source), []
    with _aside(camera, scene) as stage:
        for frame in source.timeline.to_scene(numbers):
            whole = int(np.floor(frame))
            stage.frame_set(whole, subframe=float(frame - whole))
            rows.append(_row(camera.evaluated_get(stage.view_layers[0].depsgraph), scene, size))
    return _track(numbers, rows, size)


@contextmanager
def _aside(camera: bpy.types.Object, scene: bpy.types.Scene) -> Iterator[bpy.types.Scene]:
    """A scene of its own with nothing in it but the camera, and what moves it, to go through frames.

    The artist's scene would be evaluated as a whole, frame by frame; it would lose what is posed and not keyed, and
    simulations would jump.
    """
    changes = (bpy.app.handlers.frame_change_pre, bpy.app.handlers.frame_change_post)
    others = [list(handlers) for handlers in changes]
    stage = bpy.data.scenes.new("Recover Body camera")
    try:
        for handlers in changes:
            handlers.clear()
        stage.render.fps, stage.render.fps_base = scene.render.fps, scene.render.fps_base
        stage.active_clip = scene.active_clip  # a Camera Solver constraint may ask for it
        stage.collection.objects.link(camera)
        yield stage
    finally:
        bpy.data.scenes.remove(stage)
        for handlers, before in zip(changes, others, strict=True):
            handlers.extend(before)


def _row(seen: bpy.types.Object, scene: bpy.types.Scene, size: tuple[int, int]) -> tuple:
    """((fx, fy, cx, cy), T_world_camera) of a camera as it stands in a moment."""
    data, (width, height) = seen.data, size
    fit = data.sensor_fit
    if fit == "AUTO":
        aspect = width * scene.render.pixel_aspect_x, height * scene.render.pixel_aspect_y
        fit, sensor_mm = ("HORIZONTAL" if aspect[0] >= aspect[1] else "VERTICAL"), data.sensor_width
    else:
        sensor_mm = data.sensor_width if fit == "HORIZONTAL" else data.sensor_height
    lens = BlenderLens(
        lens_mm=data.lens,
        sensor_fit=fit,
        sensor_mm=sensor_mm,
        shift_x=data.shift_x,
        shift_y=data.shift_y,
        width=width,
        height=height,
        pixel_aspect_x=scene.render.pixel_aspect_x,
        pixel_aspect_y=scene.render.pixel_aspect_y,
    )
    place, turn, _ = seen.matrix_world.decompose()
    return intrinsics_from_lens(lens), np.array(Matrix.LocRotScale(place, turn, None), np.float64)


def _is_animated(camera: bpy.types.Object) -> bool:
    """Whether anything may move or zoom it."""
    chain, owner = [camera.data], camera
    while owner is not None:
        chain.append(owner)
        owner = owner.parent
    return any(getattr(c, "constraints", ()) for c in chain) or any(c.animation_data is not None for c in chain)


# ---------------------------------------------------------------------------------------------- the solved clip


def _solved(source: Source) -> GivenCamera:
    clip = bpy.data.movieclips.get(source.clip_name)
    if clip is None:
        raise SourceError("A solved camera belongs to a movie clip.", "Open the clip in a Clip Editor and start there.")
    tracking = clip.tracking
    if not tracking.reconstruction.is_valid:
        raise SourceError(
            f"The camera of {clip.name} is not solved.", "Solve it in the Clip Editor, or choose another lens."
        )
    size, lens = tuple(clip.size), tracking.camera
    fx_px, (right, up) = lens.focal_length_pixels, lens.principal_point_pixels
    intrinsics = (fx_px, fx_px * lens.pixel_aspect, right, size[1] - up)
    numbers = source_frames(source)
    # Marker frames count from 1 at the clip's start.
    own = np.rint(source.timeline.to_scene(numbers)).astype(int) - clip.frame_start + 1
    known = [camera.frame for camera in tracking.reconstruction.cameras]
    inside = (own >= min(known)) & (own <= max(known))
    if not inside.all():
        raise SourceError(
            f"{clip.name} is solved for frames {min(known)} to {max(known)} only.",
            "Solve it for all frames, or choose Scene Range and a range that is solved.",
        )
    matrices = [tracking.reconstruction.cameras.matrix_from_frame(frame=int(frame)) for frame in own]
    return _track(numbers, [(intrinsics, np.array(matrix, np.float64)) for matrix in matrices], size)


# ---------------------------------------------------------------------------------------------- what both share


def source_frames(source: Source) -> np.ndarray:
    """Every number from the first to the last frame that is asked for."""
    last = source.frames.last
    if last is None:
        last = frame_count(source) if source.is_clip else source.frames.first
    return np.arange(source.frames.first, last + 1)


def _track(numbers: np.ndarray, rows: list[tuple], size: tuple[int, int]) -> GivenCamera:
    fx, fy, cx, cy = np.array([intrinsics for intrinsics, _ in rows], np.float64).T
    poses = np.array([matrix for _, matrix in rows]) @ FLIP_CV_BLENDER_CAMERA
    return GivenCamera(numbers, CameraTrack(fx, fy, cx, cy, *size, poses, "given"))
