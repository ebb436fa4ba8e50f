# SPDX-License-Identifier: GPL-3.0-or-later
"""Movie files to pictures, one at a time: memory does not grow with the clip's length.

A clip is read twice. First its packets are listed without decoding, which takes milliseconds and tells which frames
there are; then each iteration over the pictures decodes, a few frames ahead in a thread of its own. A frame that is
damaged comes as None, so that whoever iterates stays in step.

Frame numbers are those of Blender's timeline: frame n is what the movie shows (n - 1) / fps seconds after its start,
with the rate Blender itself plays the file with. So clips of variable frame rate skip numbers instead of drifting.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..wire.messages import ALL_FRAMES, FrameRange
from .errors import BadRequest, EmptyFile, MissingPackage, UnreadableClip
from .frames import Footage, check_size

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".mxf"),
    *(".3gp", ".wmv", ".flv", ".ogv", ".vob", ".dv"),
)

Item = TypeVar("Item")
AHEAD = 4
"""Frames decoded before they are asked for."""
_HIGHEST_FPS = 240
"""A guessed rate above this is a time base, not a rate."""


def is_clip(name: str) -> bool:
    """Whether a file of this name is read as a movie."""
    return name.lower().endswith(SUFFIXES)


def read(source: str, data: bytes | None = None, wanted: FrameRange = ALL_FRAMES) -> Footage:
    """The clip at the path `source`, or in `data` (then `source` is only its name); its pictures are not decoded yet.

    Raises errors.UnreadableClip, EmptyFile, ImageTooLarge or ImageTooSmall for the file, BadRequest for the range.
    """
    name = Path(source).name or source
    if data is not None and not data:
        raise EmptyFile(f"{name} is empty: it has no bytes.")
    layout = _layout(source, data, name)
    chosen = _chosen(layout.numbers, wanted, name)
    images = ClipImages(source, data, name, layout, chosen)
    return Footage(
        name=name,
        images=images,
        frame_numbers=layout.numbers[chosen],
        fps=layout.fps,
        exif_focal_36mm=None,
        width=images.width,
        height=images.height,
        notes=layout.notes,
    )


@dataclass(frozen=True)
class _Layout:
    """What a clip's packets tell before anything is decoded."""

    times: np.ndarray | None
    """(N,) presentation times in time-base units, ascending; None where the file has none and frames are counted."""
    numbers: np.ndarray
    """(N,) frame numbers, ascending."""
    fps: float
    quarter_turns: int
    """How often the stored picture is turned anticlockwise by 90 degrees to stand upright."""
    width: int
    """Of the stored picture with square pixels, before it is turned."""
    height: int
    notes: tuple[str, ...]


class ClipImages:
    """The chosen frames of a clip, decoded anew in each iteration. Yields (H, W, 3) uint8 sRGB or None."""

    def __init__(self, source: str, data: bytes | None, name: str, layout: _Layout, chosen: np.ndarray) -> None:
        self._source, self._data, self._name = source, data, name
        self._layout, self._chosen = layout, chosen
        turned = layout.quarter_turns % 2
        self.width, self.height = (layout.height, layout.width) if turned else (layout.width, layout.height)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, rows: slice) -> ClipImages:
        return ClipImages(self._source, self._data, self._name, self._layout, self._chosen[rows])

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return ahead(self._pictures()) if len(self._chosen) else iter(())

    def _pictures(self) -> Iterator[np.ndarray | None]:
        """Every chosen frame in turn."""
        waiting = iter(self._chosen)
        expected = next(waiting)
        for position, frame in self._decoded():
            while expected is not None and expected < position:  # these never came out of the decoder
                yield None
                expected = next(waiting, None)
            if expected is None:
                return
            if position == expected:
                yield None if frame.is_corrupt else self._upright(frame)
                expected = next(waiting, None)
        while expected is not None:
            yield None
            expected = next(waiting, None)

    def _decoded(self):
        """(position among all of the clip's frames, frame) from the last key frame before the first chosen one."""
        times, last = self._layout.times, self._chosen[-1]
        with _opened(self._source, self._data, self._name) as (container, stream):
            stream.thread_type = "AUTO"
            if times is not None and self._chosen[0] > 0:
                container.seek(int(times[self._chosen[0]]), stream=stream, backward=True)
            for count, frame in enumerate(_frames_of(container, stream)):
                position = count if times is None else _position(times, frame.pts)
                if position is None:
                    continue
                if position > last:
                    return
                yield position, frame

    def _upright(self, frame) -> np.ndarray:
        pixels = frame.to_ndarray(format="rgb24", width=self._layout.width, height=self._layout.height)
        return np.ascontiguousarray(np.rot90(pixels, self._layout.quarter_turns))


def _position(times: np.ndarray, time: int | None) -> int | None:
    """Where in ascending `times` a time is; None where it is not."""
    if time is None:
        return None
    position = int(np.searchsorted(times, time))
    return position if position < len(times) and times[position] == time else None


