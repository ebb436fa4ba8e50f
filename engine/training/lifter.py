# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the landmark lifter that ships (`models/landmark_lifter.py`).

    python -m recover_body.tests.synthetic.lifter_samples out/lifter --count 4000      # draws people, runs MediaPipe
    python -m recover_body.engine.training.lifter out/lifter/*.npz --out models/body/landmark_lifter.npz

Every person is learned through the true lens, marked as known, and through the assumed one; as is and in a mirror.
"""

from __future__ import annotations

import argparse
import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...models.landmark_lifter import FEATURES, JOINTS, features, mirrored, mirrored_joints
from ..cameras import ASSUMED_DIAGONAL_FOV_RAD

HIDDEN, LAYERS, DROPOUT = 384, 3, 0.1
BATCH, RATE, DECAY = 256, 1e-3, 1e-2
JITTER = 0.05
"""Noise on the features, in their standard deviations."""


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
    """Features (N, 201) and joints (N, 22, 3) in the ray frame, of samples as `lifter_samples` writes them."""
    data = [np.load(file, allow_pickle=False) for file in files]
    get = {name: np.concatenate([part[name] for part in data]).astype(np.float64) for name in data[0].files}
    centre_px = get["picture_size"] / 2
    assumed_px = np.linalg.norm(get["picture_size"], axis=1) / (2 * math.tan(ASSUMED_DIAGONAL_FOV_RAD / 2))
    size_px = np.linalg.norm(get["box_px"][:, 2:] - get["box_px"][:, :2], axis=1)
    inputs, joints = [], []
    for focal_px, is_known in ((get["focal_px"], True), (assumed_px, False)):
        known = np.full(len(focal_px), is_known)
        points_px = get["points_px"] - centre_px[:, None]
        seen, R_camera_ray = features(points_px, get["visibility"], get["metric_points"], size_px, focal_px, known)
        true = (get["joints_cam"] - get["joints_cam"][:, :1]) @ R_camera_ray
        inputs += [seen, mirrored(seen)]
        joints += [true, mirrored_joints(true)]
    return np.concatenate(inputs), np.concatenate(joints)


def loss_of(joints: torch.Tensor, log_sigma: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Distances in metres, and their likelihood where the distance has the density exp(-d / sigma) / sigma^3."""
    distance = ((joints - true).square().sum(-1) + 1e-8).sqrt()[:, 1:]
    log_sigma = log_sigma[:, 1:].clamp(-5, 2)
    return (distance / log_sigma.exp() + 3 * log_sigma).mean() + 5 * distance.mean()


def train(inputs: np.ndarray, joints: np.ndarray, epochs: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a `LandmarkLifter`, in float16."""
    torch.manual_seed(seed)
    centre, spread = inputs.mean(0), inputs.std(0) + 1e-3
    x, y = (torch.from_numpy(array.astype(np.float32)) for array in ((inputs - centre) / spread, joints))
    network = LifterNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps)
    for epoch in range(epochs):
        order, total = torch.randperm(len(x)), 0.0
        for chosen in order[: steps * BATCH].reshape(steps, BATCH):
            found, log_sigma = network(x[chosen] + JITTER * torch.randn(BATCH, FEATURES))
            loss = loss_of(found, log_sigma, y[chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: {total / steps:.3f}", flush=True)
    arrays = {"centre": centre, "spread": spread}
    arrays |= {f"linear_{name}": value.detach().numpy() for name, value in network.linear.named_parameters()}
    for number, layer in enumerate((*network.hidden, network.last)):
        arrays |= {f"weight{number}": layer.weight.detach().numpy(), f"bias{number}": layer.bias.detach().numpy()}
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+", type=Path, metavar="NPZ")
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    inputs, joints = training_set(options.samples)
    print(f"{len(inputs)} samples")
    arrays = train(inputs, joints, options.epochs, options.seed)
    part = options.out.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    os.replace(part, options.out)


if __name__ == "__main__":
    main()
