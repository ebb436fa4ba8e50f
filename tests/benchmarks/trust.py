# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds what the signs of `engine/trust.py` weigh, on synthetic pictures with exact labels; prints how well they tell.

    python -m recover_body.tests.benchmarks.trust --seeds 11 12 13 --test 14 --write

Every picture is recovered as users do, knowing the focal length and not knowing it. ln(MPJPE) is explained by a ridge
regression whose weights may not be negative: more of any sign is never taken for a better fit. With --write the weights
become `engine/trust_table.py`. Seed 0 is the landmark benchmark's, and is not to be learned from.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
from scipy.optimize import lsq_linear
from scipy.stats import spearmanr

from recover_body.engine import detect, frames, trust, trust_table, verdict
from recover_body.engine.backends.landmarks import still_tracks
from recover_body.engine.cameras import initial_camera
from recover_body.engine.chosen import pick_people
from recover_body.engine.fit.close_ups import fit_close_ups
from recover_body.engine.fit.key_fit import fit_keys
from recover_body.engine.second_look import reconsidered
from recover_body.tests.benchmarks.landmarks import ROWS, rank_correlation, table
from recover_body.tests.benchmarks.synthetic import DEFAULT_COUNT, DEFAULT_SIZE_PX
from recover_body.tests.synthetic.measure import Score, match, score
from recover_body.tests.synthetic.pictures import Picture, pictures
from recover_body.wire.messages import CameraHint, RecoverRequest

RIDGE = 30.0
"""Strength of the ridge, in people. From 3 to 100 makes no difference: the signs tell much the same."""
LEARNED_FROM = (11, 12, 13)
_QUIET = lambda *_: None  # noqa: E731


@dataclass(frozen=True)
class Sample:
    """One recovered person beside the true one."""

    seed: int
    bucket: str
    knows_focal: bool
    signs: dict[str, float]
    score: Score
    joint_share: np.ndarray
    """(22,) of the expected error, mean 1."""


@dataclass(frozen=True)
class Model:
    """What `trust_table.py` holds."""

    ln_error_mm: float
    signs: dict[str, trust_table.Sign]

    def expected_mm(self, samples: list[Sample]) -> np.ndarray:
        """(N,)."""
        told = sum(
            sign.weight * ((column(samples, name) - sign.usual) / sign.spread).clip(-trust.FARTHEST, trust.FARTHEST)
            for name, sign in self.signs.items()
        )
        return np.exp(self.ln_error_mm + told)


# ---- samples ----


def samples_of(seed: int, count: int, size_px: int) -> list[Sample]:
    """Everybody found in the pictures of a seed, with known and with unknown focal length."""
    samples = []
    for number, picture in enumerate(pictures(count, seed, size_px)):
        print(f"\rseed {seed}: {number + 1}/{count}", end="", file=sys.stderr, flush=True)
        samples += _samples(seed, picture)
    print(file=sys.stderr)
    return samples


def _samples(seed: int, picture: Picture) -> list[Sample]:
    footage, truth = frames.read(str(picture.path)), picture.truth
    (image,) = footage.images
    found, samples = detect.find_people(image), []
    for known in (CameraHint(fx_px=float(truth["intrinsics"][0, 0])), CameraHint()) if found else ():
        request = RecoverRequest("bench", str(picture.path), camera=known, want_rigs=False)
        before = initial_camera(footage.width, footage.height, known, None)
        people = pick_people(found, 1, request)
        keys = fit_keys(people, np.arange(len(people)), before, request, _QUIET)
        people, keys = reconsidered(image, people, keys, before, request, _QUIET)
        posed = keys.problem.skeleton.pose(keys.state)
        close_ups = fit_close_ups(tuple(person.details for person in people), posed, request.body)
        tracks = still_tracks(people, keys.fit, close_ups, keys.camera, request.body)
        signs = trust.signs(people, keys.fit, keys.camera, request.body)
        for row, person in match(tracks, truth["masks"]):
            judged = verdict.judge(tracks[row], keys.camera, request.body)
            own = {name: float(value[row]) for name, value in signs.items()}
            own["uncovered"] = float(trust.uncovered(judged.overlay_iou)[0])
            share = tracks[row].joint_error_mm[0] / tracks[row].joint_error_mm[0].mean()
            scored = score(tracks[row], keys.camera, judged, people[row].metric_points, truth, person)
            bucket = picture.bucket(person)
            samples.append(Sample(seed, bucket, known.fx_px is not None, own, scored, share))
    return samples


def column(samples: list[Sample], name: str) -> np.ndarray:
    """(N,) of a sign."""
    return np.array([sample.signs[name] for sample in samples])


def errors_mm(samples: list[Sample], name: str = "mpjpe_mm") -> np.ndarray:
    return np.array([getattr(sample.score, name) for sample in samples])


# ---- the regression ----


