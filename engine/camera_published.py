# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera solver as BLADE published it: a start from keypoints, then 100 gradient steps on a soft silhouette.

Paper: Wang et al., "BLADE" (CVPR 2025); where paper and released program differ this follows the program. It is kept
for comparison (`--camera-solver published`); `camera_solver` is quicker and does not end worse than it began.

All pictures here are squares of side S, and the principal point is their middle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .soft_silhouette import soft_silhouette

Body = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(B, 3) orientations, (B, P) body poses -> vertices (B, V, 3) and the joints of the keypoints (B, K, 3), metres."""

MOMENTUM = 0.9
MAX_RENDER_PX = 512
FOCAL_RANGE_PX = (10.0, 1e4)
DEPTH_RANGE_M = (0.3, 50.0)
START_ROUNDS = 3
COARSE_SHRINK = 4


@dataclass(frozen=True)
class Rates:
    """Learning rates; zero holds a quantity. The defaults are those for pictures from the wild."""

    lateral: float = 0.002
    focal: float = 0.01  # times the picture's side
    depth: float = 0.05
    orientation: float = 0.01
    pose: float = 0.01


EVALUATION_RATES = Rates(depth=0.0, orientation=0.0, pose=0.0)


@dataclass(frozen=True)
class Evidence:
    """What the pictures show of B people."""

    masks: Tensor  # (B, S, S) 0 or 1
    keypoints_px: Tensor  # (B, K, 2) from the upper left corner
    start_weights: Tensor  # (B, K) 0 or 1: who takes part in the start
    weights: Tensor  # (B, K) 0 or 1: who takes part in the steps
    picture_sizes: Tensor | None = None  # (B, 2) height and width of the picture in the middle of the padded square


@dataclass(frozen=True)
class State:
    """A camera and, where it was free, the body: B of each."""

    focal_px: Tensor  # (B,)
    translation: Tensor  # (B, 3) metres
    orientation: Tensor  # (B, 3) rotation vectors
    pose: Tensor  # (B, P)


@dataclass
class Trace:
    """What happened in each step, before the step was taken."""

    states: list[State] = field(default_factory=list)
    gradients: list[State] = field(default_factory=list)
    ious: list[Tensor] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    keypoint_losses: list[Tensor] = field(default_factory=list)


def start_from_keypoints(joints: Tensor, depth_m: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Focal lengths (B,) and translations (B, 3) that bring the joints (B, K, 3) roughly onto the keypoints."""
    centre_px = evidence.masks.shape[-1] / 2
    weights = (evidence.start_weights / evidence.start_weights.sum(1, keepdim=True))[..., None]  # (B, K, 1)
    seen = evidence.keypoints_px - centre_px
    focal = torch.full_like(depth_m, 2 * centre_px)[:, None, None]
    translation = F.pad(depth_m[:, None], (2, 0))
    for _ in range(START_ROUNDS):
        points = joints + translation[:, None]
        depth = points[..., 2:]
        projected = torch.cat([points[..., :2] / depth * focal, depth], dim=-1)  # the depth is a slip of the original
        spread = [(x - (x * weights).sum(1, keepdim=True)).norm(dim=-1, keepdim=True) for x in (seen, projected)]
        focal = focal * (spread[0] / spread[1] * weights).sum(1, keepdim=True)
        lateral = ((seen * depth / focal - joints[..., :2]) * weights).sum(1)
        translation = torch.cat([lateral, depth_m[:, None]], dim=-1)
    return focal[:, 0, 0], translation


def solve_published(
    body: Body,
    faces: Tensor,
    start: State,
    evidence: Evidence,
    rates: Rates = Rates(),
    iterations: int = 100,
    trace: Trace | None = None,
    stop_after: int | None = None,
) -> State:
    """Per picture, the state of the step with the largest soft silhouette IoU, the start included.

    `iterations` decides when the blur becomes fine; `stop_after` ends earlier, for a look at the first steps.
    """
    size_px = evidence.masks.shape[-1]
    render_px = size_px // 2 if size_px > MAX_RENDER_PX else size_px
    target = F.interpolate(evidence.masks[:, None], (render_px, render_px), mode="bilinear", align_corners=True)[:, 0]
    padding = _padding(evidence, render_px)
    target = torch.where(padding, 1.0, target)
    free = {
        "focal_px": (start.focal_px, rates.focal * size_px),
        "lateral": (start.translation[:, :2], rates.lateral),
        "depth": (start.translation[:, 2:], rates.depth),
        "orientation": (start.orientation, rates.orientation),
        "pose": (start.pose, rates.pose),
    }
    free = {name: (value.detach().clone().requires_grad_(), rate) for name, (value, rate) in free.items()}
    optimiser = torch.optim.SGD([{"params": [value], "lr": rate} for value, rate in free.values()], momentum=MOMENTUM)
    values = {name: value for name, (value, _) in free.items()}
    best_iou = torch.full_like(start.focal_px, -torch.inf)
    best = start
    for step in range(iterations if stop_after is None else min(stop_after, iterations)):
        state = _as_state(values)
        vertices, joints = body(state.orientation, state.pose)
        silhouettes = torch.stack(
            [
                _drawn(vertices[index] + state.translation[index], state.focal_px[index], faces, size_px, render_px)
                for index in range(len(vertices))
            ]
        )
        iou = _blurred_iou(torch.where(padding, 1.0, silhouettes), target, is_coarse=step < iterations / 2)
        keypoint_loss = _keypoint_loss(joints + state.translation[:, None], state.focal_px, evidence)
        loss = (1 - iou).mean() + 0.5 * keypoint_loss + _held_back(state, start)
        optimiser.zero_grad()
        loss.backward()
        is_better = iou > best_iou
        best_iou = torch.where(is_better, iou, best_iou).detach()
        best = _chosen(is_better, _detached(state), best)
        if trace is not None:
            trace.states.append(_detached(state))
            trace.gradients.append(_as_state({name: value.grad.clone() for name, value in values.items()}))
            trace.ious.append(iou.detach())
            trace.losses.append(loss.detach())
            trace.keypoint_losses.append(keypoint_loss.detach())
        optimiser.step()
        with torch.no_grad():
            values["focal_px"].clamp_(*FOCAL_RANGE_PX)
            values["depth"].clamp_(*DEPTH_RANGE_M)
    return best


