# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the shipped bodies' files.

`common.npz` holds what the three bodies share (triangles, texture coordinates, weights, joint regressor, landmarks);
`neutral.npz`, `female.npz` and `male.npz` hold only what differs (mean body, shape and expression offsets).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from ..body_model import BodyModel, Corrective

FOLDER = Path(__file__).parent


def read_shipped_body(gender: str, folder: Path = FOLDER) -> BodyModel:
    """The body called `gender` ("neutral", "female", "male") of `folder`."""
    with np.load(folder / f"{gender}.npz", allow_pickle=False) as own:
        return BodyModel(
            name=f"Recover Body {gender}",
            gender=gender,
            v_template=own["v_template"],
            shapedirs=own["shapedirs"].astype(np.float32),
            exprdirs=own["exprdirs"].astype(np.float32),
            **_read_common(folder),
        )


@lru_cache(maxsize=2)
def _read_common(folder: Path) -> dict:
    """The shared fields of `BodyModel`, unpacked from their compact forms."""
    with np.load(folder / "common.npz", allow_pickle=False) as data:
        v_count, j_count = len(data["weight_joints"]), len(data["parents"])
        weights = np.zeros((v_count, j_count), np.float32)
        np.put_along_axis(weights, data["weight_joints"].astype(int), data["weight_values"].astype(np.float32), 1)
        weights /= weights.sum(1, keepdims=True)  # half floats do not quite sum to one
        regressor = np.zeros((j_count, v_count), np.float32)
        regressor[data["regressor_joints"], data["regressor_vertices"]] = data["regressor_values"]
        return dict(
            licence=str(data["licence"]),
            faces=data["faces"].astype(np.int32),
            J_regressor=regressor,
            weights=weights,
            parents=data["parents"].astype(np.int32),
            joint_names=tuple(data["joint_names"].tolist()),
            correctives=_correctives(data),
            hands_mean_left=data["hands_mean_left"],
            hands_mean_right=data["hands_mean_right"],
            uv=data["uv"],
            face_uvs=data["face_uvs"].astype(np.int32),
            face_materials=data["face_materials"].astype(np.int32),
            material_names=tuple(data["material_names"].tolist()),
            landmark_vertices=dict(
                zip(data["landmark_names"].tolist(), data["landmark_vertices"].tolist(), strict=True)
            ),
            mediapipe_face_faces=data["mediapipe_face_faces"].astype(np.int32),
            mediapipe_face_bary=data["mediapipe_face_bary"],
        )


def _correctives(data: np.lib.npyio.NpzFile) -> tuple[Corrective, ...]:
    return tuple(
        Corrective(str(name), int(joint), axis, float(angle_rad), offsets)
        for name, joint, axis, angle_rad, offsets in zip(
            data["corrective_names"],
            data["corrective_joints"],
            data["corrective_axes"],
            data["corrective_angles_rad"],
            data["corrective_offsets"].astype(np.float32),
            strict=True,
        )
    )
