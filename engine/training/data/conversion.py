# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPL's labels of a HumanData file become SMPL-X's, or the other way round, and are written beside the given ones.

BLADE learns from SMPL-X and is measured on SMPL, while most data sets have labels of one of them. Bodies are the
neutral ones, as in its programs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ....models.body_model import load_body
from ....models.surface_fit import Conversion, Fitted, Posed, carried
from ....models.surface_transfer import nearest_transfer, read_transfer
from ...errors import BadRequest
from .bad_data import Rows, Where
from .human_data import HANDS, Parameters, body_parameters, read_objects

BODIES = {"smpl": "smpl-neutral", "smplx": "smplx-neutral"}
_MM = 1000.0


@dataclass(frozen=True)
class Converted:
    people: int
    mean_error_mm: float
    """Between the surfaces, after the one was carried to the vertices of the other."""
    worst_error_mm: float
    worst: str
    """Name of the picture."""


@dataclass(frozen=True)
class Way:
    """How people change their body."""

    source: str
    target: str
    """smpl or smplx."""
    transfer: Path | None
    """SMPL-X's own file; without it nearest places are taken for the same."""
    by_surface: bool
    """Whether the surface is fitted, which takes seconds, or pose and measures are carried over."""

    def conversion(self) -> Conversion:
        """Raises `NotImported`, `BodyFileError`."""
        bodies = load_body(BODIES[self.source]), load_body(BODIES[self.target])
        return Conversion(
            *bodies, read_transfer(self.transfer, *bodies) if self.transfer else nearest_transfer(*bodies)
        )

    def __call__(self, person: Posed) -> Fitted:
        conversion = self.conversion()
        if self.by_surface:
            return conversion(person)
        found = carried(person, conversion.source, conversion.target)
        surfaces = [
            body.forward(one.pose[None], one.betas[None], translation=one.translation[None]).vertices[0]
            for body, one in ((conversion.source, person), (conversion.target, found))
        ]
        off = np.linalg.norm(conversion.transfer(surfaces[0].astype(np.float64)) - surfaces[1], axis=1)
        return Fitted(found.pose, found.betas, found.translation, _MM * float(off.mean()))


def convert(path: Path, out: Path, way: Way, workers: int, on_person: Callable[[int, int], None]) -> Converted:
    """Write `out`, everything of `path` and the new labels. Raises `BadRequest`, `BadSample`, and what `Way` raises."""
    data, where = read_objects(path), Where(path)
    names = data.get("image_path", data.get("img_fn"))
    if names is None or way.source not in data:
        raise BadRequest(f"{path} has no {way.source} labels of pictures.", "Give a HumanData file that has.")
    names = [str(name) for name in np.asarray(names, object).reshape(-1)]
    rows = Rows(data, len(names), where)
    given = body_parameters(data[way.source], way.source, rows)
    for row in sorted(rows.spoilt):
        rows.check(row, names[row])
    way.conversion()  # what is missing is told at once
    people = [Posed(*(values.astype(np.float64) for values in row)) for row in zip(*given, strict=True)]
    found: list[Fitted] = []
    for one in _each(way, people, workers):
        found.append(one)
        on_person(len(found), len(people))
    errors = np.array([one.error_mm for one in found])
    fields = _fields(way.target, found)
    with out.open("wb") as stream:
        np.savez(stream, **data | {way.target: fields, f"{way.target}_error_mm": errors.astype(np.float32)})
    worst = int(errors.argmax())
    return Converted(len(found), float(errors.mean()), float(errors[worst]), names[worst])


def _each(way: Way, people: list[Posed], workers: int) -> Iterable[Fitted]:
    if workers <= 1:
        return map(way, people)
    return _in_processes(way, people, workers)


def _in_processes(way: Way, people: list[Posed], workers: int) -> Iterable[Fitted]:
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(partial(_alone, way), people, chunksize=4)


def _alone(way: Way, person: Posed) -> Fitted:
    import torch

    torch.set_num_threads(1)  # the processes are the parallelism
    return way(person)


def _fields(kind: str, people: list[Fitted]) -> dict[str, np.ndarray]:
    """As HumanData has them, a row per person."""
    rows = Parameters(
        *(
            np.stack(values).astype(np.float32)
            for values in zip(*((one.pose, one.betas, one.translation) for one in people), strict=True)
        )
    )
    joints = {"smpl": 23, "smplx": 21}[kind]
    count = len(people)
    fields = {
        "global_orient": rows.pose[:, 0],
        "body_pose": rows.pose[:, 1 : 1 + joints].reshape(count, -1),
        "betas": rows.betas,
        "transl": rows.translation,
    }
    for hand, begin in HANDS if kind == "smplx" else ():
        fields[hand] = rows.pose[:, begin : begin + 15].reshape(count, -1)
    return fields
