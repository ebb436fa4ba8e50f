# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recipe's batches come from: data sets of labelled people, and how one of them becomes arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..batch import Batch, Drawn, Place
from .bad_data import Tally
from .draws import PictureDraws, Prepare, held_out_batches
from .sources import Mix


@dataclass(frozen=True)
class PeopleData:
    """Batches to train on and to be measured on."""

    training: Mix
    validation: Mix | None
    seed: int
    workers: int
    skip_bad: bool
    preparation: Prepare
    plain: Prepare
    """The same without variation."""
    tally: Tally
    """What is passed over when measuring; training tells it with the batch."""
    evaluated_people: int = 512

    @property
    def is_varied(self) -> bool:
        """Whether training sees people otherwise than measuring does."""
        return self.preparation != self.plain

    def batches(self, first: int, size: int, place: Place) -> Iterator[Drawn]:
        """From batch number `first` on, without end."""
        draws = PictureDraws(
            self.training.sets, self.training.weights, self.seed, self.preparation, skip_bad=self.skip_bad
        )
        return draws.batches(first, size, place.rank, place.count, self.workers)

    def held_out(self, size: int) -> Iterator[Batch]:
        """The validation people in order, not varied."""
        if self.validation is not None:
            tally = self.tally if self.skip_bad else None
            yield from held_out_batches(self.validation.sets, self.plain, self.evaluated_people, size, tally)
