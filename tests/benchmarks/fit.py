# SPDX-License-Identifier: GPL-3.0-or-later
"""What each step of the built-in backend costs the processor, once everything is loaded. Prints Markdown.

    python dev.py bench fit                  # the photographs in ../shared/fixtures/images, and drawn people
    python dev.py bench fit -- photo.jpg

Milliseconds of processor time, all threads together, the least of several runs: other work on the machine disturbs
that least. Ten people are drawn into one picture, four of them small, and are timed from pixels to verdict.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from recover_body.engine import detect, frames, verdict
from recover_body.engine.backends.base import Bodies
from recover_body.engine.backends.landmarks import LandmarksBackend
from recover_body.engine.cameras import Pinhole, initial_camera
from recover_body.engine.detect import Detection
from recover_body.engine.fit.body_fit import BodyFit
from recover_body.engine.fit.clip_fit import fit_window_by_landmarks
from recover_body.engine.fit.close_ups import fit_close_ups
from recover_body.engine.fit.key_fit import agreed_camera
from recover_body.engine.fit.observations import Masks, observations
from recover_body.engine.mediapipe_graphs import Region, find_details, find_landmarks
from recover_body.engine.synth.pictures import drawn
from recover_body.engine.synth.poses import Poses
from recover_body.engine.synth.scenes import Dummy, Scene
from recover_body.wire.messages import CameraHint, RecoverRequest

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared" / "fixtures" / "images"
REPEATS, BATCH = 5, 100
BODY, CLOSER, JUDGED = ("landmarks", "fit", "outlines"), ("hands and face", "fingers, face"), ("tiles", "verdict")
CROWD_PX, CROWD_FOCAL_PX, CROWD_SEED = (1600, 900), 1400.0, 5
LARGE_AT = tuple((right_m, 0.55, 5.2) for right_m in (-2.4, -1.45, -0.5, 0.5, 1.45, 2.4))
SMALL_AT = tuple((right_m, -2.2, 11.0) for right_m in (-4.5, -1.5, 1.6, 4.6))
"""Where pelves are, metres to the right of the camera's axis, below it and along it: six stand before a gallery."""


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    pictures = parser.parse_args().pictures or sorted(PHOTOS.glob("*.jpg"))
    if not pictures:
        print(f"There are no photographs in {os.path.relpath(PHOTOS, ROOT)}: only drawn people are measured.\n")
    footages = [frames.read(str(path)) for path in pictures] + [crowd()]
    print(recipe())
    print(
        "Processor ms per person and picture; *landmarks* with the detector once, *tiles* are where small people are:\n"
    )
    steps = (*BODY, *CLOSER, *JUDGED)
    print("| picture | people | " + " | ".join(steps) + " | body only | with hands and face |")
    print("| --- | ---: |" + " ---: |" * (len(steps) + 2))
    for footage in footages:
        count, ms = still_ms(footage)
        body_ms = sum(ms[name] for name in BODY)
        cells = (*(ms[name] for name in steps), body_ms, body_ms + sum(ms[name] for name in CLOSER))
        print(f"| {footage.name} | {count} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |", flush=True)
    alone_ms, outlines_ms, clip_ms = batch_ms(footages[0])
    print(
        f"\n{BATCH} rows at once, each the find in {footages[0].name} with landmarks shaken a little, processor ms per "
        f"row: {alone_ms:.1f} for the fit of the landmarks, {outlines_ms:.1f} for a still's outlines; {clip_ms:.1f} "
        "for both as frames of one clip, fingers and face too."
    )
    wall_s, cpu_s, found = end_to_end_s(footages[-1])
    width, height = CROWD_PX
    print(
        f"\n{len(LARGE_AT + SMALL_AT)} drawn people in {width} x {height} pixels, {found} of them found, from pixels "
        f"to verdict: {wall_s:.2f} s, of the processor {cpu_s:.2f} s."
    )


def still_ms(footage: frames.Footage) -> tuple[int, dict[str, float]]:
    """How many people are found in a still, and what each step takes per person."""
    (image,) = footage.images
    camera, people = camera_of(footage), detect.find_people(image)
    regions = [person.region for person in people if person.region is not None]
    boxes_px, masks = np.array([person.box_px for person in people]), Masks(people)
    problem, state, system = fitted(people, camera)
    posed = problem.skeleton.pose(problem.with_silhouettes(state, system, masks, boxes_px)[0])
    details = tuple(person.details for person in people)
    bodies = recovered(footage)
    ms = {
        "landmarks": least_ms(lambda: looked_at(image, regions)),
        "tiles": least_ms(lambda: detect.find_all_regions(image)),
        "hands and face": least_ms(lambda: [find_details(image, p.points_px, p.visibility) for p in people]),
        "fit": least_ms(lambda: fitted(people, camera)),
        "outlines": least_ms(lambda: problem.with_silhouettes(state, system, masks, boxes_px)),
        "fingers, face": least_ms(lambda: fit_close_ups(details, posed, "neutral")),
        "verdict": least_ms(lambda: judge(bodies)),
    }
    return len(people), {name: value / len(people) for name, value in ms.items()}


