# SPDX-License-Identifier: GPL-3.0-or-later
"""Which camera makes this body lie on that picture? Focal length, translation and, where free, depth, turn and pose.

Keypoints give a start in closed form. Then Gauss-Newton steps bring the body's outline onto the mask's: every piece of
the drawn contour is pulled along the mask's distance map, every piece of the mask's border pulls the nearest contour.
At last the overlap itself is increased; its derivative is an integral along the contour. Through the contour's edges
all of this acts on the mesh's vertices exactly. A step is taken only when hard overlap and keypoints together get
better, so the answer is never worse than its start.

Paper of the problem: Wang et al., "BLADE" (CVPR 2025); its own way of solving it is `camera_published`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from .camera_problem import OUTLINE_ROWS, OUTLINE_SIGMA, CameraProblem, View
from .camera_scene import STILL, Camera, Freedom, Scene, chosen
from .camera_start import closed_form_camera
from .contour import Edges
from .solver_window import Windows, windows_around

OUTLINE_REACHES = (0.2, 0.03)
"""Beyond this distance, in sizes of the person, outlines count less: at the first and at the last step."""
DAMPING = 1e-3
DAMPING_LIMIT = 1e3
"""With more damping than this a step no longer matters."""
CLIMB_START_PX, CLIMB_END_PX = 1.0, 0.05
"""How far the outline moves, about, in the first step that increases the overlap itself, and when to give up."""


def solve_camera(
    scene: Scene,
    edges: Edges,
    freedom: Freedom = STILL,
    start: tuple[Tensor, Tensor] | None = None,
    steps: tuple[int, int] = (15, 15),
) -> Camera:
    """The best camera found for each body, and no worse than `start`: focal lengths (B,) and translations (B, 3).

    `steps` are those towards the outline and those that increase the overlap. Large pictures are looked at in a
    window around each person; the overlap is that within the window.
    """
    windows = windows_around(scene.masks, scene.keypoints_px, scene.weights, scene.inside)
    problem = CameraProblem(_in_windows(scene, windows), edges, freedom)
    answers = []
    with _one_thread():
        for focal_px, translation in _starts(scene, start):
            view = problem.view(*problem.at_rest(focal_px * windows.scales, translation))
            view = _approached(problem, view, steps[0])
            answers.append(_climbed(problem, view, steps[1]).camera)
    best = answers[0]
    for other in answers[1:]:
        best = chosen(other.score > best.score, other, best)
    return replace(best, focal_px=best.focal_px / windows.scales if scene.focal_px is None else scene.focal_px)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small operations: threads would wait for each other longer than they save, on a busy machine much longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _in_windows(scene: Scene, windows: Windows) -> Scene:
    return replace(
        scene,
        keypoints_px=windows.to_window(scene.keypoints_px),
        centres_px=windows.to_window(scene.centres_px),
        focal_px=None if scene.focal_px is None else scene.focal_px * windows.scales,
        masks=windows.masks,
        inside=windows.inside,
    )


def _starts(scene: Scene, start: tuple[Tensor, Tensor] | None) -> Iterator[tuple[Tensor, Tensor]]:
    points_px = scene.keypoints_px - scene.centres_px[:, None]
    yield closed_form_camera(scene.joints, points_px, scene.weights, scene.depth_m, scene.focal_px)
    if start is not None:
        focal_px, translation = start
        yield focal_px if scene.focal_px is None else scene.focal_px, translation


def _approached(problem: CameraProblem, view: View, steps: int) -> View:
    """Damped Gauss-Newton towards keypoints, outline and beliefs."""
    damping = torch.full_like(problem.sizes_px, DAMPING)
    for step in range(steps):
        progress = step / max(1, steps - 1)
        reach = OUTLINE_REACHES[0] ** (1 - progress) * OUTLINE_REACHES[1] ** progress
        matrix, vector, _ = problem.equations(view, reach)
        change = problem.solved(matrix, vector, damping)
        view, is_better = problem.taken(view, change)
        damping = torch.where(is_better, damping / 4, damping * 8).clamp_min(1e-7)
        if (damping > DAMPING_LIMIT).all():
            break
    return view


def _climbed(problem: CameraProblem, view: View, steps: int) -> View:
    """Steps along the score's own slope, in the metric of the Gauss-Newton steps, as long as they help."""
    reach_px = torch.full_like(problem.sizes_px, CLIMB_START_PX)
    damping = torch.full_like(problem.sizes_px, DAMPING)
    for _ in range(steps):
        matrix, _, slope = problem.equations(view, OUTLINE_REACHES[1])
        change = problem.solved(matrix, slope, damping)
        # The matrix measures errors in sigmas of the outline; this makes the step as long as wanted, in pixels.
        length = torch.einsum("bi,bij,bj->b", change, matrix, change).clamp_min(1e-12).sqrt()
        length_px = length * OUTLINE_SIGMA * problem.sizes_px / OUTLINE_ROWS**0.5
        view, is_better = problem.taken(view, change * (reach_px / length_px)[:, None])
        reach_px = torch.where(is_better, reach_px * 1.5, reach_px / 2)
        if (reach_px < CLIMB_END_PX).all():
            break
    return view
