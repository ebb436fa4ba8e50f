# SPDX-License-Identifier: GPL-3.0-or-later
"""From an opened data set to what was measured of every person in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import RecoverError
from ..training.data.bad_data import BadSample, Tally
from .asking import Asker
from .datasets import DataSet, Labelled
from .on_smpl import OnSmpl
from .scores import MEASURES, cropped, protocol_of, scored


@dataclass(frozen=True)
class Score:
    """One labelled person who was recovered."""

    sample: str
    person: int
    crop_percent: int
    protocol: str
    values: dict[str, float]
    depth_m: tuple[float, float]
    """Labelled, recovered; NaN where they mean nothing."""


@dataclass
class Measured:
    scores: list[Score] = field(default_factory=list)
    missed: dict[int, list[str]] = field(default_factory=dict)
    """Percent cropped -> who was labelled and not recovered."""
    bad: Tally = field(default_factory=Tally)
    """Samples that could not be read."""
    pictures: int = 0

    def of(self, crop_percent: int) -> list[Score]:
        return [score for score in self.scores if score.crop_percent == crop_percent]

    def means(self, crop_percent: int) -> dict[str, float]:
        """`MEASURES`, averaged over the people of whom they are known; NaN where of nobody."""
        table = [[score.values[name] for name in MEASURES] for score in self.of(crop_percent)]
        values = np.array(table, np.float64).reshape(-1, len(MEASURES))
        known = np.isfinite(values)
        sums = np.where(known, values, 0).sum(0)
        return {
            name: float(total / count) if count else float("nan")
            for name, total, count in zip(MEASURES, sums, known.sum(0), strict=True)
        }


def measure(
    dataset: DataSet,
    ask: Asker,
    crops_percent: tuple[int, ...],
    limit: int | None,
    *,
    stop_at_bad: bool,
    on_smpl: OnSmpl | None = None,
    on_picture: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Ask about the first `limit` pictures; with `on_smpl` everybody is compared there.

    Raises `BadSample` where asked to, and what makes a backend unusable."""
    measured = Measured(missed={percent: [] for percent in crops_percent})
    for problem in dataset.problems:
        _bad(problem, measured, stop_at_bad)
    for done, entry in enumerate(dataset.entries[:limit], start=1):
        try:
            picture = entry.read()
        except BadSample as problem:
            _bad(problem, measured, stop_at_bad)
        else:
            measured.pictures += 1
            for percent in crops_percent:
                _ask(dataset.name, str(entry.where.sample), picture, percent, ask, on_smpl, measured)
        on_picture(done)
    return measured


def _ask(
    dataset: str,
    sample: str,
    picture: Labelled,
    percent: int,
    ask: Asker,
    on_smpl: OnSmpl | None,
    measured: Measured,
) -> None:
    """Everybody in the whole picture; or one after the other, with the middle of their boxes alone."""
    if percent == 0:
        shown = [(picture, tuple(range(len(picture.people))))]
    else:
        shown = [(cropped(picture, row, percent / 100), (row,)) for row in range(len(picture.people))]
    for view, rows in shown:
        answer = ask(view)
        for row, labelled, found in zip(rows, view.people, answer.people, strict=True):
            if found is None:
                measured.missed[percent].append(f"{sample}, person {row}")
                continue
            if on_smpl:
                labelled, found = on_smpl(labelled), on_smpl(found)
            protocol = protocol_of(dataset, labelled, found)
            values = scored(protocol, view, labelled, found, answer.intrinsics)
            placed = labelled.is_placed and found.is_placed
            depth_m, found_m = (float(one.joints[0, 2]) if placed else math.nan for one in (labelled, found))
            measured.scores.append(Score(sample, row, percent, protocol, values, (depth_m, found_m)))


def _bad(problem: RecoverError, measured: Measured, stop: bool) -> None:
    if stop:
        raise problem
    measured.bad.add(problem.sentence)
