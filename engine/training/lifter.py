# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the landmark lifter that ships (`models/landmark_lifter.py`).

    python -m recover_body.tests.synthetic.lifter_samples out/lifter --count 4000      # draws people, runs MediaPipe
    python -m recover_body.tests.synthetic.lifter_simulated out/simulated.npz          # many more poses, no MediaPipe
    python -m recover_body.engine.training.lifter out/lifter/*.npz --simulated out/simulated.npz \\
        --out models/body/landmark_lifter.npz

Every person is learned through the true lens, marked as known, and through the assumed one; as is and in a mirror. With
simulated people, these teach poses first, and what MediaPipe sees has the last word.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...models.landmark_lifter import FEATURES, JOINTS, features, mirrored, mirrored_joints
from ..cameras import ASSUMED_DIAGONAL_FOV_RAD

HIDDEN, LAYERS, DROPOUT = 384, 3, 0.1
BATCH, RATE, DECAY = 256, 1e-3, 1e-2
SIMULATED_SHARES = (0.75, 0.3)
"""Of each batch, at first and in the last third."""
JITTER = 0.05
"""Noise on the features, in their standard deviations."""
FAR = 8.0
REPORT = 500
READ = ("joints_cam", "focal_px", "picture_size", "points_px", "visibility", "metric_points", "box_px")
"""Of a file of samples."""


class LifterNetwork(nn.Module):
    """The network of `LandmarkLifter` as torch trains it; features come in standardised."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [FEATURES, *[HIDDEN] * LAYERS]
        self.linear = nn.Linear(FEATURES, 3 * JOINTS)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(HIDDEN, 4 * JOINTS)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 201) -> (B, 22, 3) metres and (B, 22) ln(sigma)."""
        first, *between = self.hidden
        hidden = nn.functional.gelu(first(self.dropout(x)), approximate="tanh")
        for layer in between:
            hidden = hidden + nn.functional.gelu(layer(self.dropout(hidden)), approximate="tanh")
        out = self.last(self.dropout(hidden))
        return (self.linear(x) + out[:, : 3 * JOINTS]).reshape(-1, JOINTS, 3), out[:, 3 * JOINTS :]


def training_set(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 201) and joints (N, 22, 3) in the ray frame, float32, of samples as `lifter_samples` writes them."""
    parts = [_learned(np.load(file, allow_pickle=False)) for file in files]
    inputs, joints = (np.concatenate(part) for part in zip(*parts, strict=True))
    return inputs, joints


def _learned(data) -> tuple[np.ndarray, np.ndarray]:
    """The same of one file."""
    get = {name: data[name].astype(np.float64) for name in READ}
    centre_px = get["picture_size"] / 2
    assumed_px = np.linalg.norm(get["picture_size"], axis=1) / (2 * math.tan(ASSUMED_DIAGONAL_FOV_RAD / 2))
    size_px = np.linalg.norm(get["box_px"][:, 2:] - get["box_px"][:, :2], axis=1)
    inputs, joints = [], []
    for focal_px, is_known in ((get["focal_px"], True), (assumed_px, False)):
        known = np.full(len(focal_px), is_known)
        points_px = get["points_px"] - centre_px[:, None]
        seen, R_camera_ray = features(points_px, get["visibility"], get["metric_points"], size_px, focal_px, known)
        true = (get["joints_cam"] - get["joints_cam"][:, :1]) @ R_camera_ray
        inputs += [seen.astype(np.float32), mirrored(seen).astype(np.float32)]
        joints += [true.astype(np.float32), mirrored_joints(true).astype(np.float32)]
    return np.concatenate(inputs), np.concatenate(joints)


def loss_of(joints: torch.Tensor, log_sigma: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Distances in metres, and their likelihood where the distance has the density exp(-d / sigma) / sigma^3."""
    distance = ((joints - true).square().sum(-1) + 1e-8).sqrt()[:, 1:]
    log_sigma = log_sigma[:, 1:].clamp(-5, 2)
    return (distance / log_sigma.exp() + 3 * log_sigma).mean() + 5 * distance.mean()


@dataclass(frozen=True)
class Rows:
    """Standardised features and joints that batches are drawn from."""

    inputs: torch.Tensor
    """(N, 201)."""
    joints: torch.Tensor
    """(N, 22, 3)."""

    @classmethod
    def of(cls, inputs: np.ndarray, joints: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> Rows:
        """Simulated people may lie far from what was seen of real ones; further than FAR they teach nothing."""
        standard = ((inputs - centre) / spread).clip(-FAR, FAR)
        return cls(*(torch.from_numpy(array.astype(np.float32)) for array in (standard, joints)))

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` of them."""
        chosen = torch.randint(len(self.inputs), (count,))
        return self.inputs[chosen], self.joints[chosen]


def train(
    inputs: np.ndarray,
    joints: np.ndarray,
    steps: int,
    seed: int = 0,
    simulated: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of a `LandmarkLifter`, in float16; `simulated` are more inputs and joints."""
    torch.manual_seed(seed)
    centre, spread = inputs.mean(0), inputs.std(0) + 1e-3
    seen = Rows.of(inputs, joints, centre, spread)
    more = Rows.of(*simulated, centre, spread) if simulated else None
    network = LifterNetwork()
    last = steps // 3
    for count, rate, share in zip((steps - last, last), (RATE, RATE / 2), SIMULATED_SHARES, strict=True):
        _descend(network, seen, more, share if more else 0.0, count, rate)
    arrays = {"centre": centre, "spread": spread}
    arrays |= {f"linear_{name}": value.detach().numpy() for name, value in network.linear.named_parameters()}
    for number, layer in enumerate((*network.hidden, network.last)):
        arrays |= {f"weight{number}": layer.weight.detach().numpy(), f"bias{number}": layer.bias.detach().numpy()}
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def _descend(network: LifterNetwork, seen: Rows, more: Rows | None, share: float, steps: int, rate: float) -> None:
    """`steps` batches, of which `share` comes from `more`."""
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    total = 0.0
    for step in range(1, steps + 1):
        x, y = seen.draw(round(BATCH * (1 - share)))
        if more is not None:
            x, y = (torch.cat(pair) for pair in zip((x, y), more.draw(round(BATCH * share)), strict=True))
        found, log_sigma = network(x + JITTER * torch.randn_like(x))
        loss = loss_of(found, log_sigma, y)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % REPORT == 0:
            print(f"step {step} of {steps}: {total / REPORT:.3f}", flush=True)
            total = 0.0


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+", type=Path, metavar="NPZ")
    parser.add_argument("--simulated", type=Path, metavar="NPZ")
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    inputs, joints = training_set(options.samples)
    simulated = training_set([options.simulated]) if options.simulated else None
    print(f"{len(inputs)} samples" + (f", {len(simulated[0])} simulated" if simulated else ""))
    arrays = train(inputs, joints, options.steps, options.seed, simulated)
    part = options.out.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    os.replace(part, options.out)


if __name__ == "__main__":
    main()
