# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE's and AiOS' networks with the imported weights, kept between requests and asked in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from ...models import weights
from ...models.aios import Aios, Candidates, People
from ...models.aios_decoder import Decoded
from ...models.blade import DEPTH_PREFIXES, POSE_PREFIX, DepthNet, PoseNet
from ...models.state import with_prefix
from ..network_runner import torch_device

CANDIDATES, GROUPS = 900, 100
"""Places in a picture that AiOS considers, and people that it unfolds; the released numbers."""
BATCH = {"cuda": 16, "mps": 4, "cpu": 2}
"""Pictures that go through a network together."""


@torch.inference_mode()
def depths(pictures: Tensor) -> np.ndarray:
    """(B, 3, 518, 518) squares around people -> (B,) metres, below 10."""
    network = _loaded("depth")
    return torch.cat([network(part) for part in _batches(pictures)]).float().cpu().numpy().astype(np.float64)


def everybody(picture: Tensor) -> Candidates:
    """AiOS on a picture (3, H, W); see `people_of`."""
    network = _loaded("aios")
    with torch.inference_mode():
        return network.trunk.classify(network.trunk(picture[None].to(torch_device())))


def people_of(candidates: Candidates, groups: Sequence[int], deeper: Decoded | None = None) -> People:
    """The bodies of some groups of `everybody`'s picture; nobody else's is computed."""
    network = _loaded("aios").heads if deeper is None else _loaded("pose").frozen.heads
    with torch.inference_mode():
        kept = torch.tensor([list(groups)], device=candidates.logits.device)
        return network(candidates, kept, deeper)


def found_by_aios(pictures: Tensor, choose: Callable[[int, np.ndarray, np.ndarray], int]) -> People:
    """One person for each picture (B, 3, 400, 400): the group that `choose(row, scores, boxes)` names, of (G,), (G, 4).

    Boxes are centres and sizes in sides of the picture.
    """
    network = _loaded("aios")
    answers, row = [], 0
    with torch.inference_mode():
        for part in _batches(pictures):
            candidates = network.trunk.classify(network.trunk(part))
            answers.append(network.heads(candidates, _chosen(candidates, choose, row)))
            row += len(part)
    return _joined(answers)


def found_by_blade(
    pictures: Tensor, depths_m: np.ndarray, choose: Callable[[int, np.ndarray, np.ndarray], int]
) -> People:
    """As `found_by_aios`, by the network that is told the depths (B,)."""
    network = _loaded("pose")
    known = torch.from_numpy(depths_m).float()
    answers, row = [], 0
    with torch.inference_mode():
        for part in _batches(pictures):
            candidates, deeper = network.groups(part, known[row : row + len(part)].to(part.device))
            answers.append(network.frozen.heads(candidates, _chosen(candidates, choose, row), deeper))
            row += len(part)
    return _joined(answers)


def checksums(*entries: str) -> dict[str, str]:
    """For a take's provenance."""
    files = {entry: weights.require(weights.find(entry)).sha256[:12] for entry in entries}
    return {"torch": torch.__version__} | {f"{name} (sha256)": digest for name, digest in files.items()}


def _chosen(candidates: Candidates, choose: Callable[[int, np.ndarray, np.ndarray], int], row: int) -> Tensor:
    scores = candidates.logits.amax(-1).sigmoid().cpu().numpy()
    boxes = candidates.decoded.boxes[:, :, 0].cpu().numpy()
    groups = [choose(row + index, *pair) for index, pair in enumerate(zip(scores, boxes, strict=True))]
    return torch.tensor(groups, device=candidates.logits.device)[:, None]


def _batches(pictures: Tensor):
    where = torch_device()
    for part in pictures.split(BATCH[where.type]):
        yield part.to(where)


def _joined(answers: list[People]) -> People:
    return People(*(torch.cat([getattr(answer, name) for answer in answers]) for name in People.__dataclass_fields__))


def _loaded(kind: str) -> nn.Module:
    entry = "aios" if kind == "aios" else "blade"
    return _network(kind, weights.require(weights.find(entry)).sha256, CANDIDATES, GROUPS)


@lru_cache(maxsize=3)
def _network(kind: str, _checksum: str, candidates: int, groups: int) -> nn.Module:
    """`aios`, `depth` or `pose`; anew when the imported file was replaced."""
    if kind == "aios":
        state = weights.load_state(weights.find("aios"))
        network = Aios.from_state(state, candidates=candidates, groups=groups)
    elif kind == "depth":
        state = weights.load_state(weights.find("blade"))
        network = DepthNet.from_state({n: tensor for n, tensor in state.items() if n.startswith(DEPTH_PREFIXES)})
    else:
        state = with_prefix(weights.load_state(weights.find("blade")), POSE_PREFIX)
        network = PoseNet.from_state(state, candidates=candidates, groups=groups)
    return network.to(torch_device())
