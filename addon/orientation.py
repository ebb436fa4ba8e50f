# SPDX-License-Identifier: GPL-3.0-or-later
"""EXIF orientation, which Blender ignores. No bpy."""

from __future__ import annotations

import struct

import numpy as np

_ORIENTATION_TAG = 0x0112
_MARKERS = (b"Exif\0\0", b"eXIf", b"EXIF")  # JPEG (and some WebP), PNG, WebP
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def exif_orientation(data: bytes) -> int:
    """1 to 8 as EXIF has it; 1 (upright) where an encoded picture says nothing or nothing sensible."""
    if data[:4] in _BYTE_ORDERS:  # a TIFF file is itself what EXIF embeds
        return _orientation_in_tiff(data, 0)
    for marker in _MARKERS:
        start = data.find(marker)
        while start >= 0:
            # WebP puts the chunk's four-byte length between marker and content.
            for offset in (start + len(marker), start + len(marker) + 4):
                if data[offset : offset + 4] in _BYTE_ORDERS:
                    return _orientation_in_tiff(data, offset)
            start = data.find(marker, start + 1)
    return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(height, width, …) pixels, top row first, as stored -> as meant to be seen."""
    flipped = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    # After the mirror, these are turned by so many quarters, counter-clockwise.
    return np.rot90(flipped, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation])


def _orientation_in_tiff(data: bytes, start: int) -> int:
    order = _BYTE_ORDERS[data[start : start + 4]]
    try:
        (directory,) = struct.unpack_from(f"{order}I", data, start + 4)
        (count,) = struct.unpack_from(f"{order}H", data, start + directory)
        for entry in range(start + directory + 2, start + directory + 2 + 12 * count, 12):
            tag, kind, length, value = struct.unpack_from(f"{order}HHIH", data, entry)
            if tag == _ORIENTATION_TAG:
                return value if kind == 3 and length == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass  # cut off: the engine says so, if it matters
    return 1
