# SPDX-License-Identifier: GPL-3.0-or-later
"""Frozen dataclasses to bytes and back: one line of JSON, then exactly the array bytes it announces.

    {"kind": "Progress", "protocol": 1, "fields": {…}, "arrays": [{"dtype": "<f4", "shape": [2, 3]}, …]}\\n<raw bytes>

Inside `fields`, `{"$array": 0}` stands for the first array and `{"$bytes": 0}` for raw bytes. There is no pickle
anywhere, sizes are checked before memory is taken, and a message that ends too early is an error rather than an end.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

PROTOCOL = 1
MAX_HEADER_BYTES = 4 << 20
MAX_BODY_BYTES = 4 << 30
_ALLOWED_KINDS = "biuf"  # booleans, integers and floats; objects and strings never travel as arrays


class WireError(ValueError):
    """The bytes are not a message of this protocol."""


class Truncated(WireError):
    """The bytes end in the middle of a message."""


class Oversize(WireError):
    """The message announces more bytes than the limit allows."""


class ProtocolMismatch(WireError):
    """The other side speaks another version of the protocol."""


# ---------------------------------------------------------------------------------------------- values <-> trees


def to_tree(value: Any, arrays: list[np.ndarray]) -> Any:
    """Turn a dataclass (or a part of one) into JSON-ready values; arrays and bytes are appended to `arrays`.

    An array that is several fields, as what a take has seen and shows, travels once.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_tree(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        portable = _portable(value)
        index = next((i for i, known in enumerate(arrays) if known is portable), len(arrays))
        arrays += [portable] * (index == len(arrays))
        return {"$array": index}
    if isinstance(value, bytes | bytearray | memoryview):
        arrays.append(np.frombuffer(value, np.uint8))
        return {"$bytes": len(arrays) - 1}
    if isinstance(value, tuple | list):
        return [to_tree(v, arrays) for v in value]
    if isinstance(value, dict):
        return {str(k): to_tree(v, arrays) for k, v in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise WireError(f"{value} cannot travel as a plain number; use None or an array")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise WireError(f"a {type(value).__name__} cannot travel")


def from_tree(kind: Any, tree: Any, arrays: list[np.ndarray]) -> Any:
    """Build a value of the annotated type `kind` from a tree; the inverse of `to_tree`. Raises WireError."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if tree is None:
            return None
        (inner,) = [a for a in typing.get_args(kind) if a is not type(None)]
        return from_tree(inner, tree, arrays)
    if dataclasses.is_dataclass(kind):
        return _dataclass_from_tree(kind, tree, arrays)
    if kind is np.ndarray or kind is bytes:
        key = "$array" if kind is np.ndarray else "$bytes"
        if not isinstance(tree, dict) or set(tree) != {key} or not _is_index(tree[key], len(arrays)):
            raise WireError(f"expected a reference to {'an array' if kind is np.ndarray else 'bytes'}")
        array = arrays[tree[key]]
        return array if kind is np.ndarray else array.tobytes()
    if origin is tuple:
        if not isinstance(tree, list):
            raise WireError("expected a list")
        args = typing.get_args(kind)
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(from_tree(args[0], v, arrays) for v in tree)
        if len(args) != len(tree):
            raise WireError(f"expected {len(args)} values, got {len(tree)}")
        return tuple(from_tree(a, v, arrays) for a, v in zip(args, tree, strict=True))
    if kind is dict or origin is dict:
        if not isinstance(tree, dict):
            raise WireError("expected an object")
        return tree
    if kind is Any:
        return tree
    if kind is float and isinstance(tree, int) and not isinstance(tree, bool):
        return float(tree)
    if not isinstance(tree, kind) or (kind is int and isinstance(tree, bool)):
        raise WireError(f"expected {kind.__name__}, got {type(tree).__name__}")
    return tree


@functools.cache
def _fields_of(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass_from_tree(kind: Any, tree: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        raise WireError(f"expected the fields of a {kind.__name__}")
    hints = _fields_of(kind)
    missing = [f.name for f in dataclasses.fields(kind) if f.name not in tree and not _has_default(f)]
    unknown = sorted(set(tree) - set(hints))
    if missing or unknown:
        raise WireError(f"{kind.__name__}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
    values = {}
    for name, value in tree.items():
        try:
            values[name] = from_tree(hints[name], value, arrays)
        except WireError as error:
            raise WireError(f"{kind.__name__}.{name}: {error}") from None
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:  # a dataclass checks its own shapes and ranges
        raise WireError(f"{kind.__name__}: {error}") from None


def _has_default(f: dataclasses.Field) -> bool:
    return f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING


def _is_index(value: Any, length: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < length


def _portable(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in _ALLOWED_KINDS:
        raise WireError(f"an array of {array.dtype} cannot travel")
    # `ascontiguousarray` would turn a 0-d array into a 1-d one.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


# ---------------------------------------------------------------------------------------------- messages <-> bytes


def encode(message: Any) -> bytes:
    """A whole message as bytes."""
    arrays: list[np.ndarray] = []
    fields = to_tree(message, arrays)
    header = {
        "kind": type(message).__name__,
        "protocol": PROTOCOL,
        "fields": fields,
        "arrays": [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays],
    }
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Linux file names may hold bytes that are no text: Python has them as lone surrogates, and json reads those back.
    line = text.encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > MAX_HEADER_BYTES:
        raise Oversize(f"the header has {len(line)} bytes, the limit is {MAX_HEADER_BYTES}")
    return b"".join([line, *(a.tobytes() for a in arrays)])


@dataclasses.dataclass(frozen=True)
class _Header:
    kind: str
    fields: dict
    arrays: list[tuple[np.dtype, tuple[int, ...]]]
    body_bytes: int


def _parse_header(line: bytes) -> _Header:
    try:
        tree = json.loads(line)
        kind, protocol, fields, specs = (tree[k] for k in ("kind", "protocol", "fields", "arrays"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WireError(f"not a message header: {line[:80]!r}") from None
    if protocol != PROTOCOL:
        raise ProtocolMismatch(f"the other side speaks protocol {protocol!r}, this side speaks {PROTOCOL}")
    arrays, total = [], 0
    try:
        for spec in specs:
            dtype, shape = np.dtype(str(spec["dtype"])), tuple(int(n) for n in spec["shape"])
            if dtype.kind not in _ALLOWED_KINDS or dtype.hasobject or any(n < 0 for n in shape):
                raise WireError(f"array {spec} is not allowed")
            arrays.append((dtype, shape))
            total += math.prod(shape) * dtype.itemsize  # Python integers: cannot overflow
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        raise WireError(f"bad array description: {error}") from None
    if total > MAX_BODY_BYTES:
        raise Oversize(f"the message announces {total} bytes, the limit is {MAX_BODY_BYTES}")
    return _Header(str(kind), fields, arrays, total)


def _build(header: _Header, body: bytes | bytearray) -> Any:
    from . import messages  # here, because messages know the take and the take knows this module

    kind = messages.KINDS.get(header.kind)
    if kind is None:
        raise WireError(f"unknown kind of message {header.kind[:80]!r}")
    arrays, offset = [], 0
    for dtype, shape in header.arrays:
        count = math.prod(shape)
        # A copy, so that the arrays are aligned, writable and do not keep the whole body alive.
        arrays.append(np.frombuffer(body, dtype, count, offset).reshape(shape).copy())
        offset += count * dtype.itemsize
    return from_tree(kind, header.fields, arrays)


class Decoder:
    """Collects bytes as they arrive and gives messages as they become whole. Used where nothing may block."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: _Header | None = None

    def feed(self, data: bytes) -> Iterator[Any]:
        """Add `data`; yield each message that is complete by now. Raises WireError on bytes that cannot be one."""
        self._buffer += data
        while True:
            if self._header is None:
                end = self._buffer.find(b"\n", 0, MAX_HEADER_BYTES + 1)
                if end < 0:
                    if len(self._buffer) > MAX_HEADER_BYTES:
                        raise Oversize(f"no header within {MAX_HEADER_BYTES} bytes")
                    return
                self._header = _parse_header(bytes(self._buffer[:end]))
                del self._buffer[: end + 1]
            if len(self._buffer) < self._header.body_bytes:
                return
            header, size = self._header, self._header.body_bytes
            body = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._header = None
            yield _build(header, body)

    def close(self) -> None:
        """Say that no more bytes will come. Raises Truncated if a message was under way."""
        if self._buffer or self._header is not None:
            raise Truncated("the stream ended in the middle of a message")


def decode(data: bytes) -> Any:
    """The one message in `data`. Raises WireError if there is none, more than one, or a part of one."""
    decoder = Decoder()
    found = list(decoder.feed(data))
    decoder.close()
    if len(found) != 1:
        raise WireError(f"expected one message, found {len(found)}")
    return found[0]


def write_message(stream: BinaryIO, message: Any) -> None:
    """Write one message and flush."""
    stream.write(encode(message))
    stream.flush()


def read_message(stream: BinaryIO) -> Any | None:
    """Wait for one message; None at a clean end of the stream. Raises WireError."""
    line = stream.readline(MAX_HEADER_BYTES + 1)
    if not line:
        return None
    if not line.endswith(b"\n"):
        if len(line) > MAX_HEADER_BYTES:
            raise Oversize(f"no header within {MAX_HEADER_BYTES} bytes")
        raise Truncated("the stream ended in the middle of a header")
    header = _parse_header(line)
    body = bytearray()
    while len(body) < header.body_bytes:
        piece = stream.read(min(header.body_bytes - len(body), 1 << 24))
        if not piece:
            raise Truncated(f"the stream ended after {len(body)} of {header.body_bytes} bytes")
        body += piece
    return _build(header, body)
