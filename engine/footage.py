# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request names, as footage: a still is a clip of one frame."""

from __future__ import annotations

from ..wire.messages import ALL_FRAMES, FrameRange
from . import clips, frames, sequences
from .frames import Footage


def open_footage(source: str, data: bytes | None = None, wanted: FrameRange = ALL_FRAMES) -> Footage:
    """A movie, a numbered sequence of pictures, or a still. Raises errors.BadInput or one of its kinds."""
    if clips.is_clip(source):
        return clips.read(source, data, wanted)
    if data is None and source and sequences.is_sequence(source):
        return sequences.read(source, wanted)
    return frames.read(source, data)
