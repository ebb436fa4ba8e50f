# SPDX-License-Identifier: GPL-3.0-or-later
"""One body's surface in the vertices of another: by SMPL-X's own transfer files, or by what lies nearest at rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .body_files import BodyFileError
from .body_model import BodyModel
from .body_pickle import RefusedPickle, load_matrix
from .body_surfaces import overlay

_AT_ONCE = 400
_GET = "It comes with SMPL-X's transfer models (smplx2smpl_deftrafo_setup.pkl, smpl2smplx_deftrafo_setup.pkl)."


@dataclass(frozen=True, eq=False)
class Transfer:
    """Every vertex of the target is a mixture of some vertices of the source. Linear, so it holds in any pose."""

    rows: np.ndarray
    """(N,) vertices of the target, …"""
    columns: np.ndarray
    """(N,) … vertices of the source, …"""
    shares: np.ndarray
    """(N,) … and how much of them."""
    target_count: int
    source_count: int

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) of the source -> (V', 3) of the target."""
        parts = vertices[self.columns] * self.shares[:, None]
        return np.stack([np.bincount(self.rows, parts[:, axis], self.target_count) for axis in range(3)], 1)


@lru_cache(maxsize=4)
def read_transfer(path: Path, source: BodyModel, target: BodyModel) -> Transfer:
    """`mtx` of a transfer file; the second half of its columns belongs to normals. Raises `BodyFileError`."""
    try:
        rows, columns, values, shape = load_matrix(path, "mtx")
    except RefusedPickle as error:
        raise BodyFileError(path, str(error).rstrip("."), _GET) from error
    except Exception as error:  # a damaged pickle may raise anything
        raise BodyFileError(path, f"it cannot be read ({type(error).__name__}: {error})", _GET) from error
    wanted = (len(target.v_template), 2 * len(source.v_template))
    if shape != wanted:
        sentence = f"its matrix is {shape[0]} x {shape[1]}, where {wanted[0]} x {wanted[1]} leads from {source.name}"
        raise BodyFileError(path, f"{sentence} to {target.name}", _GET)
    of_places = columns < len(source.v_template)
    return Transfer(
        rows[of_places], columns[of_places], values[of_places].astype(np.float64), wanted[0], len(source.v_template)
    )


@lru_cache(maxsize=4)
def nearest_transfer(source: BodyModel, target: BodyModel) -> Transfer:
    """Without a file: the nearest place of the same part at rest, some millimetres off, about a centimetre in faces."""
    laid, count = overlay(target, source), len(target.v_template)
    corners, shares = [], []
    for begin in range(0, count, _AT_ONCE):
        numbers = np.arange(begin, min(begin + _AT_ONCE, count))
        alone = np.repeat([[1.0, 0.0, 0.0]], len(numbers), 0)
        triangles, within = laid.on_triangles(np.repeat(numbers[:, None], 3, 1), alone)
        corners.append(source.faces[triangles])
        shares.append(within)
    return Transfer(
        np.repeat(np.arange(count), 3),
        np.concatenate(corners).ravel().astype(np.int64),
        np.concatenate(shares).ravel().astype(np.float64),
        count,
        len(source.v_template),
    )
