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
    """PNG over time, a line per person: overlap, landmark error and, where it is told, expected error; and how far a
    still camera really moves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which would look for a screen
    from matplotlib.figure import Figure

    curves = {"overlap (IoU)": "overlay_iou", "landmarks off, %": "reprojection_percent"}
    if any(np.isfinite(person.expected_error_mm).any() for person in take.people):
        curves["expected error, mm"] = "expected_error_mm"
    drifts = take.drift_px is not None and np.isfinite(take.drift_px).any()
    count = len(curves) + drifts
    figure = Figure(figsize=(11, 2 + 1.5 * count), layout="constrained")
    every = figure.subplots(count, 1, sharex=True)
    for axes, (title, name) in zip(every, curves.items(), strict=False):
        for number, person in enumerate(take.people):
            colour = np.array(PALETTE[number % len(PALETTE)]) / 255 * 0.85
            shown = np.where(person.present & (person.score > 0), getattr(person, name), np.nan)
            axes.plot(take.frame_numbers, shown, color=colour, label=person.name, lw=1.5)
        axes.set(ylabel=title, ylim=(0, 1 if name == "overlay_iou" else None))
    if drifts:
        every[-1].plot(take.frame_numbers, take.drift_px, color="0.35", lw=1.5)
        every[-1].set(ylabel="camera drift, px", ylim=(0, None))
    every[0].set(title=Path(take.source).name)
    every[0].legend(loc="lower left", ncols=6, frameon=False)
    every[-1].set_xlabel("frame")
    for axes in every:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure).print_png(str(path))