def _drawn(vertices_cam: Tensor, focal_px: Tensor, faces: Tensor, size_px: int, render_px: int) -> Tensor:
    points = vertices_cam[:, :2] / vertices_cam[:, 2:] * (focal_px / (size_px / 2))
    return soft_silhouette(points, vertices_cam[:, 2], faces, render_px)


def _blurred_iou(drawn: Tensor, target: Tensor, *, is_coarse: bool) -> Tensor:
    """(B, S, S) twice -> (B,). Coarse and fine values differ in meaning; the original mixes them."""
    kernel_px, sigma_px = (17, 8.0) if is_coarse else (5, 3.0)
    maps = _blurred(torch.stack([drawn, target], dim=1), kernel_px, sigma_px)
    if is_coarse:
        maps = F.interpolate(maps, scale_factor=1 / COARSE_SHRINK, mode="bilinear", align_corners=True)
    drawn, target = maps.flatten(2).unbind(1)
    both = drawn * target
    return (both + 1e-6).sum(1) / (drawn + target - both + 1e-6).sum(1)


def _blurred(maps: Tensor, kernel_px: int, sigma_px: float) -> Tensor:
    offset = torch.arange(kernel_px, dtype=maps.dtype, device=maps.device) - kernel_px // 2
    kernel = torch.exp(-0.5 * (offset / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, 1, -1)
    maps = F.pad(maps, [kernel_px // 2] * 4, mode="reflect")
    maps = F.conv2d(maps, kernel, groups=maps.shape[1])
    return F.conv2d(maps, kernel.transpose(-1, -2), groups=maps.shape[1])


def _keypoint_loss(joints_cam: Tensor, focal_px: Tensor, evidence: Evidence) -> Tensor:
    centre_px = evidence.masks.shape[-1] / 2
    projected = joints_cam[..., :2] / joints_cam[..., 2:] * focal_px[:, None, None] + centre_px
    extent = evidence.keypoints_px.amax(1) - evidence.keypoints_px.amin(1)
    scale_px = extent.amax(-1)[:, None, None]  # of all detected points, reliable or not
    misses = (evidence.keypoints_px - projected).abs() / scale_px * evidence.weights[..., None]
    return 12 * misses.sum() / evidence.weights.sum()


def _held_back(state: State, start: State) -> Tensor:
    loss = 0.1 * state.translation[:, :2].abs().mean()
    loss = loss + 0.1 * (state.translation[:, 2] - start.translation[:, 2]).abs().mean()
    loss = loss + 2 * ((state.pose - start.pose) ** 2).mean()
    return loss + ((state.orientation - start.orientation) ** 2).mean()


def _padding(evidence: Evidence, render_px: int) -> Tensor:
    """(B, S, S) where the square shows nothing. The original looks there only when it works on several pictures."""
    count, size_px = evidence.masks.shape[:2]
    inside = torch.ones(count, render_px, render_px, dtype=torch.bool, device=evidence.masks.device)
    if count > 1 and evidence.picture_sizes is not None:
        inside[:] = False
        for index, (height, width) in enumerate(evidence.picture_sizes.tolist()):
            top, left = (size_px - height) // 2, (size_px - width) // 2
            scale = render_px / size_px
            rows = slice(round(top * scale), round((top + height) * scale))
            columns = slice(round(left * scale), round((left + width) * scale))
            inside[index, rows, columns] = True
    return ~inside


def _as_state(values: dict[str, Tensor]) -> State:
    translation = torch.cat([values["lateral"], values["depth"]], dim=-1)
    return State(values["focal_px"].clone(), translation, values["orientation"].clone(), values["pose"].clone())


def _detached(state: State) -> State:
    return State(*(value.detach().clone() for value in vars(state).values()))


def _chosen(is_first: Tensor, first: State, second: State) -> State:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return State(*(torch.where(is_first.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
