# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the arrays in SMPL's original pickles without running anything that the file asks for.

A pickle is a program. This reader knows numpy's arrays; scipy's sparse matrices and chumpy's arrays become inert
objects that only keep their contents (neither package is imported: chumpy has not been installable for years). Every
other name in the file is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class RefusedPickle(Exception):
    """The pickle asks for something that a body model has no need of."""


class _Inert:
    """Stands for an object of a foreign class: keeps the state, does nothing."""

    def __new__(cls, *args: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        self.state: dict = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Chumpy(_Inert):
    pass


class _SparseColumns(_Inert):
    pass


class _SparseRows(_Inert):
    pass


class _SparseEntries(_Inert):
    pass


_Sparse = _SparseColumns | _SparseRows | _SparseEntries


class Entries(NamedTuple):
    """What is not zero in a matrix."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]


def load_matrix(path: Path, name: str) -> Entries:
    """The sparse matrix that the pickled dictionary has under `name`. Raises `RefusedPickle`."""
    content = _load(path)
    if not isinstance(content.get(name), _Sparse):
        raise RefusedPickle(f"it holds no sparse matrix {name}")
    return _entries(content[name])


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The pickled dictionary's arrays by name; entries that are no arrays are left out. Raises `RefusedPickle`."""
    arrays = {str(name): _array(value) for name, value in _load(path).items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _load(path: Path) -> dict[Any, Any]:
    with open(path, "rb") as file:
        content = _ArrayUnpickler(file, encoding="latin1").load()  # SMPL's files were written by Python 2
    if not isinstance(content, dict):
        raise RefusedPickle("it holds no dictionary of arrays")
    return content


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((_MODULE_TODAY.get(module, module), name))
        if known is not None:
            return known
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        if module.split(".")[0] == "chumpy":
            return _Chumpy
        raise RefusedPickle(f"it asks for {module}.{name}, which no body model needs; the file may be harmful")


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` does in pickles of byte strings, and nothing else."""
    if encoding != "latin1":
        raise RefusedPickle(f"it encodes text as {encoding}")
    return text.encode("latin1")


def _new_inert(cls: type, base: type, state: Any) -> _Inert:
    """What `copy_reg._reconstructor` does in old pickles, for our own classes only."""
    if not (isinstance(cls, type) and issubclass(cls, _Inert)):
        raise RefusedPickle("it rebuilds an object of an unexpected class")
    return cls()


_MODULE_TODAY = {
    "copy_reg": "copyreg",  # Python 2
    "__builtin__": "builtins",
    "numpy._core.multiarray": "numpy.core.multiarray",  # numpy 2
}
_KNOWN = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.array(0).__reduce__()[0],
    ("_codecs", "encode"): _latin1,
    ("copyreg", "_reconstructor"): _new_inert,
    ("builtins", "object"): object,
}
_SPARSE = {
    "csc_matrix": _SparseColumns,
    "csc_array": _SparseColumns,
    "csr_matrix": _SparseRows,
    "csr_array": _SparseRows,
    "coo_matrix": _SparseEntries,
    "coo_array": _SparseEntries,
}


def _array(value: Any) -> np.ndarray | None:
    """A plain array out of what was read, or None for what is none."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _Sparse):
        return _dense(value)
    if isinstance(value, _Chumpy):
        return _evaluated(value)
    return None


def _entries(sparse: _Sparse) -> Entries:
    state = sparse.state
    rows_count, columns_count = (int(n) for n in (state["_shape"] if "_shape" in state else state["shape"]))
    if isinstance(sparse, _SparseEntries):
        rows, columns = state["coords"] if "coords" in state else (state["row"], state["col"])
    else:
        minor, starts = state["indices"], state["indptr"]
        major = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        rows, columns = (minor, major) if isinstance(sparse, _SparseColumns) else (major, minor)
    return Entries(rows, columns, state["data"], (rows_count, columns_count))


def _dense(sparse: _Sparse) -> np.ndarray:
    rows, columns, values, shape = _entries(sparse)
    dense = np.zeros(shape, values.dtype)
    np.add.at(dense, (rows, columns), values)
    return dense


def _evaluated(node: _Chumpy) -> np.ndarray | None:
    """chumpy's expressions: a plain array keeps it as `x`, a selection picks `idxs` out of `a`."""
    if isinstance(node.state.get("x"), np.ndarray):
        return node.state["x"]
    source = _array(node.state.get("a"))
    picked = node.state.get("idxs")
    if source is None or picked is None:
        return None
    selected = source.ravel()[np.asarray(picked)]
    return selected.reshape(node.state.get("preferred_shape", selected.shape))
