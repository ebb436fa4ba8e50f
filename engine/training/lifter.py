# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the landmark lifter that ships (`models/landmark_lifter.py`).

    python -m recover_body.tests.synthetic.lifter_samples out/lifter --count 20000 --large LARGE.tflite
    python -m recover_body.tests.synthetic.lifter_simulated out/simulated.npz
    python -m recover_body.engine.training.lifter out/lifter/*.npz --simulated out/simulated.npz \\
        --large LARGE.tflite --out models/body/landmark_lifter.npz

The first command draws people and runs MediaPipe; it and the last want the larger landmark network, which
`recover-body models get pose-heavy` fetches. The second makes landmarks without pictures: from them it is learned what
to do where nothing but landmarks is known. Branches begin as the ones that tell landmarks, whose weights are
Apache-2.0. Every person is learned through the true lens, marked as known, and through the presumed one.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...models.landmark_lifter import (
    APPEARANCE,
    FAR,
    OUTPUTS,
    SEEN,
    View,
    features_of,
    mirrored,
    mirrored_joints,
    points_in_sizes,
)
from ..cameras import assumed_focal_px
from ..landmark_networks import FEATURE_STEP, LARGE, MEDIUM
from .landmark_branches import branch_weights

HIDDEN, LAYERS, DROPOUT, BRANCH_DROPOUT = 512, 3, 0.1, 0.3
BATCH, RATE, BRANCH_RATE, DECAY = 256, 1e-3, 2.5e-4, 3e-2
JITTER = 0.05
"""Noise on what is seen, in its standard deviations."""
BLIND = 0.1
"""Share of people of whom only landmarks are shown."""
SIMULATED = 64
"""People in each batch who were never drawn."""
OUTLIER = 8.0
"""Standard deviations beyond which what is seen of simulated people is cut off."""
REPORT = 200
READ = ("joints_cam", "focal_px", "picture_size", "points_px", "visibility", "metric_points", "box_px", "angle_rad")
"""Of a file of samples, beside `is_large` and `features`."""


class Block(nn.Module):
    """As `landmark_lifter.Block`, channels first."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        channels = len(weights["filters.bias"])
        self.register_buffer("halves", torch.tensor(bool(weights["halves"])))
        self.stride = 2 if weights["halves"] else 1
        self.filters = nn.Conv2d(channels, channels, 3, self.stride, groups=channels)
        self.mix = nn.Linear(channels, channels)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(weights[name]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = 0 if self.stride == 2 else 1
        filtered = nn.functional.relu6(self.filters(nn.functional.pad(x, (before, 1, before, 1))))
        mixed = self.mix(filtered.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return nn.functional.relu6((nn.functional.max_pool2d(x, 2) if self.stride == 2 else x) + mixed)


class LifterNetwork(nn.Module):
    """The network of `LandmarkLifter` as torch trains it; what is seen comes in standardised."""

    def __init__(self, blocks: dict[str, list[dict[str, np.ndarray]]]) -> None:
        super().__init__()
        for network, weights in blocks.items():
            self.add_module(f"{network}_blocks", nn.ModuleList(map(Block, weights)))
            self.add_module(f"{network}_appearance", nn.Linear(4 * len(weights[0]["filters.bias"]), APPEARANCE))
        inputs, outputs = SEEN + APPEARANCE + 1, sum(OUTPUTS.values())
        self.linear = nn.Linear(inputs, outputs)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([inputs, *[HIDDEN] * LAYERS]))
        self.last = nn.Linear(HIDDEN, outputs)
        self.dropout = nn.Dropout(DROPOUT)

    def appearance(self, features: torch.Tensor, network: str) -> torch.Tensor:
        """(B, 288, 8, 8) -> (B, 256)."""
        for block in self.get_submodule(f"{network}_blocks"):  # type: ignore[attr-defined]
            features = block(features)
        features = nn.functional.dropout(features, BRANCH_DROPOUT, self.training)
        return self.get_submodule(f"{network}_appearance")(features.permute(0, 2, 3, 1).flatten(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """(B, 458) -> `OUTPUTS`."""
        first, *between = self.hidden
        hidden = nn.functional.gelu(first(self.dropout(x)), approximate="tanh")
        for layer in between:
            hidden = hidden + nn.functional.gelu(layer(self.dropout(hidden)), approximate="tanh")
        out = self.linear(x) + self.last(self.dropout(hidden))
        return dict(zip(OUTPUTS, out.split(list(OUTPUTS.values()), 1), strict=True))

    def branch_parameters(self) -> list[nn.Parameter]:
        """Those that begin as MediaPipe's."""
        return [p for name, p in self.named_parameters() if "_blocks." in name]


@dataclass(frozen=True)
class Samples:
    """N people as one landmark network saw them, through the true lens (0) and the presumed one (1)."""

    network: str
    """Whose features they are; "" where there are none."""
    seen: torch.Tensor
    """(N, 2, 201)."""
    features: torch.Tensor
    """(N, 8, 8, 288) uint8, or empty."""
    joints: torch.Tensor
    """(N, 2, 22, 3) metres, crop frame, relative to the pelvis."""
    points: torch.Tensor
    """(N, 2, 22, 2) in sizes of the person."""
    lens: torch.Tensor
    """(N, 2) ln of true over presumed focal length."""

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """`count` of them: what is seen, features, what is true."""
        return self.rows(torch.randint(len(self.seen), (count,)), torch.randint(2, (count,)))

    def rows(self, n: torch.Tensor, lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Chosen ones through chosen lenses."""
        features = self.features
        if self.network:
            features = features[n].permute(0, 3, 1, 2).float() * FEATURE_STEP[self.network]
        true = {"joints": self.joints[n, lens], "points": self.points[n, lens], "lens": self.lens[n, lens]}
        return self.seen[n, lens], features, true | {"is_known": lens == 0}


def samples(files: list[Path]) -> dict[str, Samples]:
    """Of files as `lifter_samples` writes them, by landmark network."""
    parts: dict[str, list[tuple]] = {MEDIUM: [], LARGE: []}
    for file in files:
        with np.load(file, allow_pickle=False) as data:
            is_large, features = data["is_large"], data["features"]
            get = {name: data[name].astype(np.float64) for name in READ}
        for network, chosen in ((MEDIUM, ~is_large), (LARGE, is_large)):
            if chosen.any():
                parts[network].append((*_learned({k: v[chosen] for k, v in get.items()}), features[chosen]))
    return {network: _samples(network, found) for network, found in parts.items() if found}


def simulated_samples(file: Path) -> Samples:
    """Of a file as `lifter_simulated` writes it."""
    with np.load(file, allow_pickle=False) as data:
        get = {name: data[name].astype(np.float64) for name in READ if name in data}
    return _samples("", [(*_learned(get), np.zeros(0, np.uint8))])


def _samples(network: str, parts: list[tuple]) -> Samples:
    seen, joints, points, lens, features = (np.concatenate(p) for p in zip(*parts, strict=True))
    learned = (torch.from_numpy(a.astype(np.float32)) for a in (joints, points, lens))
    return Samples(network, torch.from_numpy(seen.astype(np.float32)), torch.from_numpy(features), *learned)


def _learned(get: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """What is seen, joints, points and lens of `Samples`."""
    count = len(get["focal_px"])
    centre_px = get["picture_size"][:, None] / 2
    presumed_px = assumed_focal_px(*get["picture_size"].T)
    size_px = np.linalg.norm(get["box_px"][:, 2:] - get["box_px"][:, :2], axis=1)
    joints_px = get["joints_cam"][..., :2] / np.maximum(get["joints_cam"][..., 2:], 0.05)
    joints_px = joints_px * get["focal_px"][:, None, None]
    from_pelvis = get["joints_cam"] - get["joints_cam"][:, :1]
    seen, joints, points = [], [], []
    for focal_px, is_known in ((get["focal_px"], True), (presumed_px, False)):
        view = View(
            get["points_px"] - centre_px,
            get["visibility"],
            get["metric_points"],
            size_px,
            get["angle_rad"],
            np.zeros((count, APPEARANCE)),
            focal_px,
            np.full(count, is_known),
        )
        told, R_camera_crop = features_of(view)
        seen.append(told)
        joints.append(from_pelvis @ R_camera_crop)
        points.append(points_in_sizes(joints_px, view, R_camera_crop))
    lens = np.stack([np.zeros(count), np.log(get["focal_px"] / presumed_px)], 1)
    return (*(np.stack(a, 1) for a in (seen, joints, points)), lens)


def loss_of(told: dict[str, torch.Tensor], true: dict[str, torch.Tensor]) -> torch.Tensor:
    """Distances, and their likelihood where a distance d in k dimensions has the density exp(-d / sigma) / sigma^k."""
    joints, points = (told[name].reshape(true[name].shape) for name in ("joints", "points"))
    off_m = _length(joints - true["joints"])[:, 1:]
    log_sigma_m = told["log_sigma_m"][:, 1:].clamp(-5, 2)
    loss = (off_m / log_sigma_m.exp() + 3 * log_sigma_m).mean() + 5 * off_m.mean()
    off, log_sigma = _length(points - true["points"]), told["log_sigma"].clamp(-6, 2)
    is_near = (true["points"].abs() < FAR).all(-1)  # others are beside or behind the camera
    loss = loss + ((off / log_sigma.exp() + 2 * log_sigma) * is_near).mean() + 5 * (off * is_near).mean()
    presumed = ~true["is_known"]
    value, log_spread = (column[presumed] for column in told["lens"].unbind(1))
    off = (value - true["lens"][presumed]).abs()
    return loss + 0.5 * (off / log_spread.clamp(-4, 1).exp() + log_spread).sum() / len(presumed)


def _length(vectors: torch.Tensor) -> torch.Tensor:
    return (vectors.square().sum(-1) + 1e-8).sqrt()


class Course:
    """One training: people to learn from, people to be tested on, and the network in between."""

    def __init__(
        self, train: dict[str, Samples], test: dict[str, Samples], simulated: Samples, network: LifterNetwork
    ) -> None:
        self.train, self.test, self.simulated, self.network = train, test, simulated, network
        seen = torch.cat([people.seen.flatten(0, 1) for people in train.values()])
        self.centre, self.spread = seen.mean(0), seen.std(0) + 1e-3
        lenses = np.concatenate([people.lens[:, 1].numpy() for people in train.values()])
        self.usual_lens = np.array([lenses.mean(), lenses.std()])

    def run(self, steps: int) -> None:
        """`steps` batches, half of each network's people."""
        network, branch = self.network, set(self.network.branch_parameters())
        rest = [p for p in network.parameters() if p not in branch]
        groups = [{"params": list(branch), "lr": BRANCH_RATE}, {"params": rest, "lr": RATE}]
        optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
        rates = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.1)
        total = 0.0
        for step in range(1, steps + 1):
            network.train()
            loss = loss_of(*self._batch())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
            if step % REPORT == 0:
                print(f"step {step} of {steps}: {total / REPORT:.3f}", flush=True)
                total = 0.0
            if step % (10 * REPORT) == 0 or step == steps:
                print(self.tested(), flush=True)

    def _batch(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        inputs, truths = [], []
        for people in self.train.values():
            seen, features, true = people.draw(BATCH // len(self.train))
            is_seen = torch.rand(len(seen), 1) >= BLIND
            inputs.append(self.standard(seen, self.network.appearance(features, people.network), is_seen))
            truths.append(true)
        seen, _, true = self.simulated.draw(SIMULATED)
        mirror = slice(SIMULATED // 2)
        seen[mirror] = torch.from_numpy(mirrored(seen[mirror].numpy()))
        for name in ("joints", "points"):
            true[name][mirror] = torch.from_numpy(mirrored_joints(true[name][mirror].numpy()))
        unseen = torch.zeros(SIMULATED, 1, dtype=torch.bool)
        inputs.append(self.standard(seen, torch.zeros(SIMULATED, APPEARANCE), unseen))
        truths.append(true)
        x = torch.cat(inputs)
        seen = x[:, :SEEN].clamp(-OUTLIER, OUTLIER) + JITTER * torch.randn(len(x), SEEN)
        x = torch.cat([seen, x[:, SEEN:]], 1)
        return self.network(x), {name: torch.cat([true[name] for true in truths]) for name in truths[0]}

    def standard(self, seen: torch.Tensor, appearance: torch.Tensor, is_seen: torch.Tensor) -> torch.Tensor:
        """(B, 201), (B, 256), (B, 1) bool -> (B, 458)."""
        return torch.cat([(seen - self.centre) / self.spread, appearance * is_seen, is_seen.float()], 1)

    @torch.no_grad()
    def loss_on(self, batches: int) -> float:
        """Mean loss of some batches, without learning from them."""
        self.network.eval()
        return float(np.mean([loss_of(*self._batch()).item() for _ in range(batches)]))

    @torch.no_grad()
    def tested(self) -> str:
        """Mean errors on people it never saw: joints in mm, in the picture in % of the size, and the lens."""
        self.network.eval()
        lines = []
        for people in self.test.values():
            for lens, is_blind in product((0, 1), (False, True)):
                parts = [self._errors(people, n, lens, is_blind) for n in torch.arange(len(people.seen)).split(256)]
                numbers = ", ".join(f"{name} {torch.cat([p[name] for p in parts]).mean():.3g}" for name in parts[0])
                words = ("lens known", "presumed")[lens], "landmarks alone" if is_blind else "seen"
                lines.append(f"  {people.network}, {', '.join(words)}: {numbers}")
        return "\n".join(lines)

    def _errors(self, people: Samples, n: torch.Tensor, lens: int, is_blind: bool) -> dict[str, torch.Tensor]:
        """Of people number `n`, each (N,)."""
        seen, features, true = people.rows(n, torch.full((len(n),), lens))
        appearance = self.network.appearance(features, people.network)
        told = self.network(self.standard(seen, appearance, torch.full((len(n), 1), not is_blind)))
        joints, points = (told[name].reshape(true[name].shape) for name in ("joints", "points"))
        off = (told["lens"][:, 0] - true["lens"]).abs()
        return {
            "mm": 1000 * _length(joints - true["joints"])[:, 1:].mean(1),
            "%": 100 * _length(points - true["points"]).mean(1).clamp(max=1),
            "lens": off,
            "in 1 sigma": (off < told["lens"][:, 1].exp()).float(),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What `load_lifter` reads, in float16."""
        state = {name: value.numpy() for name, value in self.network.state_dict().items()}
        state |= {"centre": self.centre.numpy(), "spread": self.spread.numpy(), "usual_lens": self.usual_lens}
        return {name: a if a.dtype == bool else a.astype(np.float16) for name, a in state.items()}


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+", type=Path, metavar="NPZ")
    parser.add_argument("--simulated", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--large", type=Path, required=True, metavar="TFLITE")
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--steps", type=int, default=3800)
    parser.add_argument("--test-share", type=float, default=0.04, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    files = sorted(options.samples)
    every = round(1 / options.test_share)
    train, test = samples([f for n, f in enumerate(files) if n % every]), samples(files[::every])
    print({name: (len(people.seen), len(test[name].seen)) for name, people in train.items()}, flush=True)
    simulated = simulated_samples(options.simulated)
    course = Course(train, test, simulated, LifterNetwork(branch_weights(options.large)))
    course.run(options.steps)
    part = options.out.with_suffix(".part.npz")
    np.savez_compressed(part, **course.arrays())
    os.replace(part, options.out)


if __name__ == "__main__":
    main()
