# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera solver beside the published procedure, in one run, on bodies whose camera is known.

    python dev.py bench camera -- --count 20 --published 2

The shipped body in random poses, before random cameras (distance 0.8 to 5 m), 1280 x 1280 pixels; exact masks,
keypoints 2 px off, depths as stated per row. The published procedure takes a minute a picture on a CPU, hence a
number of its own. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from recover_body.engine.camera_published import (
    EVALUATION_RATES,
    Evidence,
    State,
    solve_published,
    start_from_keypoints,
)
from recover_body.engine.camera_scene import Camera, Freedom, Scene
from recover_body.engine.camera_solver import solve_camera
from recover_body.engine.contour import Edges, contour_of, filled
from recover_body.models.body_model import load_body

SIDE_PX = 1280
BODY_JOINTS = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21, 15]
"""Hips, knees, ankles, shoulders, elbows, wrists, head."""


@dataclass(frozen=True)
class Truth:
    scene: Scene  # with true depths
    focal_px: torch.Tensor
    translation: torch.Tensor


def random_truth(rng: np.random.Generator, noise_px: float) -> Truth:
    """One person, whole body in the picture."""
    body = load_body("neutral")
    pose = np.zeros((1, body.joint_count, 3), np.float32)
    pose[0, 1:22] = rng.normal(0, 0.2, (21, 3))
    pose[0, 16, 2], pose[0, 17, 2] = rng.uniform(-1.2, 0), rng.uniform(0, 1.2)
    pose[0, 0] = np.pi + rng.normal(0, 0.1), 0, rng.normal(0, 0.1)
    out = body.forward(pose, rng.normal(0, 1, (1, 4)).astype(np.float32))
    pelvis = out.joints[:, :1]
    vertices, joints = torch.from_numpy(out.vertices - pelvis), torch.from_numpy((out.joints - pelvis)[:, BODY_JOINTS])
    depth = float(np.exp(rng.uniform(np.log(0.8), np.log(5.0))))
    near = (vertices[0, :, :2].abs().amax(1) / (vertices[0, :, 2] + depth)).max().item()
    focal = rng.uniform(0.6, 0.9) * SIDE_PX / 2 / near
    translation = torch.tensor([[*rng.uniform(-0.05, 0.05, 2) * depth, depth]], dtype=torch.float32)
    bodies, posed = vertices + translation, joints + translation
    points_px, keypoints_px = (x[..., :2] / x[..., 2:] * focal + SIDE_PX / 2 for x in (bodies, posed))
    masks = filled(contour_of(points_px, bodies[..., 2], Edges.of(body.faces)), points_px, SIDE_PX, SIDE_PX)
    keypoints_px = keypoints_px + torch.from_numpy(rng.normal(0, noise_px, keypoints_px.shape)).float()
    scene = Scene(
        vertices,
        joints,
        keypoints_px,
        torch.ones(keypoints_px.shape[:2]),
        masks,
        torch.full((1, 2), SIDE_PX / 2),
        depth_m=translation[:, 2],
    )
    return Truth(scene, torch.tensor([focal], dtype=torch.float32), translation)


def published(scene: Scene, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    evidence = Evidence(scene.masks.float(), scene.keypoints_px, scene.weights, scene.weights)
    focal_px, translation = start_from_keypoints(scene.joints, scene.depth_m, evidence)
    still = torch.zeros(1, 3)
    start = State(focal_px, translation, still, torch.zeros(1, 1))
    state = solve_published(lambda *_: (scene.vertices, scene.joints), faces, start, evidence, EVALUATION_RATES)
    return state.focal_px, state.translation


def overlap(truth: Truth, edges: Edges, focal_px: torch.Tensor, translation: torch.Tensor) -> float:
    bodies = truth.scene.vertices + translation[:, None]
    points_px = bodies[..., :2] / bodies[..., 2:] * focal_px[:, None, None] + SIDE_PX / 2
    drawn = filled(contour_of(points_px, bodies[..., 2], edges), points_px, SIDE_PX, SIDE_PX)
    return ((drawn & truth.scene.masks).sum() / (drawn | truth.scene.masks).sum()).item()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--published", type=int, default=2, help="on how many of them the published procedure runs too")
    parser.add_argument("--noise-px", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    truths = [random_truth(rng, options.noise_px) for _ in range(options.count)]
    faces = np.asarray(load_body("neutral").faces, np.int64)
    edges = Edges.of(faces)
    wrong = [replace(t.scene, depth_m=t.scene.depth_m * float(np.exp(rng.normal(0, 0.05)))) for t in truths]

    def ours(scene: Scene, freedom: Freedom) -> tuple[torch.Tensor, torch.Tensor]:
        camera: Camera = solve_camera(scene, edges, freedom)
        return camera.focal_px, camera.translation

    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {len(faces)} triangles, {SIDE_PX} px, ", end=""
    )
    print(f"keypoints {options.noise_px:g} px off, seed {options.seed}\n")
    print(
        "| solver | pictures | E_f % | E_Tz m | E_Txy m | mIoU | s each |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    some = slice(0, options.published)
    turned_off = Freedom()
    for name, kept, scenes, solve in (
        ("ours, true depth", truths, [t.scene for t in truths], lambda s: ours(s, turned_off)),
        ("ours, depth 5 % off, free", truths, wrong, lambda s: ours(s, Freedom(depth=True))),
        (
            "ours, depth unknown",
            truths,
            [replace(t.scene, depth_m=None) for t in truths],
            lambda s: ours(s, turned_off),
        ),
        ("ours, true depth", truths[some], [t.scene for t in truths[some]], lambda s: ours(s, turned_off)),
        (
            "published, true depth",
            truths[some],
            [t.scene for t in truths[some]],
            lambda s: published(s, torch.from_numpy(faces)),
        ),
    ):
        if not kept:
            continue
        started = time.perf_counter()
        answers = [solve(scene) for scene in scenes]
        seconds = (time.perf_counter() - started) / len(kept)
        focal = np.mean([(f / t.focal_px - 1).abs().item() for (f, _), t in zip(answers, kept, strict=True)])
        off = np.array([(x - t.translation)[0].abs().numpy() for (_, x), t in zip(answers, kept, strict=True)])
        iou = np.mean([overlap(t, edges, *answer) for answer, t in zip(answers, kept, strict=True)])
        lateral = np.linalg.norm(off[:, :2], axis=1).mean()
        row = f"| {name} | {len(kept)} | {100 * focal:.2f} | {off[:, 2].mean():.3f} | {lateral:.4f} | {iou:.4f} "
        print(f"{row}| {seconds:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