def ahead(pictures: Iterator[Item]) -> Generator[Item, None, None]:
    """The same pictures, or what was made of them, a few ahead in a thread of their own."""
    ready: queue.Queue = queue.Queue(AHEAD)
    stopped = threading.Event()

    def offer(item: object) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for picture in pictures:
                offer(("picture", picture))
                if stopped.is_set():
                    return
            offer(("end", None))
        except BaseException as error:  # raised again where the pictures are used
            offer(("error", error))

    worker = threading.Thread(target=work, name="decoder", daemon=True)
    worker.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        worker.join()


def _layout(source: str, data: bytes | None, name: str) -> _Layout:
    with _opened(source, data, name) as (container, stream):
        times, counted, damaged = [], 0, False
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    counted += 1
                    times.append(packet.pts)
        except _ffmpeg_errors():
            damaged = True  # what came before can be read
        promised = stream.frames
        first = _first_frame(source, data, name)
        if first is None:
            raise UnreadableClip(f"{name} has no frame that can be decoded.")
        fps = _rate(stream)
        base, start = stream.time_base, stream.start_time
    counts_frames = any(time is None for time in times)
    if counts_frames:
        numbers, ordered = np.arange(1, counted + 1), None
    else:
        ordered = np.unique(np.array(times, np.int64))
        origin = ordered[0] if start is None else min(start, int(ordered[0]))
        numbers = np.array([round((int(t) - origin) * base * fps) + 1 for t in ordered])
        # Two frames within one of the timeline's: it shows the first.
        kept = np.r_[True, np.diff(numbers) > 0]
        ordered, numbers = ordered[kept], numbers[kept]
    width, height, turns = first
    check_size(name, width, height)
    notes: tuple[str, ...] = ()
    if damaged or promised > counted:
        notes = (f"{name} is cut short or damaged: {counted} of {max(promised, counted)} frames are in the file.",)
    return _Layout(ordered, numbers, float(fps), turns, width, height, notes)


def _first_frame(source: str, data: bytes | None, name: str) -> tuple[int, int, int] | None:
    """Width and height with square pixels, and anticlockwise quarter turns; None where nothing can be decoded."""
    with _opened(source, data, name) as (container, stream):
        for frame in _frames_of(container, stream):
            aspect = stream.sample_aspect_ratio or Fraction(1)
            width = round(frame.width * aspect) if 0.2 < aspect < 5 else frame.width
            return width, frame.height, round(frame.rotation / 90) % 4
    return None


def _frames_of(container, stream) -> Iterator:
    """All frames that can be decoded. Damaged packets are passed over; where the file breaks off, it ends."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except _ffmpeg_errors():
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except _ffmpeg_errors():
            continue


def _rate(stream) -> Fraction:
    """Frames per second as Blender has it: FFmpeg's guess."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0 < rate <= _HIGHEST_FPS:
            return rate
    return Fraction(24)


def _chosen(numbers: np.ndarray, wanted: FrameRange, name: str) -> np.ndarray:
    """Positions of the wanted among the frames. The step counts frames, since numbers may have gaps."""
    last = numbers[-1] if wanted.last is None else wanted.last
    chosen = np.flatnonzero((numbers >= wanted.first) & (numbers <= last))[:: wanted.step]
    if not len(chosen):
        raise BadRequest(
            f"{name} has no frames {wanted.first} to {last}: it has {numbers[0]} to {numbers[-1]}.",
            "Choose other frames.",
        )
    return chosen


@contextmanager
def _opened(source: str, data: bytes | None, name: str):
    """(container, video stream)."""
    try:
        import av
    except ImportError as error:
        raise MissingPackage(f"Movies cannot be read ({error}): the package av is missing.") from None
    # Damaged files make FFmpeg talk about every packet. It must not do so through Python: closing a decoder waits for
    # its threads, and those would wait for the interpreter.
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.PANIC)
    try:
        container = av.open(source if data is None else io.BytesIO(data))
    except FileNotFoundError:
        raise UnreadableClip(f"There is no file {source}.", "Check the spelling and the folder.") from None
    except (PermissionError, IsADirectoryError):
        raise UnreadableClip(f"{source} may not be read.", "Give yourself permission, or copy it elsewhere.") from None
    except (OSError, ValueError) as error:
        if data is None and Path(source).is_file() and not Path(source).stat().st_size:
            raise EmptyFile(f"{name} is empty: it has no bytes.") from None
        raise UnreadableClip(f"{name} is not a movie that can be opened ({_words(error)}).") from None
    with container:
        if not container.streams.video:
            raise UnreadableClip(f"{name} holds no moving picture.", "Choose a file with video in it.")
        yield container, container.streams.video[0]


def _ffmpeg_errors() -> tuple[type[Exception], ...]:
    import av

    return (av.error.FFmpegError, OSError, ValueError)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
