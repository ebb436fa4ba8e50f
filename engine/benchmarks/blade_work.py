# SPDX-License-Identifier: GPL-3.0-or-later
"""The measuring itself; apart, because it needs torch and the command line's help must not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...models import weights
from ...models.aios import AiosConfig
from ...models.blade import DEPTH_PREFIXES, POSE_PREFIX, DepthNet, PoseNet
from ...models.body_model import load_body
from ...models.depth_anything import DepthAnythingConfig
from ...models.state import with_prefix
from ..backends.blade_input import DEPTH_PX, POSE_PX
from ..camera_scene import Scene
from ..camera_solver import solve_camera
from ..contour import Edges
from ..network_runner import torch_device
from . import recipe
from .camera_work import joined, random_truth

QUERY_MLP = 1024


def measure(batches: Sequence[int], wanted: str | None = None) -> dict[str, Any]:
    """Everything that is told, as plain values."""
    depth_network, pose_network, which = _networks(wanted)
    where = torch_device()
    for network in (depth_network, pose_network):
        network.to(where)
    rng = np.random.default_rng(0)
    edges = Edges.of(np.asarray(load_body("neutral").faces, np.int64))
    rows = []
    for size in batches:
        squares, pictures = (torch.randn(size, 3, side, side, device=where) for side in (DEPTH_PX, POSE_PX))
        scene = joined([random_truth(rng, 2.0) for _ in range(size)]).scene
        depths = torch.full((size,), 2.0, device=where)

        def depth(squares: torch.Tensor = squares) -> torch.Tensor:
            with torch.inference_mode():
                return depth_network(squares)

        def pose(pictures: torch.Tensor = pictures, depths: torch.Tensor = depths) -> object:
            with torch.inference_mode():
                return pose_network(pictures, depths)

        def camera(scene: Scene = scene) -> object:
            return solve_camera(scene, edges)

        spent = {
            "depth": recipe.seconds(depth, at_least=2),
            "pose": recipe.seconds(pose, at_least=2),
            "camera": recipe.seconds(camera, at_least=2),
        }
        spent["all"] = sum(spent.values())
        memory = recipe.peak_bytes()
        each: dict[str, float | None] = {f"{name}, ms each": round(1e3 * s / size, 1) for name, s in spent.items()}
        rows.append({"people": size} | each | {"peak GB": None if memory is None else round(memory / 1e9, 2)})
    return {"benchmark": "blade", "rows": rows, "recipe": recipe.recipe(weights=which)}


def in_words(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"- {key}: {value}" for key, value in found["recipe"].items() if value]
    return "\n".join([*lines, "", recipe.markdown(found["rows"])])


def _networks(wanted: str | None) -> tuple[nn.Module, nn.Module, str]:
    """Raises NotImported when imported ones are asked for and there are none."""
    entry = weights.find("blade")
    if wanted == "imported" or (wanted is None and weights.installed(entry)):
        state = weights.load_state(entry)
        depth = DepthNet.from_state({n: tensor for n, tensor in state.items() if n.startswith(DEPTH_PREFIXES)})
        return depth, PoseNet.from_state(with_prefix(state, POSE_PREFIX)), "imported weights"
    with torch.device("meta"):
        made = DepthNet(DepthAnythingConfig(), QUERY_MLP), PoseNet(AiosConfig())
    for network in made:
        network.to_empty(device="cpu")
        _fill(network)
    depth, pose = (network.requires_grad_(False).eval() for network in made)
    return depth, pose, "generated weights (random numbers: speed is real, accuracy is not)"


def _fill(network: nn.Module) -> None:
    """Random numbers of the sizes that keep signals as large as they were."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim > 1:
                tensor.normal_(generator=draw).mul_(tensor[0].numel() ** -0.5)
            else:
                tensor.fill_(1 if name.endswith(("weight", "running_var")) else 0)
