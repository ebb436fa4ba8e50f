# SPDX-License-Identifier: GPL-3.0-or-later
"""What to recover from: a file, an image, a strip or a clip, each with the frames that are shown and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ..wire.messages import ALL_FRAMES, FrameRange
from . import compat
from .errors import SourceError
from .numbered import is_pattern, numbers_of
from .timeline import SAME_FRAMES, FrameMap


@dataclass(frozen=True)
class Source:
    """A picture or clip, ready to be sent."""

    path: str
    """Absolute path, a pattern of numbered pictures (shot_####.png), or a name where there is no file."""
    data: bytes | None = None
    """The encoded file where the engine cannot read it itself."""
    image_name: str = ""
    """The Blender image it came from."""
    clip_name: str = ""
    """The Blender movie clip it came from."""
    is_clip: bool = False
    """Whether it has several frames."""
    frames: FrameRange = ALL_FRAMES
    """The frames that are shown where it was taken from."""
    timeline: FrameMap = SAME_FRAMES
    """Where they are shown."""
    scene_name: str = ""
    """The scene on whose timeline they are shown, if any."""
    place: str = ""
    """Where in that scene: the name of the strip; "" where there is none. Each place has a result of its own."""

    @property
    def title(self) -> str:
        """What people call it."""
        return Path(self.path).name or self.path


def source_from_file(path: str) -> Source:
    """A picture, movie, folder or pattern on disk. Raises SourceError when there is no such thing."""
    absolute = Path(bpy.path.abspath(path)).expanduser()
    if is_numbered(str(absolute)):  # which has no rate of its own
        return Source(str(absolute.absolute()), is_clip=True, timeline=replace(SAME_FRAMES, sets_time=False))
    if not absolute.is_file():
        raise SourceError(f"There is no file {absolute}.", "Check the name, or choose another picture.")
    return Source(str(absolute.resolve()), is_clip=is_movie_name(absolute.name))


def is_numbered(path: str) -> bool:
    """Whether it names numbered pictures: a pattern, or a folder of them."""
    return is_pattern(path) or (Path(path).is_dir() and bool(numbers_of(path)))


def is_movie_name(name: str) -> bool:
    """Whether Blender would play a file of this name as a movie."""
    return Path(name).suffix.lower() in bpy.path.extensions_movie


def chosen_source(context: bpy.types.Context, filepath: str = "", image: str = "", setting: str = "") -> Source:
    """The file or image named, else what the editor shows, else the panel's file (`setting`). Raises SourceError."""
    from .source_clip import source_from_clip
    from .source_image import source_from_image
    from .source_strip import source_from_strip

    if filepath:
        return source_from_file(filepath)
    if image:
        if image not in bpy.data.images:
            raise SourceError(f"There is no image called {image}.")
        return source_from_image(bpy.data.images[image])
    space = context.space_data
    kind = space.type if space is not None else ""
    if kind == "IMAGE_EDITOR" and space.image is not None:
        return source_from_image(space.image, space.image_user)
    if kind == "CLIP_EDITOR" and space.clip is not None:
        return source_from_clip(space.clip)
    if kind == "SEQUENCE_EDITOR" and (strip := compat.active_strip(context)) is not None:
        return source_from_strip(strip, compat.sequencer_scene(context))
    if setting:
        return source_from_file(setting)
    raise SourceError("No picture is chosen.")


def narrowed(source: Source, which: str, step: int, scene: bpy.types.Scene) -> Source:
    """The same with the frames the artist asked for: ALL that are shown, those of the SCENE's range, or the CURRENT.

    Raises SourceError when the source shows none of them.
    """
    if not source.is_clip:
        return source
    if which == "ALL":
        return replace(source, frames=replace(source.frames, step=step))
    if which == "CURRENT":
        first, last = scene.frame_current, scene.frame_current
    elif scene.use_preview_range:
        first, last = scene.frame_preview_start, scene.frame_preview_end
    else:
        first, last = scene.frame_start, scene.frame_end
    low, high = sorted(source.timeline.shown_at([first, last]).tolist())
    low = max(low, source.frames.first)
    high = high if source.frames.last is None else min(high, source.frames.last)
    if low > high:
        asked = f"frame {first}" if first == last else f"frames {first} to {last}"
        raise SourceError(f"{source.title} is not shown at {asked} of the timeline.", "Go to a frame that shows it.")
    return replace(source, frames=FrameRange(low, high, step))


def frame_shown(source: Source, scene: bpy.types.Scene) -> int:
    """The frame of the source that the timeline shows now; the nearest one it has."""
    if not source.is_clip:
        return 1
    shown = int(source.timeline.shown_at([scene.frame_current])[0])
    last = shown if source.frames.last is None else source.frames.last
    return max(source.frames.first, min(shown, last))


def frame_count(source: Source) -> int:
    """Frames of a movie or a numbered sequence on disk, as Blender counts them. Raises SourceError."""
    path = Path(source.path)
    if not path.is_file():
        numbers = numbers_of(source.path)
        if not numbers:
            raise SourceError(f"There are no pictures {source.path}.", "Check the name.")
        return numbers[-1]
    try:
        clip = bpy.data.movieclips.load(source.path)
    except RuntimeError:
        raise SourceError(f"{source.title} cannot be read.", "Choose another file.") from None
    try:
        return clip.frame_duration
    finally:
        bpy.data.movieclips.remove(clip)
