# SPDX-License-Identifier: GPL-3.0-or-later
"""How often progress may be drawn: where a redraw is slow, it must not take the time of what it tells about. No bpy.

Drawing a sidebar also shows the whole window anew: nothing with a graphics card, half a second of processor under
software OpenGL, where ten a second would hold Blender's main thread and the engine's cores all the time.
"""

from __future__ import annotations

_SHARE = 0.2


class Pace:
    """Lets redraws take a fifth of the time at most, told by how late the timer is after one was asked for."""

    def __init__(self, period_s: float) -> None:
        """`period_s`: how long after one step of the timer the next one comes where nothing holds it up."""
        self._period_s = period_s
        self._asked_at: float | None = None
        self._not_before = 0.0

    def step(self, now: float) -> None:
        """A step of the timer begins at `now` (seconds)."""
        if self._asked_at is not None:
            held_s = max(0.0, now - self._asked_at - self._period_s)
            self._not_before = self._asked_at + held_s / _SHARE
            self._asked_at = None

    def allows(self, now: float) -> bool:
        """Whether a redraw may be asked for."""
        return now >= self._not_before

    def asked(self, now: float) -> None:
        """A redraw was asked for at the end of this step."""
        self._asked_at = now
