# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's pose landmark networks, made to show what they have seen before they boil it down to landmarks.

Both are TensorFlow Lite files. Which tensors such a file gives away is a list of numbers in it; a longer list is
appended and pointed to, and nothing else is touched, so landmarks stay what they were, bit for bit.
"""

from __future__ import annotations

import struct

MEDIUM, LARGE = "medium", "large"
FEATURE_SHAPE = (8, 8, 288)
"""Rows, columns, channels."""
FEATURES = {MEDIUM: 300, LARGE: 644}
"""Number of the tensor where the branch that tells landmarks begins."""
FEATURE_STEP = {MEDIUM: 6 / 255, LARGE: 12 / 255}
"""Features in whole steps of this fit a byte: none is above 255."""


def with_features(network: bytes, name: str) -> bytes:
    """The same network with the features as its sixth output."""
    data = bytearray(network)
    main = _list(data, _field(data, _at(data, 0), 2))[1]
    graph = main + _uint(data, main)
    outputs = _field(data, graph, 2)
    count, first = _list(data, outputs)
    numbers = struct.unpack_from(f"<{count}i", data, first)
    data += bytes(-len(data) % 4)
    struct.pack_into("<I", data, outputs, len(data) - outputs)
    return bytes(data + struct.pack(f"<I{count + 1}i", count + 1, *numbers, FEATURES[name]))


# ---- as much of the FlatBuffers format as that takes: offsets are relative to where they stand ----


def _uint(data: bytearray, at: int) -> int:
    return struct.unpack_from("<I", data, at)[0]


def _at(data: bytearray, at: int) -> int:
    return at + _uint(data, at)


def _field(data: bytearray, table: int, number: int) -> int:
    """Where a table keeps its field of that number."""
    kinds = table - struct.unpack_from("<i", data, table)[0]
    return table + struct.unpack_from("<H", data, kinds + 4 + 2 * number)[0]


def _list(data: bytearray, field: int) -> tuple[int, int]:
    """Length of the vector in a field, and where its first element stands."""
    vector = _at(data, field)
    return _uint(data, vector), vector + 4
