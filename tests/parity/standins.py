# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated weights and bodies: pure functions of a seed, where the real ones are licensed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from recover_body.models.body_model import BodyModel
from recover_body.models.rotations_torch import matrix_to_rotvec
from recover_body.models.smpl_head import SmplPrediction
from recover_body.models.smpl_joints import keypoints_44
from recover_body.tests import fill_weights

from .report import as_numpy


def network_state(
    keys: list[dict], seed: int, prefixes: tuple[str, ...] = ("",), key_prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Tensors of the names and shapes listed, by the fill rule; `key_prefix` precedes a name only in the rule."""
    wanted = [entry for entry in keys if entry["name"].startswith(prefixes) and entry["dtype"] == "float32"]

    def filled(entry: dict) -> torch.Tensor:
        return torch.from_numpy(fill_weights.value(seed, key_prefix + entry["name"], entry["shape"]))

    with ThreadPoolExecutor(2) as pool:  # numpy draws without holding the interpreter
        return {e["name"]: tensor for e, tensor in zip(wanted, pool.map(filled, wanted), strict=True)}


def smpl_body(seed: int) -> BodyModel:
    """A random point cloud on SMPL's skeleton, in the shape of an SMPL file."""
    raw = fill_weights.standin_body(seed, "smpl")
    return BodyModel(
        name="stand-in",
        gender="neutral",
        licence="generated",
        v_template=raw["v_template"].astype(np.float32),
        faces=raw["f"].astype(np.int32),
        shapedirs=raw["shapedirs"].astype(np.float32),
        exprdirs=np.zeros((len(raw["v_template"]), 3, 0), np.float32),
        J_regressor=raw["J_regressor"].astype(np.float32),
        weights=raw["weights"].astype(np.float32),
        parents=np.array(fill_weights.SMPL_PARENTS),
        joint_names=tuple(f"joint_{index}" for index in range(24)),
        posedirs=raw["posedirs"].astype(np.float32),
    )


def posed(prediction: SmplPrediction, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The stand-in body as the network says: vertices (B, 6890, 3) and 44 keypoints (B, 44, 3), metres."""
    pose = as_numpy(matrix_to_rotvec(prediction.rotations))
    out = smpl_body(seed).forward(pose, as_numpy(prediction.betas))
    regressor = fill_weights.standin_extra_regressor(seed).astype(np.float32)
    return out.vertices, keypoints_44(out.vertices, out.joints, regressor)
