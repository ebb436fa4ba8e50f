# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands as artists ask for them. Pictures seldom tell about fingers, and these are better than a guess.

A finger's x axis closes it, z spreads it towards the thumb's side or away (mirrored between left and right). See the
top of `engine/rigging.py` for the bones' axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from . import compat
from .pose_math import euler_xz_to_quaternion
from .scene_animation import Curves

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

_Bends = dict[str, tuple[tuple[float, ...], ...]]
"""Finger -> (x, z) of its three bones, degrees, for the left hand."""


@dataclass(frozen=True)
class HandPose:
    """One preset."""

    title: str
    about: str
    bends: _Bends


def _curl(*degrees: float, spread: float = 0.0) -> tuple[tuple[float, ...], ...]:
    return tuple((x, spread if i == 0 else 0.0) for i, x in enumerate(degrees))


_FIST = {f: _curl(76, 88, 52) for f in ("index", "middle", "ring", "pinky")}
POSES = {
    "RELAXED": HandPose(
        "Relaxed",
        "Hanging loosely, a little more closed towards the little finger",
        {
            "thumb": _curl(12, 10, 12),
            "index": _curl(18, 24, 14),
            "middle": _curl(24, 28, 16),
            "ring": _curl(28, 32, 18),
            "pinky": _curl(32, 34, 20),
        },
    ),
    "FIST": HandPose("Fist", "Closed, the thumb across the fingers", {**_FIST, "thumb": _curl(25, 30, 40, spread=25)}),
    "FLAT": HandPose("Flat", "Straight, as when leaning on something", {f: _curl(0, 0, 0) for f in FINGERS}),
    "POINTING": HandPose(
        "Pointing",
        "The index finger straight, the others closed",
        {**_FIST, "index": _curl(4, 4, 3), "thumb": _curl(25, 28, 38, spread=25)},
    ),
}


def pose_hand(rig: bpy.types.Object, side: str, preset: str, keys: str, frame: float) -> None:
    """Give the `side` ("left" or "right") hand a preset, a key of `POSES`.

    keys: SHOT replaces all keys of these fingers, so that they hold it throughout; FRAME adds a key at `frame`; NONE
    only poses, which the next frame undoes where the fingers are keyed.
    """
    quaternions = {}
    for finger, bends in POSES[preset].bends.items():
        for number, (x, z) in enumerate(bends, 1):
            name = f"{side}_{finger}{number}"
            if name in rig.pose.bones:
                quaternions[name] = euler_xz_to_quaternion(np.radians(x), np.radians(z if side == "left" else -z))
    for name, quaternion in quaternions.items():
        bone = rig.pose.bones[name]
        bone.rotation_mode = "QUATERNION"
        bone.rotation_quaternion = quaternion
    if keys == "FRAME":
        for name in quaternions:
            rig.pose.bones[name].keyframe_insert("rotation_quaternion", frame=frame, group=name)
    elif keys == "SHOT":
        _hold(rig, quaternions)


def _hold(rig: bpy.types.Object, quaternions: dict[str, np.ndarray]) -> None:
    """One key for each finger's bone, at the beginning."""
    bags = compat.own_curves(rig)
    if bags is None:
        return
    fcurves, groups = bags
    paths = {f'pose.bones["{name}"].rotation_quaternion': name for name in quaternions}
    first = min((curve.range()[0] for curve in fcurves), default=1.0)
    for curve in [c for c in fcurves if c.data_path in paths]:
        fcurves.remove(curve)
    curves = Curves(fcurves, groups)
    for path, name in paths.items():
        curves.key(path, np.array([first]), quaternions[name][None], group=name)
