# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames that look wrong, as markers on the timeline: where an animator should look first."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..wire.take import PersonTrack, Take
from .timeline import FrameMap

BAD_OVERLAP = 0.6
"""Below this share the body's silhouette no longer lies on the person."""
BAD_REPROJECTION_PERCENT = 5.0
"""Above this percentage of the person's height the joints are visibly beside the picture's."""
MARKERS = "recover_body_markers"
"""Custom property of the recovery's collection: the markers it owns, each "frame name", a line each."""

_GAP = 3
"""Bad frames so close to each other are one place to look at."""


@dataclass(frozen=True)
class BadRange:
    """Frames (indices into the take) in which one person looks wrong."""

    person: str
    first: int
    last: int
    worst: int
    reason: str
    """What is wrong in the worst frame, in a few words."""


def bad_ranges(person: PersonTrack) -> list[BadRange]:
    """Where the verdict on `person` is bad, in order of time."""
    overlap = np.where(person.present, person.overlay_iou, np.nan)
    off = np.where(person.present, person.reprojection_percent, np.nan)
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero((overlap < BAD_OVERLAP) | (off > BAD_REPROJECTION_PERCENT))
    if not len(bad):
        return []
    # How many times worse than allowed, by whichever of the two is worse.
    badness = np.fmax(np.nan_to_num(BAD_OVERLAP - overlap, nan=0.0) / BAD_OVERLAP, 0) + np.fmax(
        np.nan_to_num(off / BAD_REPROJECTION_PERCENT - 1, nan=0.0), 0
    )
    ranges = []
    for group in np.split(bad, np.flatnonzero(np.diff(bad) > _GAP) + 1):
        worst = int(group[np.argmax(badness[group])])
        if overlap[worst] < BAD_OVERLAP:
            reason = f"overlap {100 * overlap[worst]:.0f} %"
        else:
            reason = f"joints off by {off[worst]:.0f} %"
        ranges.append(BadRange(person.name, int(group[0]), int(group[-1]), worst, reason))
    return ranges


def mark_bad_frames(
    collection: bpy.types.Collection, take: Take, timeline: FrameMap, scene: bpy.types.Scene
) -> list[BadRange]:
    """Mark the bad ranges of a clip at their worst frames, in place of the markers an earlier run left."""
    unmark(collection, scene)
    if len(take.frame_numbers) < 2:
        return []
    ranges = [found for person in take.people for found in bad_ranges(person)]
    names = []
    for found in ranges:
        frame = round(float(timeline.to_scene([take.frame_numbers[found.worst]])[0]))
        marker = scene.timeline_markers.new(f"{found.person}: {found.reason}", frame=frame)
        names.append(f"{marker.frame} {marker.name}")
    collection[MARKERS] = "\n".join(names)
    return ranges


def unmark(collection: bpy.types.Collection, scene: bpy.types.Scene) -> None:
    """Take away the markers of `collection` that still are where and what they were."""
    own = set(str(collection.get(MARKERS, "")).splitlines())
    for marker in [m for m in scene.timeline_markers if f"{m.frame} {m.name}" in own]:
        scene.timeline_markers.remove(marker)
    collection[MARKERS] = ""
