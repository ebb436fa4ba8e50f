# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip's verdict per frame, as a table for spreadsheets and as a plot."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..wire.take import Take
from .overlay import PALETTE

_VERDICT = ("overlay_iou", "reprojection_px", "reprojection_percent", "expected_error_mm")
_COLUMNS = ("frame", "person", "present", "inferred", *_VERDICT, "camera_drift_px")


def write_table(path: Path, take: Take) -> None:
    """CSV: a row per frame and person; empty where something is not known. Inferred frames were filled in."""
    drift_px = np.full(len(take.frame_numbers), np.nan) if take.drift_px is None else take.drift_px
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(_COLUMNS)
        for index, number in enumerate(take.frame_numbers):
            for person in take.people:
                values = (*(getattr(person, name)[index] for name in _VERDICT), drift_px[index])
                told = [f"{value:.4g}" if np.isfinite(value) else "" for value in values]
                present = bool(person.present[index])
                inferred = present and person.score[index] == 0
                table.writerow([number, person.name, int(present), int(inferred), *told])


def write_plot(path: Path, take: Take) -> None:
    """PNG: overlap and landmark error over time, a line per person; and how far a still camera really moves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which would look for a screen
    from matplotlib.figure import Figure

    drifts = take.drift_px is not None and np.isfinite(take.drift_px).any()
    figure = Figure(figsize=(11, 6.5 if drifts else 5), layout="constrained")
    overlap, error, *rest = figure.subplots(3 if drifts else 2, 1, sharex=True)
    for number, person in enumerate(take.people):
        colour = np.array(PALETTE[number % len(PALETTE)]) / 255 * 0.85
        shown = person.present & (person.score > 0)
        for axes, values in ((overlap, person.overlay_iou), (error, person.reprojection_percent)):
            axes.plot(take.frame_numbers, np.where(shown, values, np.nan), color=colour, label=person.name, lw=1.5)
    overlap.set(ylabel="overlap (IoU)", ylim=(0, 1), title=Path(take.source).name)
    error.set(ylabel="landmarks off, %", ylim=(0, None))
    for axes in rest:
        axes.plot(take.frame_numbers, take.drift_px, color="0.35", lw=1.5)
        axes.set(ylabel="camera drift, px", ylim=(0, None))
    (overlap, error, *rest)[-1].set_xlabel("frame")
    for axes in (overlap, error, *rest):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    overlap.legend(loc="lower left", ncols=6, frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))