def learned(samples: list[Sample]) -> Model:
    """Ridge regression of ln(MPJPE) on the signs in their spreads, weights not below zero."""
    names, ln_error = list(samples[0].signs), np.log(errors_mm(samples))
    values = np.stack([column(samples, name) for name in names], 1)
    usual, spread = values.mean(0), values.std(0)
    standard = ((values - usual) / spread).clip(-trust.FARTHEST, trust.FARTHEST)
    rows = np.concatenate([standard - standard.mean(0), np.sqrt(RIDGE) * np.eye(len(names))])
    wanted = np.concatenate([ln_error - ln_error.mean(), np.zeros(len(names))])
    weights = lsq_linear(rows, wanted, (0, np.inf)).x
    signs = {
        name: trust_table.Sign(*(round(float(value), 4) for value in row))
        for name, row in zip(names, zip(usual, spread, weights, strict=True), strict=True)
    }
    return Model(round(float(ln_error.mean() - standard.mean(0) @ weights), 4), signs)


def one_out(samples: list[Sample]) -> np.ndarray:
    """(N,) expected errors, everybody's learned from the other seeds."""
    seeds, expected = np.array([sample.seed for sample in samples]), np.zeros(len(samples))
    for seed in dict.fromkeys(seeds):
        rest = [sample for sample in samples if sample.seed != seed]
        expected[seeds == seed] = learned(rest).expected_mm([s for s in samples if s.seed == seed])
    return expected


# ---- tables ----


def quality_table(samples: list[Sample], expected_mm: np.ndarray) -> str:
    """How well expected errors (N,) agree with the true ones."""
    rows = []
    for knows_focal, lens in ((True, "given"), (False, "unknown")):
        for title, buckets in ROWS.items():
            chosen = [n for n, s in enumerate(samples) if s.bucket in buckets and s.knows_focal == knows_focal]
            some, mine = [samples[n] for n in chosen], expected_mm[chosen]
            off = np.abs(np.log(mine / errors_mm(some)))
            row = [f"{title}, focal length {lens}", str(len(some))]
            row += [rank_correlation(mine, errors_mm(some, name)) for name in ("pa_mm", "mpjpe_mm")]
            rows.append([*row, f"{100 * (off < np.log(1.5)).mean():.0f} %", f"{np.median(mine):.0f}"])
    return table(["", "people", "~ PA-MPJPE", "~ MPJPE", "within 1.5 times", "median expected mm"], rows)


def signs_table(samples: list[Sample], model: Model) -> str:
    """Each sign alone, and what it weighs."""
    rows = []
    for name, sign in sorted(model.signs.items(), key=lambda item: -item[1].weight):
        alone = [rank_correlation(column(samples, name), errors_mm(samples, error)) for error in ("pa_mm", "mpjpe_mm")]
        rows.append([name, *alone, f"{sign.usual:.3f} ± {sign.spread:.3f}", f"{100 * (np.exp(sign.weight) - 1):.1f} %"])
    return table(["sign", "~ PA-MPJPE", "~ MPJPE", "usual", "a spread more adds"], rows)


def joints_in_order(samples: list[Sample]) -> float:
    """Mean rank correlation within a person: is the joint that is called the worst the worst?"""
    off = [np.linalg.norm(sample.score.offsets_mm, axis=1)[1:] for sample in samples]
    pairs = zip(samples, off, strict=True)
    return float(np.mean([spearmanr(sample.joint_share[1:], true).statistic for sample, true in pairs]))


def write(model: Model, command: str) -> None:
    """Replace the numbers of `trust_table.py`, all below its classes."""
    path = Path(trust_table.__file__)
    kept = path.read_text(encoding="utf-8").partition("COMMAND = ")[0]
    signs = "\n".join(
        f'    "{name}": Sign({sign.usual}, {sign.spread}, {sign.weight}),' for name, sign in model.signs.items()
    )
    numbers = f"LN_ERROR_MM = {model.ln_error_mm}\n"
    numbers += '"""ln of the error where everything is as usual."""\n'
    path.write_text(f'{kept}COMMAND = "{command}"\n{numbers}SIGNS = {{\n{signs}\n}}\n', encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=LEARNED_FROM, help="(default: %(default)s)")
    parser.add_argument("--test", type=int, nargs="*", default=(), metavar="SEED", help="seeds to try the result on")
    parser.add_argument("--count", type=int, default=DEFAULT_COUNT, help="pictures of each (default: %(default)s)")
    parser.add_argument("--size", type=int, default=DEFAULT_SIZE_PX, help="longer side (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write the weights into engine/trust_table.py")
    options = parser.parse_args()
    samples = [s for seed in options.seeds for s in samples_of(seed, options.count, options.size)]
    model = learned(samples)
    print("### Weights\n", signs_table(samples, model), sep="\n")
    if len(options.seeds) > 1:
        print(
            "\n### Each seed by what was learned from the others\n", quality_table(samples, one_out(samples)), sep="\n"
        )
    print(f"\nJoints of a person in the right order: {joints_in_order(samples):+.2f}.")
    for seed in options.test:
        tested = samples_of(seed, options.count, options.size)
        print(f"\n### Seed {seed}, not learned from\n", quality_table(tested, model.expected_mm(tested)), sep="\n")
    if options.write:
        seeds = " ".join(map(str, options.seeds))
        write(model, f"python -m recover_body.tests.benchmarks.trust --seeds {seeds} --write")
    return 0


if __name__ == "__main__":
    sys.exit(main())
