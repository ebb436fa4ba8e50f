# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated stand-ins for `epoch_2.pth`, `aios_checkpoint.pth` and Depth Anything's file, of reduced sizes."""

from __future__ import annotations

import gzip
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from recover_body.tests import blade_fill
from recover_body.tests.parity.report import COMMITTED

SEED = 5
DRAWN = 99_991


@lru_cache(maxsize=2)
def blade_state(size: str = "_reduced") -> dict[str, torch.Tensor]:
    """Every tensor of `epoch_2.pth` that belongs to the networks; `size` "" is the released one."""
    state = {}
    for network, prefix in (("depthnet", ""), ("posenet", "pose_backbone.")):
        keys = COMMITTED / "blade" / f"keys_{network}{size}.json.gz"
        entries = json.loads(gzip.decompress(keys.read_bytes()))["entries"]
        own = [entry for entry in entries if "alias_of" not in entry]
        filled = {entry["name"]: _filled(entry) for entry in own}
        filled |= {entry["name"]: filled[entry["alias_of"]] for entry in entries if "alias_of" in entry}
        state |= {prefix + name: tensor for name, tensor in filled.items()}
    return state


def _filled(entry: dict) -> torch.Tensor:
    """By the fixtures' rule, except that large tensors repeat what was drawn for their beginning: ten times quicker."""
    shape, numbers = entry["shape"], math.prod(entry["shape"])
    if numbers <= DRAWN or len(shape) < 2:
        return torch.from_numpy(blade_fill.value(SEED, entry["name"], shape, entry["dtype"]))
    width = math.prod(shape[1:])
    drawn = blade_fill.value(SEED, entry["name"], [max(1, DRAWN // width), width])
    return torch.from_numpy(np.resize(drawn, shape))


def blade_checkpoint(path: Path, size: str = "_reduced", **changes: torch.Tensor | None) -> Path:
    """As the trainer writes it: in a wrapper, licensed buffers beside; `changes` as in `weight_files.checkpoint`."""
    state = changed(blade_state(size), changes)
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    wrapped |= {"module.body_model_train.v_template": torch.ones(3), "module.pose_backbone.body_model.x": torch.ones(2)}
    torch.save({"meta": {"epoch": 2}, "state_dict": wrapped}, path)
    return path


def aios_checkpoint(path: Path, size: str = "_reduced", **changes: torch.Tensor | None) -> Path:
    """The frozen half alone."""
    names = {
        name.removeprefix("pose_backbone."): name for name in blade_state(size) if name.startswith("pose_backbone.")
    }
    half = {short: name for short, name in names.items() if "_controlnet" not in short and not short.startswith("Tz_")}
    state = changed({short: blade_state(size)[name] for short, name in half.items()}, changes)
    torch.save({"model": state, "ema_model": {}}, path)
    return path


def depth_anything_checkpoint(path: Path) -> Path:
    """Depth Anything's own file."""
    state = {n.removeprefix("depth_backbone."): t for n, t in blade_state().items() if n.startswith("depth_backbone.")}
    torch.save(state, path)
    return path


def changed(state: dict[str, torch.Tensor], changes: dict[str, torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """Tensors replaced by name (dots written as __), or left out where None."""
    renamed = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in (state | renamed).items() if tensor is not None}
