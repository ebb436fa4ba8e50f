# SPDX-License-Identifier: GPL-3.0-or-later
"""The take as a strip in the NLA editor, so that artists layer their own animation on top."""

from __future__ import annotations

import bpy

from . import compat
from .errors import DrawError


def push_down(owners: list[bpy.types.ID]) -> int:
    """Put the action of each of `owners` (objects, shape keys) into an NLA track of its own; returns how many.

    Raises DrawError where none has one.
    """
    pushed = 0
    for owner in owners:
        animation = owner.animation_data if owner is not None else None
        if animation is None or animation.action is None:
            continue
        action, slot = animation.action, compat.slot_of(animation)
        first, _ = action.frame_range
        track = animation.nla_tracks.new()
        track.name = action.name
        strip = track.strips.new(action.name, int(first), action)
        if slot is not None:
            strip.action_slot = slot
        strip.frame_start = first  # the number above must be whole
        animation.action = None
        pushed += 1
    if not pushed:
        raise DrawError("There is no action to push down.", "It lies in the NLA editor already, or was removed.")
    return pushed
