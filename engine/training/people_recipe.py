# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recipes have in common that learn from labelled people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .batch import Drawn, Place
from .data.people_data import PeopleData


class PeopleRecipe:
    has_idle_parameters = False

    def __init__(self, choices: Any, data: PeopleData) -> None:
        """`choices`: a preset, with `schedule` and `steps`."""
        self.choices, self._data = choices, data
        self._started = "nothing"
        """What the first weights are."""

    def rate(self, step: int) -> float:
        return self.choices.schedule.factor(step, self.choices.steps)

    def begin_step(self, step: int) -> None:
        """Nothing changes with time but the rate."""

    def batches(self, first: int, size: int, place: Place) -> Iterator[Drawn]:
        return self._data.batches(first, size, place)

    def description(self) -> dict:
        """How many steps it takes is a choice only where the rate follows it."""
        total = {"total_steps": self.choices.steps} if self.choices.schedule.knows_the_end else {}
        return (
            asdict(self.choices)
            | total
            | {
                "started_from": self._started,
                "data": {one.name: len(one) for one in self._data.training.sets},
            }
        )
