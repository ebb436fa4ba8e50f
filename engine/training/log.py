# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training run leaves to look at: run.json, log.csv, log.json, curves.png, and a bar while it runs."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch import Tensor
from tqdm import tqdm

STEP, SECONDS = "step", "seconds"
_EVALUATED = "val_"
_DRAW_EVERY_S = 20.0


def as_json(description: dict) -> dict:
    """What is left of it after JSON: tuples are lists, paths are text."""
    return json.loads(json.dumps(description, default=str))


def write_settings(folder: Path, description: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


class TrainingLog:
    """Rows by step. Means over the steps since the last row are what is written."""

    def __init__(self, folder: Path, step: int, steps: int, *, shown: bool) -> None:
        self._folder, self._shown = folder, shown
        self.rows: list[dict[str, float]] = _rows_until(folder, step)
        self._seconds_before = max((row[SECONDS] for row in self.rows), default=0.0)
        self._started = self._drawn = time.monotonic()
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._bar = tqdm(total=steps, initial=step, unit="step", disable=None if shown else True, dynamic_ncols=True)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._shown:
            self.write()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """One forward pass. Nothing is waited for: values stay where they were computed."""
        for name, value in terms.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def line(self, step: int, **more: float) -> dict[str, float]:
        """Close the row that ends with `step`; returns its figures."""
        figures = {name: float(value) / self._count for name, value in self._sums.items()} | more
        self._sums, self._count = {}, 0
        self._row(step).update(figures)
        self._bar.update(step - self._bar.n)
        self._bar.set_postfix({"loss": f"{figures['loss']:.4g}"}, refresh=False)
        if self._shown and time.monotonic() - self._drawn > _DRAW_EVERY_S:
            self.write()
        return figures

    def evaluation(self, step: int, figures: Mapping[str, float]) -> None:
        self._row(step).update({_EVALUATED + name: value for name, value in figures.items()})
        if self._shown:
            words = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            self._bar.write(f"step {step}: {words}", file=sys.stderr)  # what is printed may be asked for as JSON

    def _row(self, step: int) -> dict[str, float]:
        if not self.rows or self.rows[-1][STEP] != step:
            seconds = self._seconds_before + time.monotonic() - self._started
            self.rows.append({STEP: step, SECONDS: round(seconds, 1)})
        return self.rows[-1]

    def write(self) -> None:
        """Each file whole or not at all."""
        if not self.rows:
            return
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        beside = self._folder / "log.csv.part"
        with beside.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(self.rows)
        os.replace(beside, self._folder / "log.csv")
        beside = self._folder / "log.json.part"
        # JSON has no word for what is not a number.
        rows = [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in self.rows]
        beside.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self._folder / "log.json")
        draw_curves(self.rows, self._folder / "curves.png")
        self._drawn = time.monotonic()


def _rows_until(folder: Path, step: int) -> list[dict[str, float]]:
    """The rows of an interrupted run up to the checkpoint from which it goes on."""
    path = folder / "log.json"
    if step == 0 or not path.is_file():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [{name: math.nan if v is None else v for name, v in row.items()} for row in rows if row[STEP] <= step]


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Every figure against the steps: one small plot each, training and evaluation of the same name together."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for row in rows for name in row if name not in (STEP, SECONDS))
    plots = [name for name in dict.fromkeys(name.removeprefix(_EVALUATED) for name in names) if name != "score"]
    columns = min(4, len(plots))
    lines = -(-len(plots) // columns)
    figure = Figure(figsize=(4 * columns, 2.8 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for index, plot in enumerate(plots):
        axes = figure.add_subplot(lines, columns, index + 1)
        values, drawn = [], 0
        for name, style, label in ((plot, "-", "training"), (_EVALUATED + plot, "o-", "held out")):
            points = [(row[STEP], row[name]) for row in rows if name in row and math.isfinite(row[name])]
            if points:
                axes.plot(*zip(*points, strict=True), style, markersize=3, linewidth=1.2, label=label)
                values += [value for _, value in points]
                drawn += 1
        axes.set_title(plot, fontsize=10)
        if values and min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
        if drawn == 2:
            axes.legend(fontsize=8)
    beside = path.with_suffix(".part.png")
    figure.savefig(beside, dpi=100)
    os.replace(beside, path)
