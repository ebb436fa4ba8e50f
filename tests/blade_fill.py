# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated weights and pictures for the BLADE fixtures: pure functions of (seed, name, shape).

The rule differs from the one of `fill_weights.py`, and so do the numbers:
the generator is PCG64 seeded with the first 16 bytes of sha256("seed:name"), and the name decides what becomes of its
normal numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch


def network_state(entries: Sequence[dict], seed: int) -> dict[str, torch.Tensor]:
    """Every tensor of a list of {name, shape, dtype}; entries with `alias_of` are the tensor of that name."""
    own = [entry for entry in entries if "alias_of" not in entry]
    with ThreadPoolExecutor(2) as pool:  # numpy draws without holding the interpreter
        filled = pool.map(lambda entry: torch.from_numpy(value(seed, **_described(entry))), own)
        state = {entry["name"]: tensor for entry, tensor in zip(own, filled, strict=True)}
    state |= {entry["name"]: state[entry["alias_of"]] for entry in entries if "alias_of" in entry}
    return state


def value(seed: int, name: str, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """One tensor."""
    if dtype != "float32":
        return np.zeros(shape, dtype)
    normal = _generator(seed, name).standard_normal(tuple(shape))
    last = name.rpartition(".")[2]
    if last == "running_var":
        normal = 0.5 + 1 / (1 + np.exp(-normal))
    elif last == "gamma" or name.endswith("bn3.weight"):
        normal = 0.2 + 0.02 * normal
    elif last in ("pos_embed", "cls_token", "mask_token", "level_embed"):
        normal *= 0.2
    elif name.endswith("sampling_offsets.bias"):
        normal *= 2
    elif len(shape) >= 2:
        normal /= math.sqrt(math.prod(shape[1:]))
    elif last == "weight":
        normal = 1 + 0.1 * normal
    else:
        normal *= 0.1
    return np.asarray(normal, np.float32)


def picture(seed: int, name: str, height: int, width: int, block_px: int = 16) -> torch.Tensor:
    """(1, 3, H, W) float32, normalised: blocks of normal noise, and white noise over them."""
    generator = _generator(seed, name)
    blocks = generator.standard_normal((3, -(-height // block_px), -(-width // block_px)))
    coarse = blocks.repeat(block_px, 1).repeat(block_px, 2)[:, :height, :width]
    fine = generator.standard_normal((3, height, width))
    return torch.from_numpy((coarse + 0.2 * fine)[None].astype(np.float32))


def _described(entry: dict) -> dict:
    return {key: entry[key] for key in ("name", "shape", "dtype")}


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
