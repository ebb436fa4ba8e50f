# SPDX-License-Identifier: GPL-3.0-or-later
"""The measuring itself; apart, because it needs torch and the command line's help must not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...models import weights
from ...models.body_model import load_body
from ...models.hmr2 import Hmr2, Hmr2Config
from ...models.rotations_torch import matrix_to_rotvec
from ...models.smpl_to_smplx import smpl_to_smplx_pose
from ...models.tokenhmr import TokenHmr, TokenHmrConfig
from ..backends import registry
from ..backends.neural import CropNetworkBackend
from ..network_runner import DTYPES, Answer, Settings, TorchRunner
from ..onnx_runner import OnnxRunner, usual_path
from . import recipe
from .crop_networks import COMPARED, FLOP_PER_CROP

_BUILT: dict[str, Callable[[], nn.Module]] = {
    "tokenhmr": lambda: TokenHmr(TokenHmrConfig()),
    "hmr2": lambda: Hmr2(Hmr2Config()),
}


def measure(
    name: str,
    batches: Sequence[int],
    wanted: str | None = None,
    dtype: str | None = None,
    runtime: str | None = None,
    accuracy: str | None = None,
) -> dict[str, Any]:
    """Everything that is told, as plain values; `accuracy` may be "no" or "only"."""
    usual = Settings.from_environment()
    settings = Settings(usual.device, dtype or usual.dtype, runtime or usual.runtime)
    backend = next(each for each in registry.all_backends() if each.name == name)
    assert isinstance(backend, CropNetworkBackend)
    runner: TorchRunner | OnnxRunner
    if settings.is_onnx:
        runner = OnnxRunner(usual_path(name, settings.runtime == "onnx-int8"), backend.checksums())
        network, which = None, "imported weights, as exported"
    else:
        network, which = _network(backend, wanted)
        runner = TorchRunner(network, settings)
    compared = COMPARED[settings.device.type]
    crops = _crops(max(*batches, compared))
    found: dict[str, Any] = {"benchmark": name, "gflop per crop": FLOP_PER_CROP / 1e9}
    if accuracy != "only":
        roof = recipe.matmul_flops(DTYPES[settings.dtype], settings.device)
        found["roofline TFLOP/s"] = round(roof / 1e12, 6)
        if settings == Settings(torch.device("cpu")):
            found["plain ViT-H, ms per crop"] = _plain_backbone_ms(network, crops[: batches[0]])
        found["rows"] = [_row(runner, crops[:size], settings.device, roof) for size in batches]
    if accuracy != "no" and (settings.is_onnx or settings.dtype != "fp32"):
        network = network or backend.build()
        exact = TorchRunner(network, Settings(settings.device))
        if settings.device.type == "cpu" and not settings.is_onnx:
            runner = _rounding(network, DTYPES[settings.dtype])
        found["against fp32"] = _difference(runner(crops[:compared]), exact(crops[:compared]))
    return found | {"recipe": recipe.recipe(weights=which, runtime=runner.name, note=runner.note)}


def _plain_backbone_ms(network: nn.Module, crops: np.ndarray) -> float:
    """What the backbone alone takes in plain torch: the whole network should hardly take more."""
    batch = torch.from_numpy(crops)
    with torch.inference_mode():
        return round(1e3 * recipe.seconds(lambda: network.backbone(batch)) / len(batch), 1)


def _row(runner: TorchRunner | OnnxRunner, crops: np.ndarray, where: torch.device, roof: float) -> dict[str, Any]:
    """Speed and memory at one batch size; the crops lie on the device already, as the engine's do."""
    batch, size = torch.from_numpy(crops).to(where), len(crops)
    spent = recipe.seconds(lambda: runner(batch))
    return {
        "batch": size,
        "ms per crop": round(1e3 * spent / size, 3),
        "ms per batch": round(1e3 * spent, 2),
        "crops/s": round(size / spent, 2),
        "TFLOP/s": round(FLOP_PER_CROP * size / spent / 1e12, 6),
        "roofline": round(FLOP_PER_CROP * size / spent / roof, 4),
        "peak GB": _gigabytes(recipe.peak_bytes()),
    }


def in_words(found: dict[str, Any]) -> str:
    """Markdown."""
    told = {key: value for key, value in found["recipe"].items() if value}
    lines = [
        f"{found['benchmark']}, {told.pop('weights')}",
        "",
        *(f"- {key}: {value}" for key, value in told.items()),
    ]
    if "rows" in found:
        lines += [
            f"- roofline: {found['roofline TFLOP/s']} TFLOP/s, measured on large matrix products; "
            f"{found['gflop per crop']:.0f} GFLOP per crop",
            "",
            recipe.markdown(found["rows"]),
        ]
    if plain := found.get("plain ViT-H, ms per crop"):
        lines += ["", f"The backbone alone in plain torch, at the first batch size: {plain} ms per crop."]
    if "against fp32" in found:
        off = found["against fp32"]
        lines += [
            "",
            f"Against fp32 on {off['crops']} crops: vertices {off['vertex mm']} mm "
            f"(mean; largest {off['largest vertex mm']}), joints {off['joint mm']} mm, pelves together.",
        ]
    return "\n".join(lines)


