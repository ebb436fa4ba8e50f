# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips of the Sequencer: which frames of the file a movie or image strip shows, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy

from ..wire.messages import FrameRange
from . import compat
from .errors import SourceError
from .numbered import pattern_and_number
from .source_clip import source_from_clip
from .sources import Source, frame_count, source_from_file
from .timeline import FrameMap

_TAKEN = ("MOVIE", "IMAGE", "MOVIECLIP")
_OTHERS = {
    "META": ("is a meta strip, which holds several strips.", "Open it (Tab) and select the movie or image inside."),
    "SCENE": ("is a scene, not footage.", "Render it to a movie, or select a movie or image strip."),
    "SOUND": ("is sound.", "Select a movie or image strip."),
}


def refusal(strip: bpy.types.ID) -> tuple[str, str] | None:
    """Why a strip of this kind cannot be recovered from, and what to do instead; None where it can. Quick."""
    if strip.type in _TAKEN:
        return None
    why, remedy = _OTHERS.get(strip.type, ("has no footage of its own.", "Select the movie or image strip below it."))
    return f"The strip {strip.name} {why}", remedy


def key_of_strip(strip: bpy.types.ID) -> str:
    """The `Source.path` of a strip's footage; "" where it has none. Quick."""
    if strip.type == "MOVIE":
        return str(Path(bpy.path.abspath(strip.filepath)).expanduser().resolve())
    try:
        return source_from_strip(strip, bpy.context.scene).path if strip.type in _TAKEN else ""
    except SourceError:
        return ""


def source_from_strip(strip: bpy.types.ID, scene: bpy.types.Scene) -> Source:
    """What the strip shows of its file on the timeline of `scene`. Raises SourceError."""
    if told := refusal(strip):
        raise SourceError(*told)
    if strip.type == "MOVIECLIP":
        if strip.clip is None:
            raise SourceError(f"The strip {strip.name} has no clip.")
        source = source_from_clip(strip.clip)
        content_first = source.frames.first
    elif strip.type == "MOVIE":
        source = source_from_file(bpy.path.abspath(strip.filepath))
        content_first = 1
    else:
        source = _pictures(strip)
        content_first = source.frames.first
    at, times = dict(scene_name=scene.name, place=strip.name), compat.times_of_strip(strip)
    if not source.is_clip:
        return replace(source, timeline=FrameMap.starting(1, times.left), **at)
    _refuse_speed_effects(strip, scene)
    first = content_first + times.trim_start
    timeline = _timeline(strip, source, first, scene)
    low, high = sorted(timeline.shown_at([times.left, times.right - 1]).tolist())
    low = max(first, low)
    if source.frames.last is not None:
        high = min(high, source.frames.last)
    elif not timeline.is_one_to_one:  # where the last frame of the file may last longer than others
        high = min(high, frame_count(source) - times.trim_end)
    if low > high:
        raise SourceError(f"The strip {strip.name} shows none of its frames.", "Trim it less.")
    return replace(source, frames=FrameRange(low, high), timeline=timeline, **at)


def _timeline(strip: bpy.types.ID, source: Source, first: int, scene: bpy.types.Scene) -> FrameMap:
    """Frame `first` of the file is where the strip's content begins, trimmed away or not."""
    times = compat.times_of_strip(strip)
    keys = sorted(float(key.timeline_frame) for key in getattr(strip, "retiming_keys", ()))
    if len(keys) > 2:  # Blender tells nobody which frame of the file a key holds
        raise SourceError(
            f"The strip {strip.name} is retimed in several pieces.",
            "Give it one speed (Strip > Retiming > Reset Retiming), or render it to a movie first.",
        )
    if keys:
        content = frame_count(source) - times.trim_start - times.trim_end
        # The last key holds the last frame up to Blender 4.5, where the content ends from 5.0.
        ends = (first, first + content - (times.content_end - keys[-1]))
        timeline = FrameMap(ends, (keys[0], keys[-1]), False)
    else:
        timeline = FrameMap.starting(first, times.content_start, 1 / _frames_per_frame(strip, source, scene))
    if not strip.use_reverse_frames:
        return timeline
    mirror = times.content_start + times.content_end - 1
    return replace(timeline, scene=tuple(mirror - frame for frame in timeline.scene))


def _refuse_speed_effects(strip: bpy.types.ID, scene: bpy.types.Scene) -> None:
    """Raises SourceError where a speed effect plays the strip at other times than its own."""
    for other in compat.all_strips_of(scene.sequence_editor):
        if other.type == "SPEED" and not other.mute and other.input_1 == strip:
            raise SourceError(
                f"The strip {strip.name} is played by a speed effect ({other.name}), which does not tell when.",
                "Retime the strip itself (Strip > Retiming), or render it to a movie first.",
            )


def _frames_per_frame(strip: bpy.types.ID, source: Source, scene: bpy.types.Scene) -> float:
    """Of the file per frame of the timeline: strips added by hand play at the movie's own rate, which nothing but
    their length tells; strips that scripts add play one frame per frame."""
    if strip.type != "MOVIE" or not strip.fps:
        return 1.0
    rate = strip.fps / (scene.render.fps / scene.render.fps_base)
    if abs(rate - 1) < 1e-6:
        return 1.0
    times = compat.times_of_strip(strip)
    content = frame_count(source) - times.trim_start - times.trim_end
    return 1.0 if content == times.content_end - times.content_start else rate


def _pictures(strip: bpy.types.ID) -> Source:
    """One picture, or pictures that are numbered one after the other."""
    folder = Path(bpy.path.abspath(strip.directory))
    names = [element.filename for element in strip.elements]
    if len(names) == 1:
        return source_from_file(str(folder / names[0]))
    patterns = [pattern_and_number(folder / name) for name in names]
    first = patterns[0][1]
    if any(each != (patterns[0][0], first + place) for place, each in enumerate(patterns)):
        raise SourceError(
            f"The pictures of the strip {strip.name} are not numbered one after the other.",
            "Render the strip to a movie first.",
        )
    return Source(patterns[0][0], is_clip=True, frames=FrameRange(first, first + len(names) - 1))
