# SPDX-License-Identifier: GPL-3.0-or-later
"""Movie clips of the Clip Editor."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..wire.messages import FrameRange
from .errors import SourceError
from .numbered import pattern_and_number
from .sources import Source
from .timeline import FrameMap


def source_from_clip(clip: bpy.types.MovieClip) -> Source:
    """The clip's file, playing from its own start frame. Raises SourceError."""
    path = Path(bpy.path.abspath(clip.filepath, library=clip.library))
    if not path.exists():
        raise SourceError(f"There is no file {path}.", "Find it with File > External Data.")
    source, first = str(path.resolve()), 1
    if clip.source == "SEQUENCE":
        source, first = pattern_and_number(path)
    start = first + clip.frame_offset
    return Source(
        source,
        clip_name=clip.name,
        is_clip=True,
        frames=FrameRange(start, first + clip.frame_duration - 1),
        timeline=FrameMap.starting(start, clip.frame_start),
    )
