# SPDX-License-Identifier: GPL-3.0-or-later
"""Which labelled people make the n-th batch: a function of the seed and n alone, whatever worker reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..batch import Batch, Drawn
from .bad_data import BadSample, Tally
from .people import LabelledPerson, PictureSet

Prepare = Callable[[LabelledPerson, np.random.Generator], dict[str, np.ndarray]]
"""A labelled person -> the arrays that the model is given, varied at random."""

GIVE_UP_AFTER = 100
"""Draws in a row without a usable person."""


@dataclass(frozen=True)
class Draw:
    """One sample."""

    arrays: dict[str, np.ndarray]
    skipped: list[str]
    """A sentence for each bad sample that was drawn before it."""


@dataclass(frozen=True)
class PictureDraws(Dataset):
    """Draw number n is a set by weight, a picture of it, and a person in the picture."""

    sets: Sequence[PictureSet]
    weights: np.ndarray
    """(S,) adding up to 1."""
    seed: int
    prepare: Prepare
    skip_bad: bool = False

    def __getitem__(self, number: int) -> Draw:
        random = np.random.default_rng((self.seed, number))
        skipped: list[str] = []
        for _ in range(GIVE_UP_AFTER):
            one = self.sets[random.choice(len(self.sets), p=self.weights)]
            index = int(random.integers(len(one)))
            try:
                people = one.people(index)
            except BadSample as error:
                if not self.skip_bad:
                    raise
                skipped.append(error.sentence)
                continue
            if people:
                person = people[random.integers(len(people))]
                return Draw(self.prepare(person, random), skipped)
        reason = skipped[-1] if skipped else f"{one.name} has nobody with enough keypoints"
        raise BadSample(f"{GIVE_UP_AFTER} draws in a row gave nobody to learn from; the last: {reason}")

    def __len__(self) -> int:
        return sum(len(one) for one in self.sets)

    def batches(self, first: int, size: int, rank: int, processes: int, workers: int) -> Iterator[Drawn]:
        """Batches from number `first` on, without end."""

        def numbers() -> Iterator[list[int]]:
            number = first
            while True:
                begin = (number * processes + rank) * size
                yield list(range(begin, begin + size))
                number += 1

        # Forked workers share the index of the tars instead of copying it.
        loader = DataLoader(
            self, batch_sampler=numbers(), num_workers=workers, collate_fn=_drawn, persistent_workers=workers > 0
        )
        return iter(loader)


def _drawn(draws: list[Draw]) -> Drawn:
    skipped = [sentence for draw in draws for sentence in draw.skipped]
    return Drawn(collated([draw.arrays for draw in draws]), skipped)


def collated(samples: Sequence[dict[str, np.ndarray]]) -> Batch:
    """Samples -> a batch."""
    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


def held_out_batches(
    sets: Sequence[PictureSet], prepare: Prepare, people: int, size: int, tally: Tally | None = None
) -> Iterator[Batch]:
    """The first `people` in order, `size` at a time, for evaluation. Raises `BadSample`, or counts it in `tally`."""
    random = np.random.default_rng(0)  # who prepares for evaluation draws nothing
    samples: list[dict[str, np.ndarray]] = []
    for person in every_person(sets, people, tally):
        samples.append(prepare(person, random))
        if len(samples) == size:
            yield collated(samples)
            samples = []
    if samples:
        yield collated(samples)


def every_person(
    sets: Sequence[PictureSet], limit: int | None = None, tally: Tally | None = None
) -> Iterator[LabelledPerson]:
    """All people in order, for evaluation. Raises `BadSample`, or counts it in `tally`."""
    count = 0
    for one in sets:
        for index in range(len(one)):
            try:
                people = one.people(index)
            except BadSample as error:
                if tally is None:
                    raise
                tally.add(error.sentence)
                continue
            for person in people:
                if limit is not None and count >= limit:
                    return
                yield person
                count += 1
