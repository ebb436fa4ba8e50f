# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures to a movie file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MissingPackage

_CODECS = (("libx264", {"crf": "20", "preset": "veryfast"}), ("mpeg4", {"q": "3"}))
"""The first that this build of FFmpeg has. Both play everywhere."""


@contextmanager
def movie(
    path: Path, rate: Fraction, size: tuple[int, int] | None = None
) -> Iterator[Callable[[np.ndarray, int], None]]:
    """Write an MP4: yields add(picture (H, W, 3) uint8 sRGB, time in frames of `rate`).

    `size` is height and width, by default the first picture's; others are cut, or lie on black.
    """
    try:
        import av
    except ImportError as error:
        raise MissingPackage(f"Movies cannot be written ({error}): the package av is missing.") from None
    codec, options = next((name, how) for name, how in _CODECS if name in av.codecs_available)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(
            codec, rate=rate, options=options
        )  # which codec, and so which kind, is chosen above
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / rate

        shape: tuple[int, int] | None = None

        def add(picture: np.ndarray, time: int) -> None:
            nonlocal shape
            if shape is None:
                height, width = size or picture.shape[:2]
                shape = height // 2 * 2, width // 2 * 2  # 4:2:0 knows even sizes only
                stream.height, stream.width = shape
            # A caption may need a row more or less from one frame to the next.
            canvas = np.zeros((*shape, 3), np.uint8)
            rows, columns = min(shape[0], picture.shape[0]), min(shape[1], picture.shape[1])
            canvas[:rows, :columns] = picture[:rows, :columns]
            frame = av.VideoFrame.from_ndarray(canvas, format="rgb24")
            frame.pts, frame.time_base = time, 1 / rate
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode())


def join(path: Path, parts: Sequence[tuple[Path, int]], rate: Fraction) -> None:
    """Put MP4s that `movie` wrote alike one after the other, each beginning at its time in frames of `rate`."""
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as whole:
        out: Any = None
        for part, start in parts:
            with av.open(str(part)) as container:
                stream = container.streams.video[0]
                out = out or whole.add_stream_from_template(stream)
                for packet in container.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue  # the end
                    later = round(start / rate / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, out
                    whole.mux(packet)
