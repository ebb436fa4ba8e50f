# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a user's own licensed body: SMPL-X, SMPL-H or SMPL as .npz or .pkl, as downloaded from its authors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .body_model import BodyModel, load_body
from .body_pickle import RefusedPickle, load_arrays

_NEEDED = ("v_template", "f", "shapedirs", "J_regressor", "weights", "kintree_table")
_SMPLX_SHAPES = 300  # the first columns of SMPL-X's shapedirs; expressions follow


class BodyFileError(Exception):
    """The file is not a body model that can be read."""

    code = "body_file"

    def __init__(self, path: Path, sentence: str, remedy: str | None = None) -> None:
        super().__init__(f"{path.name}: {sentence}.")
        self.remedy = remedy or (
            "Choose an SMPL-X, SMPL-H or SMPL model as downloaded (SMPLX_NEUTRAL.npz, SMPL_NEUTRAL.pkl, …), "
            "or leave the field empty to use the body that comes with Recover Body."
        )


def read_body_file(path: Path, beta_count: int = 10, expression_count: int = 10) -> BodyModel:
    """The body in `path` with its first shape and expression components. Raises `BodyFileError`."""
    data = _read(path)
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        raise BodyFileError(path, f"it is no body model, {', '.join(missing)} missing")
    try:
        return _body_model(path, data, beta_count, expression_count)
    except (ValueError, IndexError, TypeError) as error:
        raise BodyFileError(path, f"its arrays do not fit together ({error})") from error


def _read(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        raise BodyFileError(path, "there is no such file")
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                # One by one: SMPL-X's archives also hold pickled dictionaries, which stay unread.
                wanted = (*_NEEDED, "posedirs", "hands_meanl", "hands_meanr", "vt", "ft")
                return {key: archive[key] for key in wanted if key in archive.files}
        return load_arrays(path)
    except RefusedPickle as error:
        raise BodyFileError(path, str(error).rstrip(".")) from error
    except Exception as error:  # zipfile, pickle and numpy raise half a dozen classes for a damaged file
        raise BodyFileError(path, f"it is damaged or of another kind ({type(error).__name__}: {error})") from error


def _body_model(path: Path, data: Mapping[str, np.ndarray], beta_count: int, expression_count: int) -> BodyModel:
    v_template = _single(data["v_template"])
    weights = _single(data["weights"])
    regressor = _single(data["J_regressor"])
    parents = _parents(data["kintree_table"])
    vertices, joints = weights.shape
    kind = {24: "SMPL", 52: "SMPL-H", 55: "SMPL-X"}.get(joints)
    if kind is None:
        raise BodyFileError(path, f"it has {joints} joints; SMPL has 24, SMPL-H 52, SMPL-X 55")
    if v_template.shape != (vertices, 3) or regressor.shape != (joints, vertices) or parents.shape != (joints,):
        raise ValueError(f"{v_template.shape}, {weights.shape}, {regressor.shape}, {parents.shape}")
    shapes = _single(data["shapedirs"]).reshape(vertices, 3, -1)
    if kind == "SMPL-X":
        # Files with fewer than 300 shape components hold ten of each.
        split = _SMPLX_SHAPES if shapes.shape[2] > _SMPLX_SHAPES else min(10, shapes.shape[2])
        shapes, expressions = shapes[:, :, :split], shapes[:, :, split : split + expression_count]
    else:
        expressions = shapes[:, :, :0]
    posedirs = _single(data["posedirs"]).reshape(vertices, 3, 9 * (joints - 1)) if "posedirs" in data else None
    left_hand, right_hand = (
        _single(data[key]).reshape(15, 3) if key in data else np.zeros((15, 3), np.float32)
        for key in ("hands_meanl", "hands_meanr")
    )
    return BodyModel(
        name=f"{kind} ({path.stem})",
        gender=next((g for g in ("neutral", "female", "male") if g in path.stem.lower().split("_")), "neutral"),
        licence=f"{kind}: licensed by its authors to the owner of this file; do not pass on",
        v_template=v_template,
        faces=np.asarray(data["f"]).astype(np.int32),
        shapedirs=np.ascontiguousarray(shapes[:, :, :beta_count]),
        exprdirs=np.ascontiguousarray(expressions),
        J_regressor=regressor,
        weights=weights,
        parents=parents,
        joint_names=_joint_names(kind),
        posedirs=posedirs if posedirs is not None and posedirs.any() else None,
        uv=_single(data["vt"]) if "vt" in data else None,
        face_uvs=np.asarray(data["ft"]).astype(np.int32) if "ft" in data else None,
        hands_mean_left=left_hand,
        hands_mean_right=right_hand,
    )


def _single(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).astype(np.float32)


def _joint_names(kind: str) -> tuple[str, ...]:
    """The three models share SMPL-X's names, which the shipped body has too."""
    smplx = load_body("neutral").joint_names
    to_wrists, hands = smplx[:22], smplx[25:]
    return {"SMPL": (*to_wrists, "left_hand", "right_hand"), "SMPL-H": (*to_wrists, *hands), "SMPL-X": smplx}[kind]


def _parents(kintree_table: np.ndarray) -> np.ndarray:
    """(2, J) SMPL's table of parents over children -> (J,), -1 at the root."""
    parents = np.asarray(kintree_table)[0].astype(np.int64)
    parents[0] = -1  # stored as 2^32 - 1
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, len(parents))).any():
        raise ValueError("a joint comes before its parent")
    return parents.astype(np.int32)
