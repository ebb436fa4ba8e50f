# SPDX-License-Identifier: GPL-3.0-or-later
"""How good the built-in backend is, on synthetic pictures with exact labels. Prints Markdown for docs/performance.md.

    python dev.py bench landmarks -- --count 60 --worst 12 out/worst.png

Every picture is recovered three times: knowing nothing, knowing the focal length, and knowing the largest person's
stature too. Pictures are made on the first run (tests/benchmarks/synthetic.py) and need ../shared/data/mocap.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from recover_body.engine import detect, frames, raster, verdict
from recover_body.engine.backends.base import BodyTrack
from recover_body.engine.backends.landmarks import LandmarksBackend
from recover_body.engine.cameras import Pinhole, initial_camera
from recover_body.models.body_model import load_body
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.tests.benchmarks.synthetic import add_arguments, contact_sheet, squared
from recover_body.tests.synthetic.landmark_offsets import OffsetMeter
from recover_body.tests.synthetic.measure import BODY, BONES, NAMES, Score, match, score
from recover_body.tests.synthetic.pictures import ROOT, Picture, pictures
from recover_body.wire.messages import CameraHint, RecoverRequest

ROWS = {"all": ("near", "mid", "far"), "< 1.2 m": ("near",), "1.2–3 m": ("mid",), "> 3 m": ("far",)}
MODES = {
    "unknown": "focal length unknown",
    "focal": "focal length given",
    "height": "focal length and stature given",
}
PACKAGES = ("mediapipe", "numpy", "opencv-python-headless", "scipy", "bpy")


@dataclass(frozen=True)
class Result:
    """One matched person in one mode."""

    picture: Picture
    person: int
    bucket: str
    score: Score
    track: BodyTrack
    camera: Pinhole


@dataclass
class Findings:
    """Everything the tables are made of."""

    results: dict[str, list[Result]] = field(default_factory=lambda: defaultdict(list))
    people: Counter = field(default_factory=Counter)
    """True people by bucket."""
    missed: list[tuple[Picture, int]] = field(default_factory=list)
    false_finds: int = 0
    milliseconds: list[tuple[float, float]] = field(default_factory=list)
    """Wall and processor time of each recovery with known focal length, warm: detection and fit."""
    offsets: OffsetMeter = field(default_factory=OffsetMeter)


def measure(chosen: list[Picture]) -> Findings:
    """Run the backend on every picture in every mode."""
    findings, backend = Findings(), LandmarksBackend()
    for number, picture in enumerate(chosen):
        print(f"\r{number + 1}/{len(chosen)}", end="", file=sys.stderr, flush=True)
        footage, truth = frames.read(str(picture.path)), picture.truth
        people = range(len(truth["masks"]))
        findings.people.update(picture.bucket(person) for person in people)
        detections = detect.find_people(footage.images[0])
        largest = int(np.argmax(truth["masks"].sum((1, 2))))
        for mode in MODES:
            known = CameraHint() if mode == "unknown" else CameraHint(fx_px=float(truth["intrinsics"][0, 0]))
            height_m = float(truth["stature_m"][largest]) if mode == "height" else None
            request = RecoverRequest("bench", str(picture.path), camera=known, height_m=height_m, want_rigs=False)
            camera = initial_camera(footage.width, footage.height, known, None)
            clocks = time.perf_counter, time.process_time
            started = [clock() for clock in clocks]
            bodies = backend.recover(footage, camera, request, lambda *_: None)
            if mode == "focal" and number:  # the first one loads models
                wall_s, cpu_s = (clock() - start for clock, start in zip(clocks, started, strict=True))
                findings.milliseconds.append((1000 * wall_s, 1000 * cpu_s))
            pairs = match(bodies.people, truth["masks"])
            for row, person in pairs:
                if mode == "height" and person != largest:
                    continue
                track = bodies.people[row]
                nearest = min(detections, key=lambda found: np.abs(found.box_px - track.boxes_px[0]).sum())
                judged = verdict.judge(track, bodies.camera, request.body)
                scored = score(track, bodies.camera, judged, nearest.metric_points, truth, person)
                findings.results[mode].append(
                    Result(picture, person, picture.bucket(person), scored, track, bodies.camera)
                )
                if mode == "focal" and not scored.is_front_back_flip and not scored.is_left_right_flip:
                    findings.offsets.add(track.keypoints_px[0], truth, person)
            if mode == "focal":
                findings.false_finds += len(bodies.people) - len(pairs)
                findings.missed += [(picture, person) for person in set(people) - {person for _, person in pairs}]
    print(file=sys.stderr)
    return findings


# ---- tables ----


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_bucket(findings: Findings, mode: str):
    """(title, results) for each row of a table."""
    return [(title, [r for r in findings.results[mode] if r.bucket in buckets]) for title, buckets in ROWS.items()]


def values(results: list[Result], name: str) -> np.ndarray:
    found = np.array([getattr(result.score, name) for result in results], float)
    return found[np.isfinite(found)]


def _mean(numbers: np.ndarray, form: str = ".0f") -> str:
    return format(float(np.mean(numbers)), form) if len(numbers) else "–"


def _median(numbers: np.ndarray, form: str = "+.0f") -> str:
    return format(float(np.median(numbers)), form) if len(numbers) else "–"


def accuracy_table(findings: Findings, mode: str) -> str:
    header = ["", "found", "PA-MPJPE", "MPJPE", "PA 14", "MPJPE 14", "PA 12", "raw MediaPipe PA 12", "2-D"]
    header += ["E_z", "E_z", "E_f", "IoU", "IoU naked", "flips l/r", "flips f/b"]
    rows = []
    for title, results in by_bucket(findings, mode):
        count = sum(findings.people[bucket] for bucket in ROWS[title])
        get = lambda name, results=results: values(results, name)  # noqa: E731
        found = f"{100 * len(results) / count:.0f} %" if mode != "height" and count else f"{len(results)}"
        row = [title, found]
        row += [_mean(get(n)) for n in ("pa_mm", "mpjpe_mm", "pa14_mm", "mpjpe14_mm", "pa12_mm", "raw_pa12_mm")]
        row += [_mean(get("joints_2d_percent"), ".1f") + " %", _mean(abs(get("depth_m")), ".2f") + " m"]
        row += [_mean(abs(get("depth_percent")), ".1f") + " %", _mean(abs(get("focal_percent")), ".1f") + " %"]
        row += [_mean(get("iou"), ".2f"), _mean(get("body_iou"), ".2f")]
        row += [_mean(100 * get("is_left_right_flip")) + " %", _mean(100 * get("is_front_back_flip")) + " %"]
        rows.append(row)
    return table(header, rows)


def uncertainty_table(findings: Findings) -> str:
    """Is the stated uncertainty of the focal length true?"""
    rows = []
    for title, results in by_bucket(findings, "unknown"):
        sigmas, percent = values(results, "focal_sigmas"), values(results, "focal_percent")
        estimated = [r.camera.source == "estimated" for r in results]
        shares = (100.0 * np.array(estimated), 100 * (abs(sigmas) < 1), 100 * (abs(sigmas) < 2))
        informed, one_sigma, two_sigma = (_mean(share) + " %" for share in shares)
        rows.append([title, informed, _median(percent) + " %", one_sigma, two_sigma])
    return table(["", "estimated (not assumed)", "median signed E_f", "inside 1 sigma", "inside 2 sigma"], rows)


def verdict_table(findings: Findings, mode: str = "focal") -> str:
    """Spearman's rank correlation of the verdict with the true error; 1 is a perfect warning. Last, how often the true
    MPJPE lies within a factor of 1.5 of the expected one."""
    warnings = {
        "1 − overlay IoU": lambda s: 1 - s.overlay_iou,
        "reprojection": lambda s: s.reprojection_percent,
        "expected error": lambda s: s.expected_error_mm,
    }
    errors = {"PA-MPJPE": lambda s: s.pa_mm, "MPJPE": lambda s: s.mpjpe_mm}
    rows = []
    for title, results in by_bucket(findings, mode):
        row = [title]
        for warning in warnings.values():
            for error in errors.values():
                pairs = np.array([(warning(r.score), error(r.score)) for r in results]).reshape(-1, 2)
                row.append(rank_correlation(*pairs[np.isfinite(pairs).all(1)].T))
        off = np.abs(np.log(values(results, "expected_error_mm") / values(results, "mpjpe_mm")))
        rows.append([*row, _mean(100 * (off < np.log(1.5))) + " %"])
    header = [f"{warning} ~ {error}" for warning in warnings for error in errors]
    return table(["", *header, "MPJPE within 1.5 times the expected"], rows)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> str:
    """Spearman's, of two of the same length; a dash where they are too few."""
    return f"{spearmanr(one, other).statistic:+.2f}" if len(one) > 4 else "–"


