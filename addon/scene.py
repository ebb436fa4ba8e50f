# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing a whole recovery: its people, its camera and the picture behind, in one collection.

A recovery is drawn completely before anything in the file is touched: if that fails, what was made is removed again.
Only then does it take the place of the collection that an earlier run left for the same footage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath

import bpy

from ..wire.amass import BACKEND as AMASS
from ..wire.messages import Recovery
from .errors import DrawError
from .frame_marks import mark_bad_frames
from .identity import Identity
from .result_properties import note_facts, remember
from .scene_animation import set_time
from .scene_body import DrawnBody, draw_body
from .scene_camera import draw_camera, frame_scene
from .scene_replace import BACKEND, FRAMES, NOTES, ROLE, TIMELINE, put_in_place
from .timeline import SAME_FRAMES, FrameMap

_MADE = ("objects", "meshes", "armatures", "cameras", "actions", "materials", "collections", "scenes")


@dataclass(frozen=True)
class Drawing:
    """What stands in the scene now."""

    collection: bpy.types.Collection
    camera: bpy.types.Object | None
    """None for motion that came from a file: nobody looked at a picture."""
    bodies: tuple[DrawnBody, ...]


def draw_recovery(
    recovery: Recovery,
    image: bpy.types.Image | bpy.types.MovieClip | None = None,
    scene: bpy.types.Scene | None = None,
    timeline: FrameMap = SAME_FRAMES,
    place: str | None = "",
) -> Drawing:
    """Draw `recovery` into `scene` (default: the present one) with `image` behind the camera, keyed along `timeline`.

    A second recovery of the same source for the same `place` (a strip; "" for the file itself; None: whichever the
    first was made for), of frames that meet the first one's, takes the first one's place: names, parents, constraints
    and drivers of other objects that pointed at the old character point at the new one.

    Raises DrawError; then nothing was changed.
    """
    scene = scene or bpy.context.scene
    take = recovery.take
    rigs = {rig.person_id: rig for rig in recovery.rigs}
    with _all_or_nothing():
        fresh = bpy.data.collections.new(f"Recover Body: {PurePath(take.source).stem}")
        camera = draw_camera(take, image, fresh, timeline) if take.backend != AMASS else None
        bodies = tuple(draw_body(rigs[p.id], p, take, fresh, timeline) for p in take.people if p.id in rigs)
        Identity.of_take(take, place).write(fresh)
        fresh[TIMELINE] = timeline.to_numbers()
        note_facts(fresh, take)
        fresh[FRAMES] = len(take.frame_numbers)
        fresh[BACKEND], fresh[NOTES] = f"{take.backend} ({take.device})", "\n".join(take.notes)
        if camera is not None:
            camera[ROLE] = "camera"
        for body in bodies:
            body.rig[ROLE], body.mesh[ROLE] = f"rig {body.person_id}", f"mesh {body.person_id}"
    collection = put_in_place(fresh, scene)
    remember(collection)
    if camera is not None:
        frame_scene(scene, camera, take.camera)
    set_time(scene, take, timeline)
    mark_bad_frames(collection, take, timeline, scene)
    for layer in scene.view_layers:
        layer.update()  # so that callers can read where bones and skin are
    return Drawing(collection, camera, bodies)


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Remove every datablock that was made inside, if what is inside fails."""
    before = {name: set(getattr(bpy.data, name)) for name in _MADE}
    try:
        yield
    except Exception as error:
        made = [block for name in _MADE for block in getattr(bpy.data, name) if block not in before[name]]
        bpy.data.batch_remove(made)
        if isinstance(error, DrawError):
            raise
        raise DrawError(f"The character could not be drawn ({error}).") from error
