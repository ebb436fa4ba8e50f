# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's main thread does while the engine works, and what the way there and back costs:

python dev.py bench waiting [PICTURE]

Steps are those of the app timer, ten a second: while the engine works (`fake`, which reports 20 times a second), and
while a recovery of ten people (tens of MB) arrives. Then a warm click to rig, beside the engine's own seconds.
"""

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

import recover_body
from recover_body.addon import jobs, recovering
from recover_body.addon.sources import source_from_file
from recover_body.wire.messages import ChosenPerson

TICK_S = 0.1


def main() -> None:
    picture = sys.argv[1] if len(sys.argv) > 1 else str(demo_picture())
    os.environ.setdefault("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
    recover_body.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)

    os.environ["RECOVER_BODY_FAKE"] = "slow:20"
    job = start(picture, backend="fake")
    while job.progress is None:
        tick()
    tell("engine works, 20 s", until_answered(job))
    jobs.stop()

    os.environ["RECOVER_BODY_FAKE"] = "slow:3"
    boxes = [ChosenPerson((40.0 * i, 20.0, 40.0 * i + 90, 300.0)) for i in range(10)]
    job = start(picture, backend="fake", chosen=tuple(boxes))
    while job.progress is None:
        tick()
    tell("ten people arrive", until_answered(job))
    jobs.stop()

    os.environ["RECOVER_BODY_FAKE"] = ""
    for run in range(4):
        engine_s: list[float] = []
        started = time.perf_counter()
        job = start(picture, backend="landmarks", engine_s=engine_s)
        pressed = time.perf_counter() - started
        while not job.is_done:
            tick()
        whole = time.perf_counter() - started
        assert job.is_delivered, job.failure
        kind = "cold" if run == 0 else "warm"
        print(
            f"{kind} click to rig: {whole:.2f} s, of which the engine {engine_s[0]:.2f} s, the rest "
            f"{whole - engine_s[0]:.2f} s; the press itself {1000 * pressed:.1f} ms"
        )
    recover_body.unregister()
    sys.stdout.flush()
    os._exit(0)  # Blender's module may crash on its own way out


def start(picture: str, engine_s: list[float] | None = None, **fields) -> jobs.Job:
    job = recovering.start(source_from_file(picture), bpy.context.scene, **fields)
    deliver = job.deliver

    def timed(job, answer):
        if engine_s is not None:
            engine_s.append(sum(answer.take.seconds.values()))
        return deliver(job, answer)

    job.deliver = timed
    return job


def tick() -> float:
    """One step of the timer, and the pause after it; returns its milliseconds."""
    started = time.perf_counter()
    jobs._tick()
    took = time.perf_counter() - started
    time.sleep(TICK_S)
    return 1000 * took


def until_answered(job: jobs.Job) -> list[float]:
    """Milliseconds of all steps but the one that draws."""
    steps, draw = [], job.deliver
    drew = []

    def mark(*arguments):
        drew.append(True)
        return draw(*arguments)

    job.deliver = mark
    while not job.is_done:
        took = tick()
        if not drew:
            steps.append(took)
    return steps


def tell(what: str, steps: list[float]) -> None:
    p50, p99 = statistics.median(steps), float(np.percentile(steps, 99))
    print(f"{what}: {len(steps)} steps, p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {max(steps):.2f} ms")


def demo_picture() -> Path:
    """The demo's photograph, from the package that carries it, if that is installed; else a grey picture."""
    found = importlib.util.find_spec("skimage")
    if found is not None:
        return Path(found.submodule_search_locations[0], "data", "astronaut.png")
    image = bpy.data.images.new("grey", 512, 512)
    image.file_format, image.filepath_raw = "PNG", str(Path(tempfile.mkdtemp(), "grey.png"))
    image.save()
    return Path(image.filepath_raw)


if __name__ == "__main__":
    main()
