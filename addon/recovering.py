# SPDX-License-Identifier: GPL-3.0-or-later
"""The job behind the button: from a source to a drawn recovery, as one undo step."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..wire.messages import RecoverRequest, Recovery
from . import compat, editors, jobs, preferences
from .background import footage_behind
from .default_cube import hide_default_cube
from .scene import Drawing, draw_recovery
from .scene_replace import ROLE
from .sources import Source
from .take_store import keep_take
from .translations import tr


def start(source: Source, scene: bpy.types.Scene, keep_camera: bool = False, **fields) -> jobs.Job:
    """Ask for a recovery; `fields` are those of a RecoverRequest. Returns at once. Raises AddonError.

    With `keep_camera` the scene's own camera stays the scene's: it is the one that was given.
    """
    scene = bpy.data.scenes.get(source.scene_name) or scene
    attached = source.path if preferences.sends_pictures() and source.data is None else None
    request = RecoverRequest(jobs.new_id(), source.path, source.data, frames=source.frames, **fields)
    place = Place(source, scene.name, getattr(scene, "session_uid", 0), keep_camera)
    return jobs.start(source.title, request, place.draw, attached)


@dataclass(frozen=True)
class Place:
    """Where a recovery is to be drawn; names only, since undo and other files exchange the data itself."""

    source: Source
    scene_name: str
    scene_uid: int = 0
    keep_camera: bool = False

    def draw(self, job: jobs.Job, answer: Recovery) -> Drawing:
        """Draw the recovery as one undo step. Raises DrawError."""
        scene, camera = self._scene(job), answer.take.camera
        own_camera = scene.camera if scene.camera is not None and ROLE not in scene.camera else None
        footage = footage_behind(self.source, camera.width, camera.height, answer.upright)
        if footage is None:
            job.notes.append("Blender cannot show this picture, so the camera has no background.")
        drawing = draw_recovery(answer, footage, scene, self.source.timeline, self.source.place)
        keep_take(answer.take, drawing.collection, job.notes)
        if self.keep_camera and own_camera is not None:
            scene.camera = own_camera
        if not bpy.app.background:
            show(drawing, job.notes)
        compat.push_undo("Recover Body")
        return drawing

    def _scene(self, job: jobs.Job) -> bpy.types.Scene:
        for scene in bpy.data.scenes:
            if (self.scene_uid and scene.session_uid == self.scene_uid) or scene.name == self.scene_name:
                return scene
        scene = bpy.context.scene
        job.notes.append(f"The scene {self.scene_name} is gone, so this was drawn into {scene.name}.")
        return scene


def show(drawing: Drawing, notes: list[str]) -> None:
    """Look through the recovered camera, so that the character is seen on its picture at once."""
    for window in bpy.context.window_manager.windows:
        if drawing.camera.name in window.scene.objects:
            if drawing.camera == window.scene.camera and hide_default_cube(window.scene):
                notes.append(tr("Blender's default cube stood in the way and was hidden."))
            editors.look_through_camera(window.screen)
            editors.fit_camera_views(window.screen)
            for area in window.screen.areas:
                area.tag_redraw()
