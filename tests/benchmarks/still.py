# SPDX-License-Identifier: GPL-3.0-or-later
"""Stills through the real engine: verdict, seconds and memory of each photograph.

    python dev.py bench still                  # the photographs in ../shared/fixtures/images
    python dev.py bench still -- photo.jpg

Each picture is asked for once to load everything, then five times; times are medians, from the request to the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from recover_body.addon.client import EngineClient
from recover_body.engine import detect, frames
from recover_body.engine.cameras import initial_camera
from recover_body.engine.fit.body_fit import BodyFit
from recover_body.engine.fit.observations import observations
from recover_body.wire.messages import CameraHint, Failure, RecoverRequest

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared" / "fixtures" / "images"
REPEATS = 5


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON too")
    options = parser.parse_args()
    pictures = options.pictures or sorted(PHOTOS.glob("*.jpg"))
    if not pictures:
        sys.exit(f"There are no photographs in {os.path.relpath(PHOTOS, ROOT)}: name some.")
    rows = measure(pictures)
    print(recipe())
    print("| picture | people | overlay IoU | reprojection | warm still | fit of the landmarks |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows["pictures"]:
        print(
            f"| {row['name']} | {row['people']} | {row['iou']:.2f} | {row['percent']:.1f} % | {row['still_s']:.2f} s "
            f"| {row['fit_ms']:.0f} ms |"
        )
    print(f"\nHello after {rows['hello_s']:.2f} s; engine's peak memory {rows['peak_mb']} MB.")
    if options.json:
        print(json.dumps(rows))


def measure(pictures: list[Path]) -> dict:
    """Ask a real engine process, then time the fit alone in this one."""
    client = EngineClient([sys.executable, str(ROOT / "engine" / "launch.py"), "serve"])
    rows = []
    try:
        started = time.perf_counter()
        client.start()
        while client.hello is None:
            client.poll()
            time.sleep(0.005)
        hello_s = time.perf_counter() - started
        for picture in pictures:
            times = []
            for _ in range(REPEATS + 1):
                request_started = time.perf_counter()
                name = client.submit(RecoverRequest(picture.name, str(picture)))
                answer = client.wait(name, 120)
                times.append(time.perf_counter() - request_started)
            if isinstance(answer, Failure):
                sys.exit(f"{picture}: {answer.sentence} {answer.remedy}")
            first = answer.take.people[0]
            rows.append(
                {
                    "name": picture.name,
                    "people": len(answer.take.people),
                    "iou": float(first.overlay_iou[0]),
                    "percent": float(first.reprojection_percent[0]),
                    "still_s": float(np.median(times[1:])),
                    "fit_ms": fit_ms(picture),
                }
            )
        peak_mb = peak_memory_mb(client.hello.pid)
    finally:
        client.close()
    return {"pictures": rows, "hello_s": hello_s, "peak_mb": peak_mb}


def fit_ms(picture: Path) -> float:
    """Milliseconds from landmarks to the largest person's body: the landmark stage, without hands and silhouette."""
    footage = frames.read(str(picture))
    image = footage.images[0]
    camera = initial_camera(footage.width, footage.height, CameraHint(), footage.exif_focal_36mm)
    people = sorted(
        detect.find_people(image), key=lambda person: -float(np.prod(person.box_px[2:] - person.box_px[:2]))
    )
    seen = observations(people[:1], camera, np.full(1, np.nan))
    times = []
    for _ in range(20):
        started = time.perf_counter()
        BodyFit(seen).from_landmarks()
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))


def peak_memory_mb(pid: int) -> int | None:
    """Peak resident memory of a process, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else None


def recipe() -> str:
    """What the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"`python dev.py bench still` at commit {commit.stdout.strip()}; {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, load {load:.1f}.\n"
    )


if __name__ == "__main__":
    main()
