# SPDX-License-Identifier: GPL-3.0-or-later
"""Options to a data set, a way of asking, and a report."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from .. import bodies, outputs, report
from ..backends import registry
from ..backends.neural import CropNetworkBackend
from ..console import Bar, Lines
from ..errors import BadRequest, NobodyFound
from ..pipeline import Clock
from ..streams import hushed_libraries
from .asking import Asker, CropNetwork, WholeProgram
from .datasets import SMPL_SETS, MissingData, open_dataset
from .on_smpl import OnSmpl
from .people import Keypoints
from .run import Measured, measure
from .tables import as_dict, markdown, write_csv, write_plot


@dataclass(frozen=True)
class Evaluation:
    summary: dict
    measured: Measured
    files: tuple[Path, ...]


def evaluate(options: argparse.Namespace) -> Evaluation:
    """Raises `MissingData`, `BadRequest`, `BadSample`, and what a backend or a body raises that is not there."""
    if options.regressor and not options.regressor.is_file():
        raise MissingData(
            f"There is no file {options.regressor}.", "SMPL_to_J19.pkl comes with HMR2.0's and TokenHMR's data."
        )
    if options.out:
        outputs.check_folder(options.out)
    keypoints, crops = Keypoints(options.regressor), crop_percents(options.crops)
    backend = registry.choose(options.backend)
    ask = _asker(options, backend, keypoints)
    on_smpl = OnSmpl.opened(options.h36m, options.transfer) if options.h36m else None
    dataset = open_dataset(options.dataset, options.data, options.pictures, keypoints, on_smpl=on_smpl is not None)
    count = len(dataset.entries[: options.limit])
    with hushed_libraries():
        console = (Bar if sys.stderr.isatty() else Lines)(sys.stderr, lambda: "")
        clock = Clock("evaluate", lambda progress: console.progress(dataset.name, progress), {"evaluate": (0.0, 1.0)})
        with clock.stage("evaluate"):
            measured = measure(
                dataset,
                ask,
                crops,
                options.limit,
                stop_at_bad=options.bad_data == "stop",
                on_smpl=on_smpl,
                on_picture=lambda done: clock.report("evaluate", done / count, f"{backend.name}, {done} of {count}"),
            )
        console.end(0)
    if not measured.pictures:
        raise MissingData(
            f"None of the {count} pictures of {options.data} could be read: {next(iter(measured.bad.sentences), '')}"
        )
    if not measured.scores:
        raise NobodyFound(f"{backend.name} found none of the labelled people in {measured.pictures} pictures.")
    summary = as_dict(measured, dataset.name, backend.name, ask.how, crops)
    return Evaluation(summary, measured, _written(options.out, measured, summary) if options.out else ())


def crop_percents(text: str) -> tuple[int, ...]:
    """ "0,30,50" -> (0, 30, 50). Raises `BadRequest`."""
    try:
        percents = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        percents = (-1,)
    if not all(0 <= percent < 100 for percent in percents):
        raise BadRequest(f"--crops {text} makes no sense.", "Write percents with commas between, such as 0,30,50.")
    return percents


def _asker(options: argparse.Namespace, backend, keypoints: Keypoints) -> Asker:
    is_network = isinstance(backend, CropNetworkBackend)
    how = options.ask
    if how == "auto":
        how = "boxes" if is_network and options.dataset in SMPL_SETS and options.data.is_file() else "whole"
    if how == "whole":
        return WholeProgram(backend, bodies.name_of(options.body), keypoints, is_camera_given=options.camera == "given")
    if not is_network or options.dataset not in SMPL_SETS or options.data.is_dir():
        raise BadRequest(
            "Only tokenhmr and hmr2 can be asked box by box, on the files of 3dpw and emdb.", "Leave --ask boxes out."
        )
    if options.dataset == "3dpw" and keypoints.regressor is None:
        raise MissingData(
            "3DPW is scored on keypoints regressed from SMPL's surface, and their regressor is not given.",
            "Add --regressor SMPL_to_J19.pkl (it comes with HMR2.0's and TokenHMR's data), or --ask whole.",
        )
    return CropNetwork(backend, keypoints)


def _written(folder: Path, measured: Measured, summary: dict) -> tuple[Path, ...]:
    with outputs.Staged(folder) as staged:
        staged.path("evaluation.md").write_text(markdown(summary), encoding="utf-8")
        staged.path("evaluation.json").write_text(report.to_json(summary), encoding="utf-8")
        with staged.path("evaluation.csv").open("w", newline="", encoding="utf-8") as stream:
            write_csv(stream, measured)
        write_plot(staged.path("evaluation.png"), measured, summary)
    return tuple(folder / f"evaluation.{ending}" for ending in ("md", "json", "csv", "png"))
