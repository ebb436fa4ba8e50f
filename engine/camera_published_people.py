# SPDX-License-Identifier: GPL-3.0-or-later
"""The published camera procedure on people in pictures: `--camera-solver published`, for comparison.

It knows one person in a padded square whose middle is the principal point; here that square is made for each person,
and the answers are brought back to the full image. With several people one focal length is agreed on, and depths are
scaled so that sizes in the picture stay. Nothing is refined afterwards.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from ..models.body_model import load_body
from ..models.body_model_torch import TorchBodyModel
from ..models.rotations import matrix_to_rotvec, rotvec_to_matrix
from .camera_depth import KEYPOINT_SEEN, Views, agreed, depth_notes, unrefined, whole_pose
from .camera_published import Evidence, Rates, State, solve_published, start_from_keypoints
from .camera_refine import Believed, Refined
from .cameras import Pinhole
from .fit.kinematics import BODY_JOINTS
from .fit.points import LANDMARK_NAMES, landmark_points

WORKING_PX, ITERATIONS = 1280, 100
_FINGERS, _TOES = ("pinky", "index", "thumb"), ("foot_index",)


def placed_as_published(views: Views, believed: Believed, camera: Pinhole, depths_m: np.ndarray) -> Refined:
    """Everybody as the published procedure leaves them; a camera that is known keeps its focal length."""
    answers = [_one(views, believed, camera, float(depth), row) for row, depth in enumerate(depths_m)]
    focal_px = np.array([focal for focal, _, _ in answers])
    pelvis = np.array([place for _, place, _ in answers])
    rotations = rotvec_to_matrix(np.array([pose for _, _, pose in answers]))
    if not camera.is_known:
        camera = replace(agreed(camera, focal_px, views.seen.size_px), evidence="BLADE's depth, as published")
    pelvis[:, 2] *= camera.fx_px / focal_px
    answer = unrefined(views, Believed(rotations, pelvis, believed.betas), camera)
    return replace(answer, notes=(*depth_notes(depths_m), "The camera was solved by BLADE's published procedure."))


def _one(
    views: Views, believed: Believed, camera: Pinhole, depth_m: float, row: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Focal length in the full image, pelvis (3,), pose (22, 3) of one person."""
    seen, points = views.seen, landmark_points(views.body_name)
    names = [LANDMARK_NAMES[index].partition("_")[2] for index in points.indices]
    is_finger, is_toe = np.isin(names, _FINGERS), np.isin(names, _TOES)
    centre = seen.centre_px[row]
    side_px = 2 * float(np.max([centre, np.array([camera.width, camera.height]) - centre]))
    scale = WORKING_PX / side_px
    is_good = seen.visibility[row, points.indices] > KEYPOINT_SEEN
    evidence = Evidence(
        masks=torch.from_numpy(_in_square(views.masks[row], centre, scale))[None],
        keypoints_px=_row((seen.points_px[row, points.indices] - centre) * scale + WORKING_PX / 2),
        start_weights=_row(is_good & ~is_finger),
        weights=_row(is_good & ~is_finger & ~is_toe),
    )
    betas = np.zeros(10) if believed.betas is None else believed.betas[row]
    pose = whole_pose(views.body_name, matrix_to_rotvec(believed.rotations[row : row + 1]))
    body = _Body(views.body_name, betas, pose)
    orientation, rest = _row(pose[0, 0]), _row(pose[0, 1:BODY_JOINTS].ravel())
    _, joints = body(orientation, rest)
    focal, translation = start_from_keypoints(joints, torch.tensor([depth_m]), evidence)
    rates = Rates()
    if camera.is_known:
        focal, rates = torch.tensor([camera.fx_px * scale]), replace(rates, focal=0.0)
    start = State(focal, translation, orientation, rest)
    faces = torch.from_numpy(np.asarray(load_body(views.body_name).faces, np.int64))
    state = solve_published(body, faces, start, evidence, rates, ITERATIONS)
    posed = torch.cat([state.orientation, state.pose], 1)[0].reshape(BODY_JOINTS, 3).double().numpy()
    return float(state.focal_px[0]) / scale, state.translation[0].double().numpy(), posed


class _Body:
    """Orientation and body pose -> vertices and landmarks about the pelvis, differentiable."""

    def __init__(self, body_name: str, betas: np.ndarray, pose: np.ndarray) -> None:
        self.model = TorchBodyModel(load_body(body_name))
        self.points = landmark_points(body_name)
        self.betas, self.pose = _row(betas), torch.from_numpy(pose).float()
        rest_joints = load_body(body_name).rest_joints(betas[None])[0]
        rest = self.points.rest + self.points.rest_shapedirs @ betas
        self.arms = torch.from_numpy(rest - rest_joints[self.points.owners]).float()

    def __call__(self, orientation: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        turned = torch.cat([orientation, pose], 1).unflatten(1, (-1, 3))
        out = self.model(torch.cat([turned, self.pose[:, BODY_JOINTS:]], 1), self.betas)
        owners = torch.from_numpy(self.points.owners)
        on_body = out.joints[:, owners] + (out.rotations[:, owners] @ self.arms[..., None])[..., 0]
        pelvis = out.joints[:, :1]
        return out.vertices - pelvis, on_body - pelvis


def _in_square(mask: np.ndarray, centre_px: np.ndarray, scale: float) -> np.ndarray:
    """(1280, 1280) float32 0 or 1, the principal point in the middle."""
    # Pixel index i of the square shows (i + 0.5 - 640) / scale + centre - 0.5 of the picture.
    shift = (0.5 - WORKING_PX / 2) / scale + centre_px - 0.5
    matrix = np.array([[1 / scale, 0, shift[0]], [0, 1 / scale, shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(mask.astype(np.float32), matrix, (WORKING_PX, WORKING_PX), flags=flags)
    return (drawn > 0.5).astype(np.float32)


def _row(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))[None]
