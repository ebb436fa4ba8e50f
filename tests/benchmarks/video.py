# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast, how small and how good the built-in backend is on real clips. Prints Markdown.

    python dev.py bench video                        all three clips, whole
    python dev.py bench video -- --frames 1:100 tennis

Needs ../shared/fixtures/video, beside the repository. Speed is end to end: from the request to the take, with imports
and models loaded on the way, as on the command line. Memory is the most that the process ever held.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
VIDEOS = ROOT.parent / "shared" / "fixtures" / "video"
CLIPS = {"tennis": "largest", "two_people_cam01": "2", "two_people_cam02": "2"}
"""Clip -> whom to recover."""
BODY = slice(0, 22)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", help=f"some of {', '.join(CLIPS)}; all of them by default")
    parser.add_argument("--frames", default=":", metavar="A:B[:STEP]", help="only these frames")
    parser.add_argument("--people", help="whom to recover (default: the player; the two near people)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "video", help="where the takes are written")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not VIDEOS.is_dir():
        print("There is no ../shared/fixtures/video beside the repository.", file=sys.stderr)
        return 3
    names = options.clips or list(CLIPS)
    if options.child:
        print(measure(names[0], options))
        return 0
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(
        "| clip | people | frames | frames/s | CPU ms/frame | peak MB | found % | IoU mean | IoU 5 % | 2-D % | jitter |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name in names:  # a process each, so that each has its own start and its own peak
        command = [sys.executable, str(Path(__file__).resolve()), name, "--child", "--frames", options.frames]
        command += ["--out", str(options.out)] + (["--people", options.people] if options.people else [])
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        print(done.stdout.strip().splitlines()[-1] if done.returncode == 0 else f"| {name} | failed |", flush=True)
    both = [options.out / f"two_people_cam0{number}.take.npz" for number in (1, 2)]
    if len(names) > 1 and all(path.is_file() for path in both):
        print("\n" + between_views(*both))
    return 0


def measure(name: str, options: argparse.Namespace) -> str:
    """Recover one clip; a row of the table per person."""
    from recover_body.engine.pipeline import recover
    from recover_body.engine.recover_command import _frames
    from recover_body.wire.messages import RecoverRequest
    from recover_body.wire.take import write_take

    people = options.people or CLIPS[name]
    request = RecoverRequest(
        name, str(VIDEOS / f"{name}.mp4"), people=people, frames=_frames(options.frames), want_rigs=False
    )
    wall, cpu = time.perf_counter(), time.process_time()
    take = recover(request).take
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    write_take(options.out / f"{name}.take.npz", take)
    count = len(take.frame_numbers)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    each = lambda measure: " / ".join(measure(person) for person in take.people)  # noqa: E731 - used five times below
    return (
        f"| {name} | {people}: {len(take.people)} | {count} | {count / wall:.1f} | {1000 * cpu / count:.0f} "
        f"| {peak_mb:.0f} | {each(lambda p: f'{100 * (p.present & (p.score > 0)).mean():.0f}')} "
        f"| {each(lambda p: f'{np.nanmean(p.overlay_iou):.2f}')} "
        f"| {each(lambda p: f'{np.nanpercentile(p.overlay_iou, 5):.2f}')} "
        f"| {each(lambda p: f'{np.nanmean(p.reprojection_percent):.1f}')} "
        f"| {each(lambda p: f'{jitter(p):.1f}')} |"
    )


def joints(person) -> np.ndarray:
    """(F, 22, 3) metres, camera frame."""
    from recover_body.models.body_model import load_body

    return (
        load_body(person.body)
        .forward(person.pose, person.betas[None], None, person.translation, vertex_ids=np.zeros(0, int))
        .joints[:, BODY]
    )


def jitter(person) -> float:
    """Mean second difference of the joints relative to the pelvis, mm per frame squared."""
    relative = joints(person)[person.present]
    relative = relative - relative[:, :1]
    return 1000 * float(np.linalg.norm(np.diff(relative, 2, axis=0), axis=-1).mean())


def between_views(first: Path, second: Path) -> str:
    """How well the two calibrated, synchronised cameras agree on the same people's poses."""
    from recover_body.wire.take import read_take

    takes = read_take(first), read_take(second)
    numbers = np.intersect1d(takes[0].frame_numbers, takes[1].frame_numbers)
    rows = [np.searchsorted(take.frame_numbers, numbers) for take in takes]
    first_people, second_people = (
        [(joints(person)[chosen], person.present[chosen]) for person in take.people]
        for take, chosen in zip(takes, rows, strict=True)
    )
    table = np.array([[_disagreement_mm(*one, *other) for other in second_people] for one in first_people])
    count = min(table.shape)
    best = min(
        permutations(range(table.shape[1]), count), key=lambda order: sum(table[i, j] for i, j in enumerate(order))
    )
    lines = ["| camera 1 | camera 2 | frames | PA-MPJPE between the views, mm |", "|---|---|---:|---:|"]
    for i, j in enumerate(best):
        both = np.count_nonzero(first_people[i][1] & second_people[j][1])
        lines.append(f"| {takes[0].people[i].name} | {takes[1].people[j].name} | {both} | {table[i, j]:.0f} |")
    return "\n".join(lines)


def _disagreement_mm(a: np.ndarray, a_present: np.ndarray, b: np.ndarray, b_present: np.ndarray) -> float:
    """Mean PA-MPJPE of (F, 22, 3) poses where both (F,) are there."""
    from recover_body.engine.evaluation.metrics import point_errors_mm, procrustes_aligned

    both = a_present & b_present
    return float(point_errors_mm(procrustes_aligned(a[both], b[both]), b[both]).mean()) if both.any() else np.inf


if __name__ == "__main__":
    sys.exit(main())
