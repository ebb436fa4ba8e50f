# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay of a whole clip, as a movie: drawn on all processors a few frames ahead of the encoder.

Long clips are written in parts, which an interrupted run keeps, and which are put together without encoding them anew.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..wire.messages import FrameRange
from ..wire.take import Take
from .blas import one_blas_thread
from .footage import open_footage
from .kept_steps import KeptSteps, digest
from .movie import join, movie
from .overlay import draw_overlay, overlay_size

LONGEST_SIDE_PX = 1280
PART = 256
"""Frames of a part."""
_AHEAD = 2
"""Frames that wait for each drawing thread."""


def write_overlay_movie(
    path: Path,
    source: str,
    take: Take,
    tell: Callable[[int], None] = lambda _: None,
    keep_in: Path | None = None,
) -> None:
    """Draw every frame of `take` over its clip `source`; MP4. `tell` hears how many frames are done.

    Parts are kept in the folder `keep_in`, and taken from there where an earlier run drew the same.
    """
    rate = Fraction(take.fps).limit_denominator(1001)
    size = overlay_size(take, LONGEST_SIDE_PX)
    count, first = len(take.frame_numbers), int(take.frame_numbers[0])
    what = digest([take.people, take.camera, take.frame_numbers, take.drift_px, source, size])
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".overlay") as folder:
        kept, parts = KeptSteps(keep_in or Path(folder)), []
        for start in range(0, count, PART):
            rows = range(start, min(start + PART, count))

            def write(part: Path, rows: range = rows) -> None:
                with movie(part, rate, size) as add:
                    for frame, drawn in _drawn(source, take, rows):
                        add(drawn, int(take.frame_numbers[frame] - take.frame_numbers[rows[0]]))
                        tell(frame + 1)

            parts.append(kept.file(f"overlay-{start:08d}.mp4", [what, start], write))
            tell(rows[-1] + 1)
        join(path, [(part, int(take.frame_numbers[n * PART]) - first) for n, part in enumerate(parts) if part], rate)


def _drawn(source: str, take: Take, rows: range) -> Iterator[tuple[int, np.ndarray]]:
    """Index and overlay of the take's frames in `rows` that can be decoded, in order."""
    threads = os.cpu_count() or 1

    def draw(frame: int, picture: np.ndarray) -> tuple[int, np.ndarray]:
        return frame, draw_overlay(picture, take, frame, LONGEST_SIDE_PX, supersampling=1)

    with one_blas_thread(), ThreadPoolExecutor(threads, thread_name_prefix="overlay") as pool:
        waiting: deque[Future] = deque()
        try:
            for frame, picture in pictures(source, None, take, rows):
                waiting.append(pool.submit(draw, frame, picture))
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def pictures(
    source: str, data: bytes | None, take: Take, rows: Iterable[int] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and picture of the take's frames that can be decoded; only of `rows`, if they are given."""
    index = {int(take.frame_numbers[row]): row for row in (range(len(take.frame_numbers)) if rows is None else rows)}
    footage = open_footage(source, data, FrameRange(min(index), max(index)))
    for number, picture in zip(footage.frame_numbers, footage.images, strict=True):
        if picture is not None and int(number) in index:
            yield index[int(number)], picture