def bias_table(findings: Findings, mode: str = "focal") -> str:
    header = ["median, recovered − true", "depth", "stature", "silhouette area", "trunk pitch", *BONES]
    rows = []
    for title, results in by_bucket(findings, mode):
        row = [title, _median(values(results, "depth_percent"), "+.1f") + " %"]
        row += [_median(values(results, "stature_percent"), "+.1f") + " %"]
        row += [
            _median(100 * (values(results, "area_ratio") - 1)) + " %",
            _median(values(results, "trunk_pitch_deg")) + "°",
        ]
        ratios = np.array([r.score.bone_ratios for r in results]).reshape(-1, len(BONES))
        rows.append(row + [_median(100 * (ratios[:, bone] - 1)) + " %" for bone in range(len(BONES))])
    return table(header, rows)


def joint_table(findings: Findings, mode: str = "focal") -> str:
    """Left and right together: error after alignment, and the median offset along each camera axis."""
    results = findings.results[mode]
    pa = np.array([r.score.pa_joints_mm for r in results])
    offsets = np.array([r.score.offsets_mm for r in results])
    rows = []
    for name in dict.fromkeys(n.removeprefix("left_").removeprefix("right_") for n in NAMES[BODY]):
        both = [j for j, n in enumerate(NAMES[BODY]) if n.removeprefix("left_").removeprefix("right_") == name]
        medians = np.median(offsets[:, both].reshape(-1, 3), axis=0)
        spread = np.abs(offsets[:, both]).reshape(-1, 3).mean(0)
        axes = [f"{median:+.0f} (±{size:.0f})" for median, size in zip(medians, spread, strict=True)]
        rows.append([name, _mean(pa[:, both]), *axes])
    return table(["joint", "PA mm", "right mm", "down mm", "away mm"], rows)


