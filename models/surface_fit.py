# SPDX-License-Identifier: GPL-3.0-or-later
"""Pose, shape and place of one body whose surface is another's: how labels and answers change between SMPL and SMPL-X.

First the edges are met (pose and shape), then the place, then everything. Source: the transfer of Pavlakos et al.,
"SMPL-X" (CVPR 2019), as BLADE's evaluation uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .body_model import BodyModel
from .body_model_torch import TorchBodyModel
from .smpl_to_smplx import SHARED_JOINTS, moved_pelvis, smpl_to_smplx_shape
from .surface_transfer import Transfer

ITERATIONS = 100
"""Of L-BFGS, at most, in each of the three rounds."""
_MM = 1000.0
_BETA_UNIT, _PLACE_UNIT_M = 10.0, 0.3
"""What is solved for moves the surface about as far as a radian of a joint does; L-BFGS takes far fewer steps then."""
_RIDGE_MM2 = 1e-3
"""For a beta of 1: enough to decide between shapes that the surface does not tell apart."""
_FACE = ("jaw", "left_eye_smplhf", "right_eye_smplhf", "left_eye", "right_eye")
"""Joints that stay at rest."""


@dataclass(frozen=True)
class Posed:
    """One person on some body."""

    pose: np.ndarray
    """(J, 3) rotation vectors, radians."""
    betas: np.ndarray
    """(10,)"""
    translation: np.ndarray
    """(3,) metres, added after posing."""


@dataclass(frozen=True)
class Fitted(Posed):
    error_mm: float
    """Mean distance of the vertices from those wanted."""


@dataclass(frozen=True, eq=False)
class Conversion:
    """People of one body become people of another."""

    source: BodyModel
    target: BodyModel
    transfer: Transfer

    def __call__(self, person: Posed, vertices: np.ndarray | None = None) -> Fitted:
        """`vertices` (V, 3): the person's surface where it is known already, in the frame of its translation."""
        if vertices is None:
            vertices = self.source.forward(
                person.pose[None], person.betas[None], translation=person.translation[None]
            ).vertices[0]
        wanted = self.transfer(vertices.astype(np.float64))
        return fit_surface(self.target, wanted, carried(person, self.source, self.target))


def carried(person: Posed, source: BodyModel, target: BodyModel) -> Posed:
    """Shared joints keep their rotations, fingers too where both have them; shape by measures; the pelvis stays."""
    pose = np.zeros((target.joint_count, 3))
    both = source.joint_count if source.joint_count == target.joint_count else SHARED_JOINTS
    pose[:both] = person.pose[:both]
    betas = smpl_to_smplx_shape(source, person.betas[None, :10], target).betas
    pelves = (body.rest_joints(shape)[:, 0] for body, shape in ((source, person.betas[None]), (target, betas)))
    return Posed(pose, betas[0], moved_pelvis(person.translation[None], *pelves)[0])


def fit_surface(target: BodyModel, wanted: np.ndarray, start: Posed, iterations: int = ITERATIONS) -> Fitted:
    """The body whose vertices are `wanted` (V, 3), metres. Seconds."""
    body = TorchBodyModel(target, torch.float64)
    goal = torch.from_numpy(wanted)
    edges = torch.from_numpy(_edges(target.faces))
    at_rest = [name in _FACE for name in target.joint_names]
    free = torch.tensor([not still for still in at_rest], dtype=torch.float64)[:, None]
    pose, betas, place = (
        torch.tensor(np.asarray(values, np.float64), requires_grad=True)
        for values in (start.pose, start.betas[:10] / _BETA_UNIT, start.translation / _PLACE_UNIT_M)
    )

    def vertices() -> Tensor:
        return body((pose * free)[None], _BETA_UNIT * betas[None], translation=_PLACE_UNIT_M * place[None]).vertices[0]

    def off(points: Tensor, others: Tensor) -> Tensor:
        ridge = _RIDGE_MM2 * (_BETA_UNIT * betas).square().sum()
        return (_MM * (points - others)).square().sum(-1).mean() + ridge

    goal_edges = goal[edges[:, 0]] - goal[edges[:, 1]]

    def by_edges() -> Tensor:
        points = vertices()
        return off(points[edges[:, 0]] - points[edges[:, 1]], goal_edges)

    def by_places() -> Tensor:
        return off(vertices(), goal)

    _minimised(by_edges, [pose, betas], iterations)
    _minimised(by_places, [place], iterations)
    _minimised(by_places, [pose, betas, place], iterations)
    with torch.no_grad():
        error_mm = _MM * float((vertices() - goal).norm(dim=-1).mean())
        return Fitted((pose * free).numpy(), (_BETA_UNIT * betas).numpy(), (_PLACE_UNIT_M * place).numpy(), error_mm)


def _minimised(loss: Callable[[], Tensor], variables: list[Tensor], iterations: int) -> None:
    solver = torch.optim.LBFGS(
        variables, max_iter=iterations, tolerance_grad=1e-6, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        value = loss()
        value.backward()
        return value

    solver.step(closure)


def _edges(faces: np.ndarray) -> np.ndarray:
    """(E, 2) of the mesh, each once."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    return np.unique(np.sort(pairs, 1), axis=0)
