# SPDX-License-Identifier: GPL-3.0-or-later
"""`--data PATH` or `--data PATH=WEIGHT`: what lies there is recognised, opened, and mixed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....models.body_model import load_body
from ...errors import BadRequest
from ..bodies import keypoint_map
from .annotations import EMDB, THREEDPW, BedlamSet, BenchmarkSet, read_annotations
from .bad_data import Tally, Where
from .human_data import HumanDataSet
from .people import PictureSet
from .plausible import Plausible, PlausibleSet
from .tar_set import TarSet

# Mix of the released TokenHMR training, by how the folders of its tars begin; renormalised over what is there.
RELEASED_MIX = {
    **{"h36m": 0.1, "mpii": 0.1, "coco-train-2014-vitpose": 0.1, "coco": 0.1, "bedlam": 0.18},
    **{"mpi-inf": 0.04, "ava": 0.13, "aic": 0.13, "insta": 0.12},
}


@dataclass(frozen=True)
class Mix:
    """Opened data sets and how often each is drawn from."""

    sets: list[PictureSet]
    weights: np.ndarray
    """(S,) adding up to 1."""

    def __len__(self) -> int:
        return sum(len(one) for one in self.sets)


@dataclass(frozen=True)
class Reading:
    """What readers need to know beside the path."""

    pictures: Path | None = None
    """Folder of the pictures that an annotation file names; default: the file's own."""
    body: str = "neutral"
    """The body that turns BEDLAM's parameters into keypoints."""
    regressor: Path | None = None
    bad_data: str = "stop"
    plausible: Plausible | None = None
    """What poses must be like to count as labelled."""


def open_mix(arguments: list[str], reading: Reading, tally: Tally) -> Mix:
    """Raises `BadRequest` (nothing there, a weight that is no weight), `BadSample`."""
    sets, weights = [], []
    for argument in arguments:
        path, weight = _path_and_weight(argument)
        for one in _opened(path, reading):
            _note_problems(one, reading, tally)
            if len(one) == 0:
                raise Where(path).bad("there is no complete sample in it")
            sets.append(PlausibleSet(one, reading.plausible) if reading.plausible else one)
            weights.append(_weight_of(one.name) if weight is None else weight)
    shares = np.array(weights, np.float64)
    return Mix(sets, shares / shares.sum())


def _path_and_weight(argument: str) -> tuple[Path, float | None]:
    text, equals, number = argument.rpartition("=")
    if not equals:
        return Path(argument), None
    try:
        weight = float(number)
    except ValueError:
        return Path(argument), None  # a path may hold an equals sign
    if not weight > 0:
        raise BadRequest(f"The weight of {text} must be above 0.", "Write --data PATH=0.5, or --data PATH alone.")
    return Path(text), weight


def _opened(path: Path, reading: Reading) -> list[PictureSet]:
    if not path.exists():
        raise BadRequest(f"There is no {path}.", "Name a folder of .tar files, a .tar, or an annotation file.")
    if path.is_dir():
        if any(path.glob("*.tar")):
            return [TarSet(path, path.name)]
        parts = sorted(folder for folder in path.iterdir() if folder.is_dir() and any(folder.rglob("*.tar")))
        if parts:
            return [TarSet(folder, folder.name) for folder in parts]
        raise BadRequest(f"There are no .tar files in {path}.", "docs/training.md tells what training data look like.")
    if path.suffix == ".tar":
        return [TarSet(path)]
    pictures = reading.pictures or path.parent
    if HumanDataSet.is_one(path):
        return [HumanDataSet(path, pictures)]
    fields = read_annotations(path)
    if "pose_cam" in fields:
        body = load_body(reading.body)
        return [BedlamSet(path, pictures, body, keypoint_map(body, reading.regressor))]
    if "imgname" in fields:
        return [BenchmarkSet(path, pictures, THREEDPW if "body_keypoints_2d" in fields else EMDB)]
    raise Where(path).bad("it is no annotation file that is known (docs/training.md lists them)")


def _note_problems(one: PictureSet, reading: Reading, tally: Tally) -> None:
    for problem in getattr(one, "problems", ()):
        if reading.bad_data == "stop":
            raise problem
        tally.add(problem.sentence)


def _weight_of(name: str) -> float:
    lowered = re.sub(r"[_ ]", "-", name.lower())
    known = [weight for begin, weight in RELEASED_MIX.items() if lowered.startswith(begin)]
    return known[0] if known else 0.1
