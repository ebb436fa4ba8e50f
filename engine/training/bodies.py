# SPDX-License-Identifier: GPL-3.0-or-later
"""The body that predictions and labels are posed with: SMPL's 24 joints and the 44 keypoints of HMR2.0 and TokenHMR.

With a licensed SMPL file these are exactly the published ones. Without, a shipped body takes its place, so that every
recipe runs for everybody; its keypoints have the same names and order, its betas are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...models import safe_pickle
from ...models.body_model import SHIPPED_BODIES, BodyModel, load_body
from ...models.body_model_torch import TorchBodyModel
from ...models.smpl_joints import FACE_AND_FEET_VERTICES, OPENPOSE_25
from ..errors import BadInput
from .tokenizer_losses import vertex_weights

SMPL_JOINTS = 24
EXTRA_JOINTS = 19


class UnusableBody(BadInput):
    """The body cannot be trained with."""

    remedy = "Leave --body out to train with the shipped body, or give SMPL's file and SMPL_to_J19.pkl."


@dataclass(frozen=True)
class KeypointMap:
    """The 44 keypoints as weighted sums of joints and of some vertices. The order is that of `smpl_joints.py`."""

    of_joints: np.ndarray
    """(44, J)"""
    vertex_ids: np.ndarray
    """(L,)"""
    of_vertices: np.ndarray
    """(44, L)"""

    def __call__(self, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """All vertices (B, V, 3) and joints (B, J, 3) -> (B, 44, 3)."""
        return self.of_joints @ joints + self.of_vertices @ vertices[:, self.vertex_ids]


class Posed(NamedTuple):
    keypoints: Tensor
    """(B, 44, 3) metres."""
    joints: Tensor
    """(B, J, 3) metres."""


class TrainingBody(nn.Module):
    """SMPL parameters -> keypoints, differentiable, computing only the vertices that keypoints need."""

    def __init__(self, model: BodyModel, keypoints: KeypointMap) -> None:
        super().__init__()
        self.joint_count = model.joint_count
        self.body = TorchBodyModel(model, vertex_ids=keypoints.vertex_ids)
        for name in ("of_joints", "of_vertices"):
            values = torch.from_numpy(np.asarray(getattr(keypoints, name), np.float32))
            self.register_buffer(name, values, persistent=False)

    def forward(self, rotations: Tensor, betas: Tensor) -> Posed:
        """rotations (B, 24, 3, 3) local, SMPL's joints; betas (B, 10)."""
        out = self.body(self.full(rotations), betas)
        return Posed(self.of_joints @ out.joints + self.of_vertices @ out.vertices, out.joints)

    def full(self, rotations: Tensor) -> Tensor:
        """SMPL's (B, 24, 3, 3) -> this body's (B, J, 3, 3). Hands hang on the wrists of a body with fingers."""
        if self.joint_count == SMPL_JOINTS:
            return rotations
        rest = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        return torch.cat([rotations[:, :22], rest.expand(len(rotations), self.joint_count - 22, 3, 3)], dim=1)


def open_body(name_or_path: str | Path = "neutral", extra_regressor: Path | None = None) -> TrainingBody:
    """A shipped body by name, or SMPL's file with the 19-joint regressor. Raises `UnusableBody`, `BodyFileError`."""
    model = load_body(name_or_path)
    return TrainingBody(model, keypoint_map(model, extra_regressor))


def keypoint_map(model: BodyModel, extra_regressor: Path | None = None) -> KeypointMap:
    """How a body's 44 keypoints are made. Raises `UnusableBody`."""
    if model.gender in SHIPPED_BODIES and model.landmark_vertices:
        return _of_shipped(model)
    if model.joint_count != SMPL_JOINTS:
        raise UnusableBody(f"{model.name} has {model.joint_count} joints; keypoints need SMPL's 24 or a shipped body.")
    if extra_regressor is None:
        raise UnusableBody(f"{model.name} needs the regressor of the 19 extra keypoints beside it.")
    return smpl_map(model, read_extra_regressor(extra_regressor))


def read_extra_regressor(path: Path) -> np.ndarray:
    """(19, 6890) of `SMPL_to_J19.pkl`, or of a plain .npy of that shape. Raises `UnusableBody`, `DamagedFile`."""
    if not path.is_file():
        raise UnusableBody(f"There is no file {path}.")
    values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else safe_pickle.load_file(path)
    values = np.asarray(values)
    if values.dtype == object or values.ndim != 2 or values.shape[0] != EXTRA_JOINTS:
        raise UnusableBody(f"{path} is not the regressor of {EXTRA_JOINTS} joints.")
    return values.astype(np.float32)