def looked_at(image: np.ndarray, regions: list[Region]) -> list[Detection | None]:
    """The detector once, then landmarks and mask of each region: what somebody costs who is not small."""
    detect.find_regions(image)
    found = [find_landmarks(image, region) for region in regions]
    return [detect.as_detection(landmarks, image) for landmarks in found if landmarks is not None]


def batch_ms(footage: frames.Footage) -> tuple[float, float, float]:
    """Per row of a batch of the still's first person: fit of the landmarks, outlines, and the same as a clip."""
    (image,) = footage.images
    camera, person = camera_of(footage), detect.find_people(image)[0]
    rng = np.random.default_rng(0)
    size_px = float(np.linalg.norm(person.box_px[2:] - person.box_px[:2]))
    rows = [
        replace(
            person,
            points_px=person.points_px + rng.normal(0, 0.005 * size_px, (33, 2)),
            metric_points=person.metric_points + rng.normal(0, 0.02, (33, 3)),
        )
        for _ in range(BATCH)
    ]
    boxes_px, masks = np.array([row.box_px for row in rows]), Masks(rows)
    problem, state, system = fitted(rows, camera)
    alone_ms = least_ms(lambda: fitted(rows, camera), 2)
    outlines_ms = least_ms(lambda: problem.with_silhouettes(state, system, masks, boxes_px), 1)
    times_s, betas = np.arange(BATCH) / 30, np.zeros(10)
    clip_ms = least_ms(lambda: fit_window_by_landmarks(rows, times_s, camera, betas, "neutral"), 2)
    return alone_ms / BATCH, outlines_ms / BATCH, clip_ms / BATCH


def end_to_end_s(footage: frames.Footage) -> tuple[float, float, int]:
    """Wall and processor seconds from pixels to verdict, warm, and how many people that found."""
    taken = []
    for _ in range(3):
        started = time.perf_counter(), time.process_time()
        bodies = recovered(footage)
        judge(bodies)
        taken.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    wall_s, cpu_s = map(min, zip(*taken, strict=True))
    return wall_s, cpu_s, len(bodies.people)


def fitted(people: list[Detection], camera: Pinhole):
    """Landmarks, hands and faces fitted, as `fit_keys` does it."""
    problem = BodyFit(observations(people, camera, np.full(len(people), np.nan)))
    state, system = problem.from_landmarks()
    agreed = agreed_camera(camera, problem.result(state, system), np.arange(len(people)))
    return problem, *problem.with_focal(state, agreed.fx_px)


def recovered(footage: frames.Footage) -> Bodies:
    request = RecoverRequest("bench", footage.name, want_rigs=False)
    return LandmarksBackend().recover(footage, camera_of(footage), request, lambda *_: None)


def judge(bodies: Bodies) -> None:
    for track in bodies.people:
        verdict.judge(track, bodies.camera, "neutral")


def camera_of(footage: frames.Footage) -> Pinhole:
    return initial_camera(footage.width, footage.height, CameraHint(), footage.exif_focal_36mm)


class Standing(Poses):
    """People who stand about."""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The root (3,) and (21, 3) rotation vectors, arms down from the T-pose."""
        pose = rng.normal(0, 0.12, (21, 3))
        pose[[15, 16], 2] += np.array([-1.0, 1.0])
        return rng.normal(0, 0.05, 3), pose


def crowd() -> frames.Footage:
    """Ten people before a made-up room, each drawn and dressed at random."""
    rng = np.random.default_rng(CROWD_SEED)
    width, height = CROWD_PX
    intrinsics = np.array([[CROWD_FOCAL_PX, 0, width / 2], [0, CROWD_FOCAL_PX, height / 2], [0, 0, 1]])
    actors = tuple(Dummy.made(rng, Standing(), reach=0.0).at(np.array(pelvis)) for pelvis in LARGE_AT + SMALL_AT)
    image = drawn(rng, Scene(actors, intrinsics, width, height, lens_mm=0.0))
    return frames.Footage("drawn people", [image], np.array([1]), 24.0, None, width, height)


def least_ms(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Processor time of the quickest of several runs, after one that loads what is missing."""
    taken = []
    for _ in range(repeats + 1):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return 1000 * min(taken[1:])


def recipe() -> str:
    """What the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    network = "with" if detect.larger_network() else "without"
    return (
        f"`python dev.py bench fit` at commit {commit.stdout.strip()}; {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, numpy {np.__version__}, load {load:.1f}, {network} the larger landmark "
        "network.\n"
    )


if __name__ == "__main__":
    main()
