# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's side takes: `python dev.py bench drawing`.

Milliseconds to draw a recovery, by people and frames; seconds and keys of the key reduction, and seconds of retargeting
and of every export, on recorded motion (`../shared/data/mocap`, which is needed for these).
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from recover_body.addon.export import FORMATS, export_people
from recover_body.addon.key_reduction import reduce_character
from recover_body.addon.retarget import retarget_character
from recover_body.addon.scene import draw_recovery
from recover_body.tests.blender.other_rigs import mixamo_skeleton, rigify_human
from recover_body.tests.blender.sample import camera, sample

MOCAP = Path(__file__).resolve().parents[3] / "shared" / "data" / "mocap" / "cmu8_train_30fps.npz"


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    draw_recovery(sample(0, source="warm up").recovery)
    for people, frames, runs in ((1, 1, 5), (3, 1, 5), (1, 300, 5), (1, 600, 5), (10, 1000, 2)):
        times, again = [], []
        for run in range(runs):
            made = sample(run, people, frames, track=camera(frames=frames), source=f"{run} {people} {frames}")
            for measured in (times, again):
                started = time.perf_counter()
                draw_recovery(made.recovery)
                measured.append(1000 * (time.perf_counter() - started))
        name = f"{people} people, {frames} frames"
        print(
            f"{name}: median {np.median(times):.0f} ms; in place of an earlier one {np.median(again):.0f} ms",
            flush=True,
        )
        bpy.ops.wm.read_factory_settings(use_empty=True)
    if MOCAP.exists():
        _recorded_motion()
    else:
        print(f"No recorded motion in {MOCAP}: key reduction, retargeting and exports are left out.")
    # Blender's module may crash on its own way out.
    sys.stdout.flush()
    os._exit(0)


def recorded(clip: int, frames: int):
    """A recovery of one person who does what was recorded, before a camera that stands still: 1280 pixels wide."""
    with np.load(MOCAP) as data:
        first = int(data["clip_start"][clip])
        poses = data["poses"][first : min(first + frames, int(data["clip_start"][clip + 1]))].astype(np.float64)
        name = str(data["clip_name"][clip])
    made = sample(0, 1, len(poses), track=camera(1280, 720, 1100.0), source=name)
    person = made.recovery.take.people[0]
    pose = np.zeros((len(poses), 55, 3))
    pose[:, :22] = poses
    pose[:, 0] = [np.pi, 0, 0]  # the body faces the camera
    take = replace(made.recovery.take, people=(replace(person, pose=pose),), fps=30.0)
    return name, replace(made.recovery, take=take)


def _recorded_motion() -> None:
    for clip in (0, 10, 30, 60):
        name, recovery = recorded(clip, 300)
        for budget_px in (1.0, 2.0, 4.0):
            bpy.ops.wm.read_factory_settings(use_empty=True)
            drawing = draw_recovery(recovery)
            started = time.perf_counter()
            done = reduce_character(drawing.bodies[0].rig, drawing.camera, bpy.context.scene, budget_px)
            seconds = time.perf_counter() - started
            print(
                f"{name}, {len(recovery.take.frame_numbers)} frames, {budget_px:.0f} px: {done.keys_before} keys -> "
                f"{done.keys_after} ({done.keys_before / done.keys_after:.1f} times fewer), "
                f"error {done.error_px:.2f} px, {seconds:.1f} s",
                flush=True,
            )
    _, recovery = recorded(0, 300)
    for make in (mixamo_skeleton, rigify_human):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        drawing = draw_recovery(recovery)
        target = make()
        started = time.perf_counter()
        retarget_character(drawing.bodies[0].rig, target, bpy.context.scene)
        frames = len(recovery.take.frame_numbers)
        print(f"{make.__name__}: {frames} frames baked in {time.perf_counter() - started:.1f} s", flush=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    drawing = draw_recovery(recovery)
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            started = time.perf_counter()
            (path,) = export_people([drawing.bodies[0].rig], Path(folder, "person"), kind, bpy.context.scene)
            seconds, megabytes = time.perf_counter() - started, path.stat().st_size / 1e6
            print(f"{kind}: {seconds:.1f} s, {megabytes:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
