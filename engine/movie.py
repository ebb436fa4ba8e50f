# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures to a movie file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MissingPackage

_CODECS = (("libx264", {"crf": "20", "preset": "veryfast"}), ("mpeg4", {"q": "3"}))
"""The first that this build of FFmpeg has. Both play everywhere."""


@contextmanager
def movie(path: Path, rate: Fraction) -> Iterator[Callable[[np.ndarray, int], None]]:
    """Write an MP4: yields add(picture (H, W, 3) uint8 sRGB, time in frames of `rate`)."""
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
        size: tuple[int, int] | None = None

        def add(picture: np.ndarray, time: int) -> None:
            nonlocal size
            height, width = (side // 2 * 2 for side in picture.shape[:2])  # 4:2:0 knows even sizes only
            if size is None:
                size = stream.height, stream.width = height, width
            # A caption may need a row more or less from one frame to the next.
            canvas = np.zeros((*size, 3), np.uint8)
            rows, columns = min(size[0], height), min(size[1], width)
            canvas[:rows, :columns] = picture[:rows, :columns]
            frame = av.VideoFrame.from_ndarray(canvas, format="rgb24")
            frame.pts, frame.time_base = time, 1 / rate
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode())
