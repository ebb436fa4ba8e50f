# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading other people's pickles as data, never as a program.

A pickle may name any function of Python and have it called. Weights are published as pickles all the same, so tensors,
arrays and plain containers alone are rebuilt. Classes of other libraries (OmegaConf, yacs, PyTorch-Lightning, chumpy)
become `Inert` objects that keep their state and do nothing; a name out of Python's own library, such as `os.system`, is
refused: no honest file needs it. (`body_pickle.py` reads body models, more strictly still.)
"""

from __future__ import annotations

import codecs
import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import DamagedFile, DangerousFile


class Inert(dict):
    """Any object of a class we do not know: a dictionary that swallows whatever a pickle does to it."""

    items_appended: list

    def __new__(cls, *_arguments: Any, **_named: Any) -> Inert:
        made = super().__new__(cls)
        made.items_appended = []
        return made

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.update(part)

    def append(self, item: Any) -> None:
        self.items_appended.append(item)

    def extend(self, items: Any) -> None:
        self.items_appended.extend(items)

    def add(self, item: Any) -> None:
        self.items_appended.append(item)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class _PlainDict(dict):
    """An OrderedDict without the attributes that PyTorch hangs on it."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a PyTorch file that has not been read yet."""

    archive: zipfile.ZipFile = field(repr=False)
    member: str
    dtype: str
    """numpy's name, or "bfloat16"."""
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Offset and strides in elements, as PyTorch counts them."""

    def read(self) -> np.ndarray:
        """The values; bfloat16 widened to float32. Raises `DamagedFile` where the archive's checksum disagrees."""
        try:
            raw = self.archive.read(self.member)
        except (zipfile.BadZipFile, EOFError, KeyError, OSError) as error:
            raise DamagedFile(f"The file is damaged: {self.member} in it cannot be read ({error}).") from error
        numpy_type = np.dtype(np.uint16 if self.dtype == "bfloat16" else self.dtype)
        flat = np.frombuffer(raw, numpy_type)
        reach = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32 if self.dtype == "bfloat16" else numpy_type)
        if self.offset < 0 or min(self.strides, default=0) < 0 or self.offset + reach > len(flat):
            raise DamagedFile(f"The file is damaged: {self.member} in it is shorter than its tensor.")
        strides = [stride * numpy_type.itemsize for stride in self.strides]
        values = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides, writeable=False)
        if self.dtype == "bfloat16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(values)


_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return codecs.encode(text, "utf-8" if encoding.lower() in ("utf8", "utf-8") else "latin1")


def _new_object(kind: type, *arguments: Any) -> Any:
    return Inert() if kind is Inert else kind.__new__(kind, *arguments)


def _reconstructor(kind: type, base: type, state: Any) -> Any:
    made = Inert()
    if isinstance(state, dict):
        made.update(state)
    return made


def _scalar(dtype: np.dtype, raw: bytes) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise DangerousFile("The file holds a number of a type that no number has. Nothing of it was run.")
    return np.frombuffer(raw, dtype)[0]


def _numpy_array(_kind: type, _shape: tuple, _typecode: bytes) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, (0,), "b")


# What may really be called. Everything else becomes `Inert` or is refused.
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _PlainDict,
    ("collections", "defaultdict"): lambda *_factory: {},
    ("_codecs", "encode"): _encode,
    # How Python pickles nested classes and types such as Dict[str, Any]; nothing is really looked up.
    ("builtins", "getattr"): Inert,
    ("__builtin__", "getattr"): Inert,
    ("operator", "getitem"): Inert,
    ("_operator", "getitem"): Inert,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copyreg", "__newobj__"): _new_object,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
} | {
    (f"numpy.{core}.multiarray", name): function
    for core in ("core", "_core")
    for name, function in {"_reconstruct": _numpy_array, "scalar": _scalar}.items()
}  # fmt: skip

_HARMLESS = (dict, list, tuple, set, frozenset, int, float, bool, str, bytes, bytearray, complex, object)
_HARMLESS_BUILTINS = {kind.__name__: kind for kind in _HARMLESS} | {"unicode": str, "long": int}

# Of Python's own modules, only these may be named; what they name does nothing.
_INERT_STANDARD = {
    *("__main__", "abc", "argparse", "collections", "dataclasses", "datetime", "decimal", "enum", "functools"),
    *("logging", "pathlib", "re", "types", "typing", "uuid"),
}


class DataUnpickler(pickle.Unpickler):
    """Rebuilds containers, numpy arrays and PyTorch tensors; raises `DangerousFile` for what could do more."""

    def __init__(self, stream: BinaryIO, archive: zipfile.ZipFile | None = None, root: str = ""):
        super().__init__(stream, encoding="latin1")
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module in ("builtins", "__builtin__"):
            if name in _HARMLESS_BUILTINS:
                return _HARMLESS_BUILTINS[name]
            raise _refusal(module, name)
        package = module.split(".")[0]
        if package == "torch":
            return self._torch_name(name)
        if package in _INERT_STANDARD:
            return Inert
        if package in sys.stdlib_module_names or package in ("nt", "posix", "copy_reg"):
            raise _refusal(module, name)
        return Inert

    def _torch_name(self, name: str) -> Any:
        if name in _STORAGES:
            return _STORAGES[name]
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return lambda tensor, *_rest: tensor
        return Inert

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        """A storage: ("storage", its type, its name in the archive, device, length) -> (member, dtype)."""
        if self._archive is None or not isinstance(pid, tuple) or len(pid) < 3 or not isinstance(pid[1], str):
            raise DamagedFile("The file refers to tensors that it does not hold.")
        return f"{self._root}data/{pid[2]}", pid[1]

    def _rebuild_tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> StoredTensor:
        if not (isinstance(storage, tuple) and len(storage) == 2 and self._archive is not None):
            raise DamagedFile("The file holds a tensor without values.")
        return StoredTensor(self._archive, storage[0], storage[1], int(offset), tuple(shape), tuple(strides))


def _refusal(module: str, name: str) -> DangerousFile:
    return DangerousFile(
        f"The file asks Python to call {module}.{name}, which no weights need; it may be malicious. Nothing was run."
    )


def load(stream: BinaryIO, archive: zipfile.ZipFile | None = None, root: str = "") -> Any:
    """The content of one pickle. Raises `DamagedFile` (not a pickle, cut short) and `DangerousFile`."""
    return _guarded(DataUnpickler(stream, archive, root).load)


def load_torch(archive: zipfile.ZipFile) -> Any:
    """The content of a file written by `torch.save` (a zip): tensors come as `StoredTensor`, unread."""
    pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise DamagedFile("The archive is no PyTorch file: it has not exactly one data.pkl.")
    return load(io.BytesIO(_guarded(lambda: archive.read(pickles[0]))), archive, pickles[0][: -len("data.pkl")])


def is_torch_file(archive: zipfile.ZipFile) -> bool:
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in archive.namelist())


def load_file(path: Path) -> Any:
    """A bare pickle on disk, such as `SMPL_NEUTRAL.pkl`."""
    with path.open("rb") as stream:
        return load(stream)


def _guarded(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (DamagedFile, DangerousFile, MemoryError):
        raise
    except Exception as error:  # a broken pickle can fail in every way that Python knows
        raise DamagedFile(f"The file is damaged or cut short ({type(error).__name__}: {error}).") from error
