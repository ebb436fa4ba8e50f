# SPDX-License-Identifier: GPL-3.0-or-later
"""How a learning rate changes in the course of a training: not at all in the papers, along a cosine in small runs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A rise to the full rate, and a fall along half a cosine; nothing of both unless it is asked for."""

    warm_up_steps: int = 0
    last: float = 1.0
    """What is left of the rate at the last step."""

    @property
    def knows_the_end(self) -> bool:
        """Whether another number of steps makes it another training."""
        return self.last != 1

    def factor(self, step: int, steps: int) -> float:
        """Of the rate in step 0 … steps - 1."""
        risen = min(1.0, (step + 1) / (self.warm_up_steps + 1))
        passed = min(1.0, step / max(steps - 1, 1))
        return risen * (self.last + (1 - self.last) * (1 + math.cos(math.pi * passed)) / 2)


CONSTANT = Schedule()
TO_NOTHING = Schedule(warm_up_steps=20, last=0.01)
"""Absolute errors pull as hard near their end as far from it: only a falling rate comes to rest there."""
