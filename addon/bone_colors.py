# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each bone can be trusted, as its colour in the viewport."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import bpy

from .scene_facts import CONFIDENCE, inferred_joints, joint_names
from .scene_rig import ROOT

STYLES = {
    "INFERRED": ("Inferred", "Grey where nothing in the picture told how the joint is turned"),
    "CONFIDENCE": ("Confidence", "Red is a guess, yellow is unsure, green can be trusted; grey was inferred"),
    "NONE": ("None", "Colours of the theme"),
}
STYLE = "recover_body_bone_colors"
"""Custom property of the rig: the style it wears."""

_GREY = (0.45, 0.45, 0.45)
_SCALE = ((0.0, (0.85, 0.12, 0.10)), (0.5, (0.95, 0.75, 0.10)), (1.0, (0.10, 0.75, 0.25)))
"""Confidence -> colour, straight between."""


def color_bones(owner: bpy.types.Object, style: str) -> None:
    """Colour the bones of the rig `owner` in `style`, a key of `STYLES`."""
    inferred = set(inferred_joints(owner))
    trust = dict(zip(joint_names(owner), owner.get(CONFIDENCE, ()), strict=False))
    joints = [bone for bone in owner.pose.bones if bone.name != ROOT]
    for bone in joints:
        if style != "NONE" and bone.name in inferred:
            _paint(bone, _GREY)
        elif style == "CONFIDENCE" and bone.name in trust:
            _paint(bone, trust_color(trust[bone.name]))
        else:
            bone.color.palette = "DEFAULT"
    owner[STYLE] = style


def trust_color(confidence: float) -> tuple[float, float, float]:
    """Linear RGB for a confidence of 0 to 1."""
    for (low, start), (high, end) in pairwise(_SCALE):
        if confidence <= high:
            share = max(0.0, (confidence - low) / (high - low))
            return tuple(a + share * (b - a) for a, b in zip(start, end, strict=True))  # type: ignore[return-value]
    return _SCALE[-1][1]


def _paint(bone: bpy.types.PoseBone, colour: Sequence[float]) -> None:
    bone.color.palette = "CUSTOM"
    own = bone.color.custom
    own.normal = colour
    own.select = [0.5 + 0.5 * value for value in colour]
    own.active = [0.8 + 0.2 * value for value in colour]
