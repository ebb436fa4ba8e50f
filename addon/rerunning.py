# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything after the network once more, from the take of a drawn recovery; and motion files as drawn characters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from ..wire import amass
from ..wire.amass import BACKEND as AMASS
from ..wire.messages import CameraHint, Recovery, RerunRequest
from ..wire.motion import MotionOptions
from ..wire.take import Take, TakeError, read_take
from . import compat, jobs
from .background import footage_behind
from .chosen_result import rigs_in
from .errors import SourceError
from .identity import PLACE, Identity, find_recovery
from .recovering import show
from .scene import Drawing, draw_recovery
from .scene_replace import ROLE, TIMELINE, objects_by_role
from .sources import source_from_file
from .take_store import keep_take, take_of
from .timeline import SAME_FRAMES, FrameMap

_KEPT = CameraHint()


def start(
    collection: bpy.types.Collection,
    scene: bpy.types.Scene,
    motion: MotionOptions | None = None,
    camera: CameraHint = _KEPT,
    everybody: bool = False,
) -> jobs.Job:
    """Do it again for the recovery in `collection`, which the answer then replaces. Returns at once. Raises AddonError.

    People whose rig was deleted stay away, unless `everybody` is wanted back; names that rigs were given become theirs.
    """
    take = take_of(collection)
    rigs = rigs_in(collection)
    known = {person.id for person in (*take.people, *take.seen)}
    people = None if everybody and not take.seen else tuple(sorted(known if everybody else known & set(rigs)))
    if people == ():
        raise SourceError("None of the people in the take is in the scene.", "Ask for everybody.")
    names = {str(number): rig.name.removesuffix(" rig") for number, rig in rigs.items() if number in known}
    request = RerunRequest(jobs.new_id(), take, motion, camera, people, names)
    timeline = tuple(collection[TIMELINE]) if TIMELINE in collection else ()
    place = _Place(scene.name, timeline, collection.get(PLACE))
    return jobs.start(f"Again: {Path(take.source).stem}", request, place.draw)


def start_import(path: str, scene: bpy.types.Scene, set_time: bool = True) -> jobs.Job:
    """Draw the take or the AMASS motion in the file at `path`. Returns at once. Raises AddonError."""
    take = read_motion(path)
    timeline = FrameMap(SAME_FRAMES.source, SAME_FRAMES.scene, set_time)
    place = _Place(scene.name, tuple(timeline.to_numbers()))
    return jobs.start(Path(path).name, RerunRequest(jobs.new_id(), take), place.draw)


def read_motion(path: str) -> Take:
    """A take, or AMASS motion as a take. Raises SourceError."""
    absolute = Path(bpy.path.abspath(path)).expanduser()
    try:
        if amass.is_amass(absolute):
            motion, notes = amass.read_amass(absolute)
            return amass.as_take(motion, str(absolute), notes)
        return read_take(absolute)
    except TakeError as error:
        raise SourceError(str(error), "Choose a .take.npz of Recover Body, or an AMASS / SMPL-X .npz.") from None


def footage_of(collection: bpy.types.Collection) -> bpy.types.Image | bpy.types.MovieClip | None:
    """What lies behind the recovery's camera."""
    camera = objects_by_role(collection).get("camera")
    for background in camera.data.background_images if camera is not None else ():
        return background.clip if background.source == "MOVIE_CLIP" else background.image
    return None


def _footage_on_disk(take: Take) -> bpy.types.Image | bpy.types.MovieClip | None:
    """What the take in a file was recovered from, if it is still where it was."""
    if take.backend == AMASS:
        return None
    try:
        return footage_behind(source_from_file(take.source), take.camera.width, take.camera.height)
    except SourceError:
        return None


@dataclass(frozen=True)
class _Place:
    """Where the answer is drawn; names only, since undo and other files exchange the data itself."""

    scene_name: str
    timeline: tuple[float, ...]
    place: str | None = ""
    """The strip that the recovery was made for; None where an earlier version did not say."""

    def draw(self, job: jobs.Job, answer: Recovery) -> Drawing:
        """In place of what is drawn of the same footage, as one undo step. Raises DrawError."""
        scene = bpy.data.scenes.get(self.scene_name) or bpy.context.scene
        own_camera = scene.camera if scene.camera is not None and ROLE not in scene.camera else None
        old = find_recovery(scene, Identity.of_take(answer.take, self.place))
        footage = footage_of(old) if old is not None else _footage_on_disk(answer.take)
        timeline = FrameMap.from_numbers(self.timeline) if self.timeline else SAME_FRAMES
        drawing = draw_recovery(answer, footage, scene, timeline, self.place)
        if own_camera is not None and (old is not None or drawing.camera is None):
            scene.camera = own_camera  # the artist's, for instance the one that was given
        elif drawing.camera is not None and old is None and not bpy.app.background:
            show(drawing, job.notes)
        keep_take(answer.take, drawing.collection, job.notes)
        compat.push_undo("Recover Body Again")
        return drawing