def pose_table(findings: Findings, mode: str = "focal") -> str:
    """Kinds of pictures, worst first."""
    kinds: dict[str, list[Result]] = defaultdict(list)
    for result in findings.results[mode]:
        truth, person = result.picture.truth, result.person
        name = str(truth["pose_name"][person])
        front = truth["pose"][person, 0]
        facing = _faces_camera(front)
        kinds["whole in the picture" if truth["share_inside"][person] == 1 else "cut off"].append(result)
        kinds["two people" if len(truth["masks"]) > 1 else "one person"].append(result)
        kinds["limb to the camera" if "to the camera" in name else "no limb to the camera"].append(result)
        kinds[("seen from the front", "seen from the side", "seen from behind")[facing]].append(result)
        if "seat" in name:
            kinds["seat or squat"].append(result)
        kinds["loose clothes" if truth["looseness_m"][person] > 0.015 else "tight clothes"].append(result)
    rows = []
    for kind, results in sorted(kinds.items(), key=lambda item: -values(item[1], "pa_mm").mean()):
        row = [kind, str(len(results)), _mean(values(results, "pa_mm")), _mean(values(results, "mpjpe_mm"))]
        row += [_mean(values(results, "pa12_mm")), _mean(values(results, "raw_pa12_mm"))]
        row += [_mean(abs(values(results, "depth_percent")), ".1f") + " %", _mean(values(results, "iou"), ".2f")]
        rows.append([*row, _mean(100 * values(results, "is_front_back_flip")) + " %"])
    return table(["kind", "n", "PA", "MPJPE", "PA 12", "raw PA 12", "E_z", "IoU", "flips f/b"], rows)