def _network(backend: CropNetworkBackend, wanted: str | None) -> tuple[nn.Module, str]:
    """The network, and what its weights are. Raises NotImported when imported ones are asked for and there are none."""
    here = all(weights.installed(weights.find(entry)) for entry in backend.entries)
    if wanted == "imported" or (wanted is None and here):
        return backend.build(), "imported weights"
    with torch.device("meta"):
        network = _BUILT[backend.name]()
    network.to_empty(device="cpu")
    _fill(network)
    return network.requires_grad_(False).eval(), "generated weights (random numbers: speed is real, accuracy is not)"


def _fill(network: nn.Module, seed: int = 0) -> None:
    """Random numbers of the sizes that keep signals as large as they were."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("init_body_pose"):
                tensor.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(24))
            elif name.endswith("init_cam"):
                tensor.copy_(torch.tensor([[0.9, 0, 0]]))
            elif tensor.ndim > 1:
                tensor.normal_(generator=draw).mul_(tensor[0].numel() ** -0.5)
            else:
                tensor.fill_(1.0 if name.endswith("weight") else 0.0)
        for head in ("decpose", "decpose_grot", "decshape", "deccam"):
            if isinstance(layer := getattr(network.smpl_head, head, None), nn.Linear):
                layer.weight.mul_(0.3)  # a turn of some degrees, as if around a mean


def _rounding(network: nn.Module, dtype: torch.dtype) -> TorchRunner:
    """Calculates in float32 on the processor, and rounds as the network in 16 bits does.

    The numbers are those of a graphics card, whose 16-bit products add up in 32; a processor that knows no 16-bit
    numbers needs ten minutes for a crop in them.
    """
    runner = TorchRunner(network, Settings(torch.device("cpu")))
    rounded = lambda tensor: tensor.to(dtype).float()  # noqa: E731 - one word for what follows
    backbone, decoder = runner.network.backbone, runner.network.smpl_head.transformer
    for layer in backbone.blocks.modules():
        if isinstance(layer, nn.Linear):
            layer.weight, layer.bias = (nn.Parameter(rounded(each), False) for each in (layer.weight, layer.bias))
            layer.register_forward_pre_hook(lambda _, inputs: tuple(map(rounded, inputs)))
            layer.register_forward_hook(lambda _, __, output: rounded(output))
    backbone.patch_weight, decoder.to_kv = rounded(backbone.patch_weight), rounded(decoder.to_kv)
    backbone.register_forward_pre_hook(lambda _, inputs: tuple(map(rounded, inputs)))
    decoder.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]), *inputs[1:]))
    return runner


def _crops(count: int) -> np.ndarray:
    """(B, 3, 256, 256) smooth pictures, normalised as the network's input is."""
    turns = np.random.default_rng(0).uniform(1, 10, (2, count, 3, 1, 1)).astype(np.float32)
    y, x = np.mgrid[0:1:256j, 0:1:256j].astype(np.float32)
    return np.sin(turns[0] * x) + np.cos(turns[1] * y)


def _difference(ours: Answer, exact: Answer) -> dict[str, float]:
    """Of two answers, on the free body."""
    body = load_body("neutral")
    outs = []
    for rotations, betas, _ in (ours, exact):
        pose = np.zeros((len(betas), body.joint_count, 3), np.float32)
        pose[:, :22] = smpl_to_smplx_pose(matrix_to_rotvec(torch.from_numpy(rotations)).numpy())
        out = body.forward(pose, betas)
        outs.append((out.vertices - out.joints[:, :1], (out.joints - out.joints[:, :1])[:, :22]))
    (vertices, joints), (exact_vertices, exact_joints) = outs
    apart = 1e3 * np.linalg.norm(vertices - exact_vertices, axis=-1)
    joints_apart = 1e3 * np.linalg.norm(joints - exact_joints, axis=-1)
    return {
        "crops": len(apart),
        "vertex mm": round(float(apart.mean()), 3),
        "largest vertex mm": round(float(apart.max()), 3),
        "joint mm": round(float(joints_apart.mean()), 3),
    }


def _gigabytes(count: int | None) -> float | None:
    return None if count is None else round(count / 1e9, 2)
