# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes `common.npz` and one `.npz` per body, in the compact forms that `models.body.shipped` unpacks."""

from pathlib import Path

import numpy as np

_INFLUENCES = 4


def write_common(
    path: Path, *, weights: np.ndarray, joint_regressor: np.ndarray, landmark_vertices: dict[str, int], **fields
) -> None:
    """What the three bodies share. `fields` are written under their own names, integers in the smallest type."""
    strongest = np.argsort(-weights, 1, kind="stable")[:, :_INFLUENCES]
    rows, columns = np.nonzero(joint_regressor)
    _write(
        path,
        weight_joints=strongest,
        weight_values=np.take_along_axis(weights, strongest, 1).astype(np.float16),
        regressor_joints=rows,
        regressor_vertices=columns,
        regressor_values=joint_regressor[rows, columns].astype(np.float32),
        landmark_names=np.array(list(landmark_vertices)),
        landmark_vertices=np.array(list(landmark_vertices.values())),
        **fields,
    )


def write_body(path: Path, *, v_template: np.ndarray, shapedirs: np.ndarray, exprdirs: np.ndarray) -> None:
    """What differs: the mean body in single precision, offsets (tens of millimetres at most) in half precision."""
    _write(
        path,
        v_template=v_template.astype(np.float32),
        shapedirs=shapedirs.astype(np.float16),
        exprdirs=exprdirs.astype(np.float16),
    )


def _write(path: Path, **arrays: np.ndarray) -> None:
    np.savez_compressed(path, **{name: _smallest(np.asarray(array)) for name, array in arrays.items()})


def _smallest(array: np.ndarray) -> np.ndarray:
    """Integers in the smallest type that holds them; everything else as it is."""
    if array.dtype.kind not in "iu":
        return array
    return array.astype(np.promote_types(np.min_scalar_type(array.min()), np.min_scalar_type(array.max())))