def smpl_map(model: BodyModel, extra: np.ndarray) -> KeypointMap:
    """SMPL's, with the (19, 6890) regressor."""
    ids = np.unique([*np.flatnonzero(extra.any(0)), *FACE_AND_FEET_VERTICES])
    place = {vertex: column for column, vertex in enumerate(ids.tolist())}
    of_joints = np.zeros((44, model.joint_count), np.float32)
    of_vertices = np.zeros((44, len(ids)), np.float32)
    for row, index in enumerate(OPENPOSE_25):
        if index < SMPL_JOINTS:
            of_joints[row, index] = 1
        else:
            of_vertices[row, place[FACE_AND_FEET_VERTICES[index - SMPL_JOINTS]]] = 1
    of_vertices[25:] = extra[:, ids]
    return KeypointMap(of_joints, ids, of_vertices)


# 44 keypoints of the shipped bodies: landmarks of the surface, joints, or the middle of several.
_OPENPOSE: tuple[tuple[str, ...], ...] = (
    *(("nose",), ("neck",), ("right_shoulder",), ("right_elbow",), ("right_wrist",)),
    *(("left_shoulder",), ("left_elbow",), ("left_wrist",), ("left_hip", "right_hip")),
    *(("right_hip",), ("right_knee",), ("right_ankle",), ("left_hip",), ("left_knee",), ("left_ankle",)),
    *(("right_eye",), ("left_eye",), ("right_ear",), ("left_ear",)),
    *(("left_big_toe",), ("left_small_toe",), ("left_heel",), ("right_big_toe",), ("right_small_toe",)),
    ("right_heel",),
)
_EXTRA: tuple[tuple[str, ...], ...] = (
    *(("right_ankle",), ("right_knee",), ("right_hip",), ("left_hip",), ("left_knee",), ("left_ankle",)),
    *(("right_wrist",), ("right_elbow",), ("right_shoulder",), ("left_shoulder",), ("left_elbow",), ("left_wrist",)),
    # neck (LSP), head top, pelvis, thorax, spine, jaw, head
    *(("neck",), ("head_top",), ("left_hip", "right_hip"), ("neck", "spine3"), ("spine2",)),
    *(("head", "nose"), ("left_ear", "right_ear")),
)


def _of_shipped(model: BodyModel) -> KeypointMap:
    """What SMPL regresses from its surface is approximated by joints and landmarks of the same names."""
    joints, landmarks = list(model.joint_names), list(model.landmark_vertices)
    of_joints = np.zeros((44, len(joints)), np.float32)
    vertex_ids = [*model.landmark_vertices.values(), model.v_template[:, 1].argmax()]  # the last: top of the head
    of_vertices = np.zeros((44, len(vertex_ids)), np.float32)
    for row, parts in enumerate((*_OPENPOSE, *_EXTRA)):
        for part in parts:
            if part == "head_top":
                of_vertices[row, -1] = 1
            elif part in landmarks:
                of_vertices[row, landmarks.index(part)] += 1 / len(parts)
            else:
                of_joints[row, joints.index(part)] += 1 / len(parts)
    return KeypointMap(of_joints, np.array(vertex_ids), of_vertices)


class PoseBody(nn.Module):
    """Body poses -> joints and, where asked for, some of the surface: what the pose tokenizer is judged by.

    Root at identity, mean shape, flat hands.
    """

    JOINTS = 22
    """Pelvis to wrists: what SMPL, SMPL-H, SMPL-X and the shipped bodies share."""

    def __init__(self, model: BodyModel, mesh_stride: int = 1) -> None:
        super().__init__()
        self.parents = tuple(model.parents[: self.JOINTS].tolist())
        self.all_joints = model.joint_count
        rest = torch.from_numpy(np.asarray(model.joints_template[: self.JOINTS], np.float32))
        bones = rest.clone()
        bones[1:] -= rest[list(self.parents[1:])]
        self.register_buffer("bones", bones, persistent=False)
        self.surface = TorchBodyModel(model, vertex_ids=np.arange(0, len(model.v_template), mesh_stride))
        weights = vertex_weights(torch.from_numpy(model.v_template), torch.from_numpy(model.faces).long())
        self.register_buffer("vertex_weights", weights[::mesh_stride], persistent=False)

    def joints(self, rotations: Tensor) -> Tensor:
        """(B, 21, 3, 3) -> (B, 22, 3) metres, the root first."""
        count = len(rotations)
        turns = [torch.eye(3, dtype=rotations.dtype, device=rotations.device).expand(count, 3, 3)]
        places = [self.bones[0].expand(count, 3)]
        for joint, parent in enumerate(self.parents[1:], start=1):
            places.append(places[parent] + turns[parent] @ self.bones[joint])
            turns.append(turns[parent] @ rotations[:, joint - 1])
        return torch.stack(places, 1)

    def vertices(self, rotations: Tensor) -> Tensor:
        """(B, 21, 3, 3) -> (B, V / stride, 3) metres."""
        rest = torch.eye(3, dtype=rotations.dtype, device=rotations.device).repeat(
            len(rotations), self.all_joints, 1, 1
        )
        rest[:, 1 : self.JOINTS] = rotations
        return self.surface(rest, rotations.new_zeros(1, 10)).vertices
