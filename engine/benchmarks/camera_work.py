# SPDX-License-Identifier: GPL-3.0-or-later
"""The measuring itself; apart, because it needs torch and the command line's help must not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from ...models.body_model import load_body
from ..camera_published import EVALUATION_RATES, Evidence, State, solve_published, start_from_keypoints
from ..camera_scene import STILL, Freedom, Scene
from ..camera_solver import solve_camera
from ..contour import Edges, contour_of, filled
from ..network_runner import torch_device
from . import recipe

SIDE_PX = 1280
DEPTH_OFF = 0.05
"""How wrong a network's depth is taken to be, one standard deviation of its logarithm."""
BODY_JOINTS = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21, 15]
"""Hips, knees, ankles, shoulders, elbows, wrists, head."""

Answer = tuple[torch.Tensor, torch.Tensor]
"""Focal lengths (B,) and translations (B, 3)."""


@dataclass(frozen=True)
class Truth:
    """B people each in a picture of their own, and the camera that took it."""

    scene: Scene
    """With true depths."""
    focal_px: torch.Tensor
    """(B,)"""
    translation: torch.Tensor
    """(B, 3)"""

    def errors(self, answer: Answer, edges: Edges) -> dict[str, float]:
        """Means, as the paper defines them."""
        focal_px, translation = (values.to(self.focal_px.device) for values in answer)
        off = (translation - self.translation).abs()
        return {
            "E_f %": 100 * (focal_px / self.focal_px - 1).abs().mean().item(),
            "E_Tz m": off[:, 2].mean().item(),
            "E_Txy m": off[:, :2].norm(dim=1).mean().item(),
            "mIoU": self.overlap((focal_px, translation), edges),
        }

    def overlap(self, answer: Answer, edges: Edges) -> float:
        """Mean intersection over union of the hard masks."""
        focal_px, translation = answer
        bodies = self.scene.vertices + translation[:, None]
        centres = self.scene.centres_px[:, None]
        points_px = bodies[..., :2] / bodies[..., 2:] * focal_px[:, None, None] + centres
        drawn = filled(contour_of(points_px, bodies[..., 2], edges), points_px, *self.scene.masks.shape[1:])
        inside = torch.ones_like(drawn) if self.scene.inside is None else self.scene.inside
        both = (drawn & self.scene.masks & inside).sum((1, 2))
        return (both / ((drawn | self.scene.masks) & inside).sum((1, 2))).mean().item()


def measure(count: int, published: int, batch: int, noise_px: float, seed: int) -> dict[str, Any]:
    """Everything that is told, as plain values."""
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng, noise_px) for _ in range(count)]
    faces = np.asarray(load_body("neutral").faces, np.int64)
    where = torch.device("cuda" if torch_device().type == "cuda" else "cpu")
    edges, edges_cpu = Edges.of(faces, where), Edges.of(faces)

    def off(truth: Truth) -> Truth:
        wrong = truth.translation[:, 2] * float(np.exp(rng.normal(0, DEPTH_OFF)))
        return replace(truth, scene=replace(truth.scene, depth_m=wrong))

    unknown = [replace(truth, scene=replace(truth.scene, depth_m=None)) for truth in truths]
    together = [joined(truths[first : first + batch]) for first in range(0, len(truths), batch)]
    few = truths[:published]
    ours = lambda scene, freedom=STILL: own(_moved(scene, where), edges, freedom)  # noqa: E731 - four times
    rows = [
        row("ours, true depth", truths, ours, edges_cpu),
        row(f"ours, true depth, {batch} together", together, ours, edges_cpu),
        row("ours, depth 5 % off, free", [off(t) for t in truths], lambda s: ours(s, Freedom(depth=True)), edges_cpu),
        row("ours, depth unknown", unknown, ours, edges_cpu),
    ]
    if few:
        rows.append(row("ours, true depth", few, ours, edges_cpu))
        rows.append(row("published, true depth", few, lambda s: published_way(s, faces), edges_cpu))
    found: dict[str, Any] = {"benchmark": "camera", "rows": rows}
    if few:
        found["times faster than published"] = round(rows[-1]["s each"] / rows[-2]["s each"], 1)
    bodies = f"{len(faces)} triangles, {SIDE_PX} px, keypoints {noise_px:g} px off, 0.8 to 5 m, seed {seed}"
    return found | {"recipe": recipe.recipe(bodies=bodies)}


def in_words(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"- {key}: {value}" for key, value in found["recipe"].items() if value]
    lines += ["", recipe.markdown(found["rows"])]
    if "times faster than published" in found:
        lines += ["", f"On the same bodies {found['times faster than published']} times faster than published."]
    return "\n".join(lines)


def row(name: str, truths: Sequence[Truth], solve: Callable[[Scene], Answer], edges: Edges) -> dict[str, Any]:
    """One line of the table."""
    people = sum(len(truth.focal_px) for truth in truths)
    started = time.perf_counter()
    answers = [solve(truth.scene) for truth in truths]
    recipe.wait()
    spent = (time.perf_counter() - started) / people
    errors = [truth.errors(answer, edges) for truth, answer in zip(truths, answers, strict=True)]
    shares = np.array([len(truth.focal_px) for truth in truths]) / people
    means = {key: float(shares @ [each[key] for each in errors]) for key in errors[0]}
    return {"solver": name, "people": people} | {
        "E_f %": round(means["E_f %"], 2),
        "E_Tz m": round(means["E_Tz m"], 3),
        "E_Txy m": round(means["E_Txy m"], 4),
        "mIoU": round(means["mIoU"], 4),
        "s each": round(spent, 3),
    }


def own(scene: Scene, edges: Edges, freedom: Freedom = STILL) -> Answer:
    """Our solver."""
    camera = solve_camera(scene, edges, freedom)
    return camera.focal_px.cpu(), camera.translation.cpu()


def published_way(scene: Scene, faces: np.ndarray) -> Answer:
    """The published procedure with its rates for data sets: depth and body stay. Square pictures only."""
    evidence = Evidence(scene.masks.float(), scene.keypoints_px, scene.weights, scene.weights)
    focal_px, translation = start_from_keypoints(scene.joints, scene.depth_m, evidence)
    start = State(focal_px, translation, torch.zeros(len(focal_px), 3), torch.zeros(len(focal_px), 1))
    body = lambda *_: (scene.vertices, scene.joints)  # noqa: E731 - it does not move
    state = solve_published(body, torch.from_numpy(faces), start, evidence, EVALUATION_RATES)
    return state.focal_px, state.translation


def joined(truths: Sequence[Truth]) -> Truth:
    """Several as one batch."""

    def together(parts):
        return None if parts[0] is None else torch.cat(list(parts))

    names = [each.name for each in fields(Scene) if each.name != "articulation"]
    scene = Scene(**{name: together([getattr(truth.scene, name) for truth in truths]) for name in names})
    return Truth(scene, together([t.focal_px for t in truths]), together([t.translation for t in truths]))


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
    weights, centres_px = torch.ones(keypoints_px.shape[:2]), torch.full((1, 2), SIDE_PX / 2)
    scene = Scene(vertices, joints, keypoints_px, weights, masks, centres_px, depth_m=translation[:, 2])
    return Truth(scene, torch.tensor([focal], dtype=torch.float32), translation)


def _moved(scene: Scene, where: torch.device) -> Scene:
    """To a device."""
    moved = {each.name: getattr(scene, each.name) for each in fields(Scene) if each.name != "articulation"}
    return Scene(**{name: None if values is None else values.to(where) for name, values in moved.items()})
