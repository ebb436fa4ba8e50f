# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing safetensors one tensor at a time, so that 2.8 GB of weights never lie in memory together.

The `safetensors` package wants all tensors at once. The format: length of the header (8 bytes, little endian), the
header in JSON, then the values one after the other. Reading is left to the package, which maps the file into memory:
large tensors come first and at multiples of `ALIGNMENT`, as processors like to read them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

ALIGNMENT = 64
"""Bytes; a line of the cache, and what torch's own memory is aligned to."""


def write(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    values: Callable[[str], np.ndarray],
    *,
    progress: Callable[[float], None] = lambda fraction: None,
) -> str:
    """Write the named tensors as float32; `values(name)` is asked once per name. Returns the sha256."""
    header: dict[str, object] = {}
    end = 0
    # The format allows no gaps, so what would push the others out of line comes last.
    shapes = dict(sorted(shapes.items(), key=lambda item: 4 * math.prod(item[1]) % ALIGNMENT != 0))
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-(8 + len(encoded)) % ALIGNMENT)
    digest, written = hashlib.sha256(), 0
    with path.open("xb") as file:
        for part in (len(encoded).to_bytes(8, "little"), encoded):
            file.write(part)
            digest.update(part)
        for name, shape in shapes.items():
            tensor = np.asarray(values(name), np.float32, order="C")
            if tensor.shape != tuple(shape):
                raise ValueError(f"{name} has shape {tensor.shape}, not {tuple(shape)}")
            raw = tensor.reshape(-1).view(np.uint8).data
            file.write(raw)
            digest.update(raw)
            written += tensor.nbytes
            progress(written / max(end, 1))
        file.flush()
    return digest.hexdigest()


def sha256_of(path: Path, progress: Callable[[float], None] = lambda fraction: None) -> str:
    """sha256 of a file on disk, in hexadecimal."""
    digest, done, size = hashlib.sha256(), 0, max(path.stat().st_size, 1)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            done += len(block)
            progress(done / size)
    return digest.hexdigest()
