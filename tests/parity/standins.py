# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated weights and bodies: pure functions of a seed, where the real ones are licensed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from recover_body.engine.training.tokenizer_losses import PosedBodies
from recover_body.models.body_model import BodyModel
from recover_body.models.rotations_torch import matrix_to_rotvec, rotvec_to_matrix
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


def smpl_body(seed: int, kind: str = "smpl") -> BodyModel:
    """A random point cloud on SMPL's ("smpl") or SMPL-H's ("smplh") skeleton, in the shape of such a file."""
    raw = fill_weights.standin_body(seed, kind)
    parents = np.array(fill_weights.SMPL_PARENTS if kind == "smpl" else fill_weights.SMPLH_PARENTS)
    hands = {
        f"hands_mean_{side}": raw[f"hands_mean{side[0]}"].astype(np.float32).reshape(15, 3)
        for side in ("left", "right")
        if kind == "smplh"
    }
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
        parents=parents,
        joint_names=tuple(f"joint_{index}" for index in range(len(parents))),
        posedirs=raw["posedirs"].astype(np.float32),
        **hands,
    )


def posed(prediction: SmplPrediction, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The stand-in body as the network says: vertices (B, 6890, 3) and 44 keypoints (B, 44, 3), metres."""
    pose = as_numpy(matrix_to_rotvec(prediction.rotations))
    out = smpl_body(seed).forward(pose, as_numpy(prediction.betas))
    regressor = fill_weights.standin_extra_regressor(seed).astype(np.float32)
    return out.vertices, keypoints_44(out.vertices, out.joints, regressor)


def smplh_bodies(
    seed: int, target_rotvecs: np.ndarray, decoded_rotvecs: np.ndarray
) -> tuple[PosedBodies, PosedBodies, tuple[torch.Tensor, torch.Tensor]]:
    """Bodies of body poses (B, 21, 3): the target's with mean hands, the decoded with flat ones.

    Then the mesh whose triangles are measured (T-pose, mean hands) and its faces.
    """
    body = smpl_body(seed, "smplh")
    mean_hands = np.concatenate([body.hands_mean_left, body.hands_mean_right])

    def posed_body(rotvecs: np.ndarray, hands: np.ndarray) -> PosedBodies:
        pose = np.zeros((len(rotvecs), body.joint_count, 3), np.float32)
        pose[:, 1:22], pose[:, 22:] = rotvecs, hands
        out = body.forward(pose, np.zeros((1, 10), np.float32))
        return PosedBodies(
            rotvec_to_matrix(torch.from_numpy(rotvecs)), torch.from_numpy(out.vertices), torch.from_numpy(out.joints)
        )

    rest = posed_body(np.zeros((1, 21, 3), np.float32), mean_hands).vertices[0]
    target, decoded = posed_body(target_rotvecs, mean_hands), posed_body(decoded_rotvecs, np.zeros((30, 3)))
    return target, decoded, (rest, torch.from_numpy(body.faces).long())
