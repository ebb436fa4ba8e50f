# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, as a Markdown table beside published rows, as JSON, as a table of every person, and drawn."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TextIO

import numpy as np

from .published import rows_for
from .run import Measured
from .scores import MEASURES, PROTOCOLS

WORST = 10


def as_dict(measured: Measured, dataset: str, backend: str, how: str, crops_percent: tuple[int, ...]) -> dict:
    """Everything but the single people; NaN where nothing is known (`report.to_json` writes null)."""
    worst = sorted(measured.of(0), key=lambda score: -score.values["mpjpe_mm"])[:WORST]
    return {
        "dataset": dataset,
        "backend": backend,
        "how": how,
        "pictures": measured.pictures,
        "bad_samples": measured.bad.sentences,
        "runs": [
            {
                "crop_percent": percent,
                "people": len(measured.of(percent)),
                "missed": measured.missed[percent],
                "means": measured.means(percent),
                "protocols": {name: PROTOCOLS[name] for name in _protocols(measured, percent)},
                "published": [
                    {"method": row.method, "source": row.source, "figures": row.figures}
                    for row in rows_for(dataset, percent)
                ],
            }
            for percent in crops_percent
        ],
        "worst": [
            {"sample": score.sample, "person": score.person, "mpjpe_mm": score.values["mpjpe_mm"]} for score in worst
        ],
    }


def markdown(summary: dict) -> str:
    """The summary of `as_dict` for people to read. Columns of which nobody knows anything are left out."""
    lines = [f"# {summary['backend']} on {summary['dataset']}", "", f"Asked as: {summary['how']}."]
    for run in summary["runs"]:
        rows = [(f"**{summary['backend']}, measured here**", run["means"], f"{run['people']} people")]
        rows += [(row["method"], row["figures"], row["source"]) for row in run["published"]]
        columns = [name for name in MEASURES if any(math.isfinite(r[1].get(name, math.nan)) for r in rows)]
        cropped = f", boxes cropped by {run['crop_percent']} %" if run["crop_percent"] else ""
        lines += ["", f"## {summary['dataset']}{cropped}", ""]
        lines.append("| | " + " | ".join([*(MEASURES[name] for name in columns), "source"]) + " |")
        lines.append("|---" * (len(columns) + 2) + "|")
        for name, figures, source in rows:
            cells = [_number(figures.get(column, math.nan), column) for column in columns]
            lines.append("| " + " | ".join([name, *cells, source]) + " |")
        lines += ["", f"{run['people']} people in {summary['pictures']} pictures; {len(run['missed'])} were not found."]
        lines += [f"Joints: {words}." for words in run["protocols"].values()]
    if summary["bad_samples"]:
        lines += ["", f"{len(summary['bad_samples'])} samples could not be read and were left out:", ""]
        lines += [f"* {sentence}" for sentence in summary["bad_samples"]]
    return "\n".join(lines) + "\n"


def write_csv(stream: TextIO, measured: Measured) -> None:
    """A line per person."""
    table = csv.writer(stream)
    table.writerow(["sample", "person", "crop_percent", *MEASURES, "depth_labelled_m", "depth_m"])
    for score in measured.scores:
        numbers = [*score.values.values(), *score.depth_m]
        cells = [f"{number:.6g}" if math.isfinite(number) else "" for number in numbers]
        table.writerow([score.sample, score.person, score.crop_percent, *cells])


def write_plot(path: Path, measured: Measured, summary: dict) -> None:
    """PNG: how many people lie within which error, published means as dashed lines; and the depths, if known."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    errors = [name for name in ("mve_mm", "mpjpe_mm", "pa_mpjpe_mm") if _known(measured, name)]
    depths = np.array([score.depth_m for score in measured.of(0)]).reshape(-1, 2)
    depths = depths[np.isfinite(depths).all(1)]
    count = len(errors) + bool(len(depths))
    figure = Figure(figsize=(4.2 * max(count, 1), 4), layout="constrained")
    axes = figure.subplots(1, max(count, 1), squeeze=False)[0]
    for panel, name in zip(axes, errors, strict=False):
        for number, run in enumerate(summary["runs"]):
            percent, colour = run["crop_percent"], f"C{number}"
            values = np.sort([s.values[name] for s in measured.of(percent) if math.isfinite(s.values[name])])
            label = f"cropped by {percent} %" if percent else "whole"
            shares = 100 * np.arange(1, len(values) + 1) / max(len(values), 1)
            panel.plot(values, shares, color=colour, label=label, drawstyle="steps-post")
            panel.axvline(run["means"][name], color=colour, lw=1)
            for row in run["published"]:
                if name in row["figures"]:
                    panel.axvline(row["figures"][name], color=colour, lw=1, ls="--", alpha=0.6)
        panel.set(xlabel=MEASURES[name], ylabel="people within, %", ylim=(0, 100), xlim=(0, None))
        panel.grid(alpha=0.3)
    if errors:
        axes[0].legend(loc="upper left", frameon=False, title="| mean   ¦ published", title_fontsize="small")
    if len(depths):
        panel, reach = axes[len(errors)], float(depths.max()) * 1.05
        panel.plot([0, reach], [0, reach], color="0.7", lw=1)
        panel.plot(depths[:, 0], depths[:, 1], "o", ms=4, alpha=0.7)
        panel.set(xlabel="labelled depth, m", ylabel="recovered depth, m", xlim=(0, reach), ylim=(0, reach))
        panel.grid(alpha=0.3)
    figure.suptitle(f"{summary['backend']} on {summary['dataset']}")
    FigureCanvasAgg(figure).print_png(str(path))


def _known(measured: Measured, name: str) -> bool:
    return any(math.isfinite(score.values[name]) for score in measured.scores)


def _protocols(measured: Measured, percent: int) -> list[str]:
    return sorted({score.protocol for score in measured.of(percent)})


def _number(value: float, column: str) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if column in ("tz_m", "inverse_tz", "txy_m") else f"{value:.1f}"
