# SPDX-License-Identifier: GPL-3.0-or-later
"""Milliseconds to draw a recovery in Blender: `python dev.py bench drawing`."""

import os
import sys
import time

import bpy
import numpy as np

from recover_body.addon.scene import draw_recovery
from recover_body.tests.blender.sample import camera, sample


def main() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    draw_recovery(sample(0, source="warm up").recovery)
    for people, frames in ((1, 1), (3, 1), (1, 300), (1, 600), (10, 1000)):
        times, again = [], []
        for run in range(5):
            made = sample(run, people, frames, track=camera(frames=frames), source=f"{run} {people} {frames}")
            for measured in (times, again):
                started = time.perf_counter()
                draw_recovery(made.recovery)
                measured.append(1000 * (time.perf_counter() - started))
        name = f"{people} people, {frames} frames"
        print(f"{name}: median {np.median(times):.0f} ms; in place of an earlier one {np.median(again):.0f} ms")
    # Blender's module may crash on its own way out.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
