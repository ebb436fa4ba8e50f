# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to motion once bodies are recovered: asked for with a request, kept in the take, asked anew later."""

from __future__ import annotations

from dataclasses import dataclass

CONTACT_NAMES = (
    "left_heel",
    "left_toes",
    "right_heel",
    "right_toes",
    "left_hand",
    "right_hand",
    "seat",
)
"""Parts of the body that hold on to something while they touch it, in the order of `PersonTrack.contacts`."""


@dataclass(frozen=True)
class MotionOptions:
    """What is done to a clip's motion after the network. Every step can be left out; stills pass through unchanged."""

    fill_gaps: bool = True
    """Move evenly between two sightings shortly after each other; such frames are marked as inferred."""
    smoothing_s: float | None = None
    """Time over which slow motion is smoothed, seconds; quick motion is smoothed less. 0 leaves it, None chooses."""
    ground: bool = True
    """Find one ground plane for everybody from what touches it; else people stand on z = 0 as they balance."""
    foot_lock: bool = True
    """Keep heels and toes in place while they touch the ground."""

    def __post_init__(self) -> None:
        if self.smoothing_s is not None and not 0 <= self.smoothing_s <= 10:
            raise ValueError(f"smoothing_s is {self.smoothing_s}; it must be 0 to 10 seconds")


AS_SEEN = MotionOptions(fill_gaps=False, smoothing_s=0.0, ground=False, foot_lock=False)
"""Nothing is done: the motion as the backend saw it."""
