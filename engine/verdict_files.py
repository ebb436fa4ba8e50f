# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip's verdict per frame, as a table for spreadsheets and as a plot."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..wire.take import Take
from .overlay import PALETTE

_COLUMNS = ("frame", "person", "present", "inferred", "overlay_iou", "reprojection_px", "reprojection_percent")


def write_table(path: Path, take: Take) -> None:
    """CSV: a row per frame and person; empty where something is not known. Inferred frames were filled in."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(_COLUMNS)
        for index, number in enumerate(take.frame_numbers):
            for person in take.people:
                values = (getattr(person, name)[index] for name in _COLUMNS[4:])
                told = [f"{value:.4g}" if np.isfinite(value) else "" for value in values]
                present = bool(person.present[index])
                inferred = present and person.score[index] == 0
                table.writerow([number, person.name, int(present), int(inferred), *told])


def write_plot(path: Path, take: Take) -> None:
    """PNG: overlap and landmark error over time, a line per person."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which would look for a screen
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    overlap, error = figure.subplots(2, 1, sharex=True)
    for number, person in enumerate(take.people):
        colour = np.array(PALETTE[number % len(PALETTE)]) / 255 * 0.85
        shown = person.present & (person.score > 0)
        for axes, values in ((overlap, person.overlay_iou), (error, person.reprojection_percent)):
            axes.plot(take.frame_numbers, np.where(shown, values, np.nan), color=colour, label=person.name, lw=1.5)
    overlap.set(ylabel="overlap (IoU)", ylim=(0, 1), title=Path(take.source).name)
    error.set(ylabel="landmarks off, %", xlabel="frame", ylim=(0, None))
    for axes in (overlap, error):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    overlap.legend(loc="lower left", ncols=6, frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))