def _faces_camera(root: np.ndarray) -> int:
    """0 front, 1 side, 2 back, by the angle between the body's front and the way to the camera."""
    cosine = -rotvec_to_matrix(root)[2, 2]
    return 0 if cosine > 0.5 else 1 if cosine > -0.5 else 2


def offsets_table(findings: Findings) -> str:
    rows = []
    for offset in findings.offsets.solve():
        show = lambda vector: "(" + ", ".join(f"{v:.0f}" for v in vector) + ")"  # noqa: E731
        vectors = [show(v) for v in (offset.present_mm, offset.measured_mm, offset.error_mm)]
        rows.append([offset.name, *vectors, f"{offset.scatter_mm:.0f}", str(offset.count)])
    return table(["landmark", "in the table", "measured (out, up, front) mm", "± mm", "scatter mm", "n"], rows)


def recipe(options: argparse.Namespace) -> str:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"`python dev.py bench landmarks -- --count {options.count} --seed {options.seed} --size {options.size}` "
        f"at commit {git.stdout.strip() or 'unknown'}; {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, {versions}."
    )


def report(findings: Findings, options: argparse.Namespace) -> str:
    parts = [recipe(options)]
    for mode, title in MODES.items():
        parts += [f"### {title[0].upper()}{title[1:]}", accuracy_table(findings, mode)]
    parts += ["### Stated uncertainty of the focal length", uncertainty_table(findings)]
    parts += ["### Does the verdict know? (rank correlation, focal length given)", verdict_table(findings)]
    parts += ["### Systematic errors (focal length given)", bias_table(findings), joint_table(findings)]
    parts += ["### By kind of picture (focal length given)", pose_table(findings)]
    parts += ["### Landmark offsets", offsets_table(findings)]
    wall_ms, cpu_ms = np.median(findings.milliseconds or [(np.nan, np.nan)], axis=0)
    parts += [
        f"{wall_ms:.0f} ms a picture, {cpu_ms:.0f} ms of processor time (median; detection and fit, warm). "
        f"{len(findings.missed)} of {findings.people.total()} people missed, {findings.false_finds} finds are nobody."
    ]
    return "\n\n".join(parts)


def worst_sheet(findings: Findings, count: int, path: Path, mode: str = "focal") -> None:
    """Picture beside overlay, largest MPJPE first."""
    worst = sorted(findings.results[mode], key=lambda r: -r.score.mpjpe_mm)[:count]
    tiles = []
    for result in worst:
        image, camera, body = result.picture.image, result.camera, load_body("neutral")
        track = result.track
        out = body.forward(track.pose[:1], track.betas[None], track.expression[:1], track.translation[:1])
        drawn = raster.shade(out.vertices[0], body.faces, camera.matrix, camera.width, camera.height)
        covered = drawn[..., 3:] / 255 * 0.75
        overlay = (image * (1 - covered) + drawn[..., :3] * covered).astype(np.uint8)
        tile = np.hstack([squared(image, 320), squared(overlay, 320)])
        s = result.score
        words = f"{result.picture.path.stem} {result.bucket} PA {s.pa_mm:.0f} MPJPE {s.mpjpe_mm:.0f}"
        words += f" z {s.depth_percent:+.0f}%" + " L/R" * s.is_left_right_flip + " F/B" * s.is_front_back_flip
        cv2.putText(tile, words, (4, 312), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(contact_sheet(tiles, 2), cv2.COLOR_RGB2BGR))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--worst", nargs=2, metavar=("COUNT", "PNG"), help="contact sheet of the worst cases")
    options = parser.parse_args()
    findings = measure(pictures(options.count, options.seed, options.size))
    print(report(findings, options))
    if options.worst:
        worst_sheet(findings, int(options.worst[0]), Path(options.worst[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
