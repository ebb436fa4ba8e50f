# SPDX-License-Identifier: GPL-3.0-or-later
"""The little figure of the camera solver's fixture: a body model simple enough to be written down in three lines."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recover_body.engine.camera_published import Evidence, Rates, State
from recover_body.engine.camera_scene import Articulation, Camera, Freedom, Scene
from recover_body.engine.contour import Edges, contour_of, filled
from recover_body.engine.solver_keypoints import CHIN, IS_FINGER, IS_HELD, SMPLX_144
from recover_body.models.rotations_torch import rotvec_to_matrix

JOINTS = 144


@dataclass(frozen=True)
class ToyBody:
    vertices: Tensor  # (V, 3) at rest, metres
    faces: np.ndarray  # (F, 3)
    joints: Tensor  # (127, 3)
    centres: Tensor  # (21, 3) about which the pose moves things

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> ToyBody:
        tensors = {name: torch.from_numpy(arrays[f"toy_{name}"]) for name in ("vertices", "joints", "centres")}
        return cls(faces=arrays["toy_faces"].astype(np.int64), **tensors)

    def __call__(self, orientation: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3), (B, 63) -> vertices (B, V, 3) and the joints of the 58 keypoints (B, 58, 3)."""
        joints = F.pad(self._moved(self.joints, orientation, pose), (0, 0, 0, JOINTS - len(self.joints)))
        return self._moved(self.vertices, orientation, pose), joints[:, torch.from_numpy(SMPLX_144)]

    def _moved(self, points: Tensor, orientation: Tensor, pose: Tensor) -> Tensor:
        nearness = torch.exp(-((points[:, None] - self.centres) ** 2).sum(-1) / (2 * 0.2**2))
        moved = points + 0.3 * nearness @ pose.unflatten(-1, (-1, 3))
        return moved @ rotvec_to_matrix(orientation).mT


@dataclass(frozen=True)
class SolverCase:
    """One case of the fixture."""

    arrays: dict[str, np.ndarray]  # without the case's prefix
    body: ToyBody

    @classmethod
    def all_of(cls, arrays: dict[str, np.ndarray]) -> dict[str, SolverCase]:
        body = ToyBody.of(arrays)
        cases = {}
        for name in sorted({name.split(".")[0] for name in arrays if "." in name}):
            own = {key.partition(".")[2]: value for key, value in arrays.items() if key.startswith(f"{name}.")}
            cases[name] = cls(own, body)
        return cases

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    @property
    def options(self) -> dict:
        return json.loads(str(self.arrays["meta_json"]))

    @property
    def masks(self) -> Tensor:
        """(B, S, S) bool"""
        people, _, height, width = self.arrays["mask_shape"]
        bits = np.unpackbits(self.arrays["mask"])[: people * height * width]
        return torch.from_numpy(bits.reshape(people, height, width)).bool()

    @property
    def keypoints_px(self) -> Tensor:
        return self["kpts2d"].transpose(1, 2)

    def given(self) -> tuple[Tensor, Tensor]:
        """Vertices and joints of the body that the solver is given."""
        return self.body(self["in_global_orient"], self["in_body_pose"])

    def overlap(self, camera: Camera) -> Tensor:
        """(B,) hard intersection over union in the whole picture."""
        scene, _ = self.ours()
        vertices = scene.articulation.posed(camera.pose)[0] if scene.articulation else scene.vertices
        bodies = vertices @ camera.turn.mT + camera.translation[:, None]
        side_px = scene.masks.shape[-1]
        points_px = bodies[..., :2] / bodies[..., 2:] * camera.focal_px[:, None, None] + side_px / 2
        drawn = filled(contour_of(points_px, bodies[..., 2], Edges.of(self.body.faces)), points_px, side_px, side_px)
        return (drawn & scene.masks).sum((1, 2)) / (drawn | scene.masks).sum((1, 2))

    def published(self) -> tuple[State, Evidence, Rates]:
        good = self["good_flag"].float()
        evidence = Evidence(
            masks=self.masks.float(),
            keypoints_px=self.keypoints_px,
            start_weights=good * torch.from_numpy(~IS_FINGER),
            weights=good * torch.from_numpy(IS_HELD),
            picture_sizes=self["ori_shape"],
        )
        start = State(self["init_f"], self["init_T"], self["in_global_orient"], self["in_body_pose"])
        depth = 0.05 if self.options["opt_tz"] else 0.0
        turn = 0.01 if self.options["opt_pose"] else 0.0
        return start, evidence, Rates(depth=depth, orientation=turn, pose=turn)

    def ours(self) -> tuple[Scene, Freedom]:
        vertices, joints = self.given()
        orientation, side_px = self["in_global_orient"], self.masks.shape[-1]
        weights = (self["good_flag"] & torch.from_numpy(IS_HELD)).float()
        weights[:, CHIN] = 0
        pose_is_free = self.options["opt_pose"]
        scene = Scene(
            vertices=vertices,
            joints=joints,
            keypoints_px=self.keypoints_px,
            weights=weights,
            masks=self.masks,
            centres_px=torch.full((len(vertices), 2), side_px / 2),
            depth_m=self["in_pred_z"][:, 0],
            articulation=Articulation(self["in_body_pose"], lambda pose: self.body(orientation, pose))
            if pose_is_free
            else None,
        )
        return scene, Freedom(depth=self.options["opt_tz"], turn=pose_is_free)
