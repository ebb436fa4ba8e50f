# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drawn recovery is the same as another: that of one footage, made for one place, of frames that meet.

Two strips of one file are two places, and so are frames 1-50 and 51-100 of it: each keeps a result of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..wire.take import Take

SOURCE = "recover_body_source"
"""Custom property of a recovery's collection: the source of its take."""
PLACE = "recover_body_place"
"""Custom property of it: the strip it was made for, "" for the file itself; absent in files of earlier versions."""
RANGE = "recover_body_range"
"""Custom property of it: the first and the last frame of the source that its take has; absent in earlier versions."""


@dataclass(frozen=True)
class Identity:
    """What a recovery was made of."""

    source: str
    """Path, pattern or name, as in its take."""
    place: str | None
    """As in `Source.place`; None where that is not known, which any place is."""
    frames: tuple[int, int] | None
    """First and last frame of the source; None where they are not known, which any frames are."""

    @classmethod
    def of_take(cls, take: Take, place: str | None) -> Identity:
        """Of what is about to be drawn."""
        return cls(take.source, place, (int(take.frame_numbers[0]), int(take.frame_numbers[-1])))

    @classmethod
    def of(cls, collection: bpy.types.Collection) -> Identity | None:
        """Of what is drawn; None for a collection that holds no recovery."""
        if SOURCE not in collection:
            return None
        frames = tuple(map(int, collection[RANGE])) if RANGE in collection else None
        return cls(collection[SOURCE], collection.get(PLACE), frames)

    def write(self, collection: bpy.types.Collection) -> None:
        """Note it where `of` finds it."""
        collection[SOURCE] = self.source
        if self.place is not None:
            collection[PLACE] = self.place
        if self.frames is not None:
            collection[RANGE] = self.frames

    def is_same(self, other: Identity) -> bool:
        """Whether one takes the other's place."""
        if self.source != other.source or (None not in (self.place, other.place) and self.place != other.place):
            return False
        if self.frames is None or other.frames is None:
            return True
        return self.frames[0] <= other.frames[1] and other.frames[0] <= self.frames[1]


def find_recovery(scene: bpy.types.Scene, wanted: Identity) -> bpy.types.Collection | None:
    """The collection in which an earlier run drew the same, wherever it was moved and whatever its name is now.

    Where several are, the one of exactly that place and those frames.
    """
    known = ((collection, Identity.of(collection)) for collection in scene.collection.children_recursive)
    same = [(collection, found) for collection, found in known if found is not None and wanted.is_same(found)]
    return min(same, key=lambda pair: pair[1] != wanted, default=(None, None))[0]
