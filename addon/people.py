# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in a source: asks the engine, and keeps the list that the artist ticks, names and shortens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy

from ..wire.messages import FindPeopleRequest, PeopleFound
from . import compat, editors, jobs, preferences
from .properties import settings_of
from .sources import Source, frame_shown

_SAME_BOX = 0.3
"""Overlap (intersection over union) from which on somebody found again is who was found before."""


def start(source: Source, scene: bpy.types.Scene) -> jobs.Job:
    """Look for people in the source, of a clip in the frame that is shown now. Returns at once. Raises AddonError."""
    attached = source.path if preferences.sends_pictures() and source.data is None else None
    request = FindPeopleRequest(jobs.new_id(), source.path, source.data, frame_shown(source, scene))
    return jobs.start(f"People in {source.title}", request, _Place(source.path, scene.name).fill, attached)


@dataclass(frozen=True)
class _Place:
    source: str
    scene_name: str

    def fill(self, job: jobs.Job, answer: PeopleFound) -> None:
        """Put everybody into the scene's list. Names and ticks stay with whoever was there before."""
        scene = bpy.data.scenes.get(self.scene_name) or bpy.context.scene
        settings = settings_of(scene)
        before = [(tuple(p.box_px), p.name, p.use) for p in people_of(scene, self.source)]
        for index in reversed([i for i, p in enumerate(settings.found) if p.source == self.source]):
            settings.found.remove(index)
        taken = {name for _, name, _ in before}
        for box_px in answer.boxes_px.tolist():
            old = max(before, key=lambda known, box=box_px: overlap(known[0], box), default=None)
            person = settings.found.add()
            person.source, person.frame, person.box_px = self.source, answer.frame, box_px
            person.width, person.height = answer.width, answer.height
            if old is not None and overlap(old[0], box_px) > _SAME_BOX:
                before.remove(old)
                _, person.name, person.use = old
            else:
                person.name = _new_name(taken)
            taken.add(person.name)
        if len(answer.boxes_px):
            settings.people = "CHOSEN"
        else:
            job.notes.append(f"Nobody was found in frame {answer.frame}.")
        editors.redraw_pictures()
        compat.push_undo("Find People")


def people_of(scene: bpy.types.Scene, source: str) -> Iterator[bpy.types.PropertyGroup]:
    """Everybody in the list who was found in that source."""
    return (person for person in settings_of(scene).found if person.source == source)


def person_at(
    scene: bpy.types.Scene, source: str, frame: int, x_px: float, y_px: float
) -> bpy.types.PropertyGroup | None:
    """Who is at a place of the picture: of several the one with the smallest box."""
    there = [
        person
        for person in people_of(scene, source)
        if person.frame == frame
        and person.box_px[0] <= x_px <= person.box_px[2]
        and person.box_px[1] <= y_px <= person.box_px[3]
    ]
    return min(there, key=lambda p: (p.box_px[2] - p.box_px[0]) * (p.box_px[3] - p.box_px[1]), default=None)


def overlap(a, b) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either > 0 else 0.0


def _new_name(taken: set[str]) -> str:
    number = 1
    while f"Person {number}" in taken:
        number += 1
    return f"Person {number}"
