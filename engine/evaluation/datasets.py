# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled pictures to be measured on: 3DPW and EMDB, HumanData files, and our own tar layout.

Each reader is a sequence of `Entry`, a picture that is read when it is asked for, so that bad ones can be counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...models.body_model import load_body
from ..crop import Crop
from ..errors import Missing
from ..training.data.annotations import EMDB, THREEDPW, BenchmarkSet, read_picture
from ..training.data.bad_data import BadSample, Rows, Where
from ..training.data.human_data import HumanDataSet, body_parameters, read_objects
from ..training.data.layout import PeopleLabels
from ..training.data.shards import TarSample, read_index
from .people import Keypoints, Person, posed

DATASETS = {
    "3dpw": "3dpw_test.npz as HMR2.0 and TokenHMR read it; https://virtualhumans.mpi-inf.mpg.de/3DPW",
    "emdb": "EMDB's emdb.npz as TokenHMR reads it; https://eth-ait.github.io/emdb",
    "spec-mtp": "a HumanData .npz of SPEC-MTP; https://spec.is.tue.mpg.de",
    "pdhuman": "a HumanData .npz of PDHuman; https://wenjiawang0312.github.io/projects/zolly",
    "humman": "a HumanData .npz of HuMMan; https://caizhongang.com/projects/HuMMan",
    "bedlam-cc": "BLADE's BEDLAM-CC labels, which you render yourself: no copy is distributed",
    "synth": "a folder of .tar made by `recover-body synth`, or any in our layout (docs/training.md)",
}
"""Name -> what its data are and who has them."""
SMPL_SETS = ("3dpw", "emdb")
_SHIPPED_OR_LICENSED = {"SMPL-X": "smplx-neutral", "SMPL": "smpl-neutral"}


class MissingData(Missing):
    """What is to be measured on is not there."""

    remedy = "docs/evaluation.md tells what every data set looks like and where it is to be had."


@dataclass(frozen=True, eq=False)
class Labelled:
    """A picture and the people in it."""

    image_rgb: np.ndarray
    """(H, W, 3) uint8."""
    intrinsics: np.ndarray | None
    """(3, 3) pixels, where the data set tells the camera."""
    people: tuple[Person, ...]
    crops: tuple[Crop, ...] = ()
    """What the published programs cut out of the picture, a crop per person, where the data set says so."""


@dataclass(frozen=True)
class Entry:
    where: Where
    read: Callable[[], Labelled]
    """Raises `BadSample`."""


@dataclass(frozen=True)
class DataSet:
    name: str
    entries: list[Entry]
    problems: list[BadSample]
    """What was already found to be wrong, sample by sample."""


def open_dataset(
    name: str, path: Path, pictures: Path | None, keypoints: Keypoints, *, on_smpl: bool = False
) -> DataSet:
    """`on_smpl`: of files that have both, SMPL's labels rather than SMPL-X's.

    Raises `MissingData`, `BadSample` for a file that is wrong as a whole, `NotImported` for its bodies."""
    if not path.exists():
        raise MissingData(f"There is no {path}, which should be {name}: {DATASETS[name]}.")
    if path.is_dir() or path.suffix == ".tar":
        return _from_tars(name, path, keypoints)
    if name == "synth":
        raise MissingData(f"{path} is no folder of .tar files: {DATASETS[name]}.")
    pictures = pictures or path.parent
    if not pictures.is_dir():
        raise MissingData(f"There is no folder {pictures} with the pictures that {path.name} names.")
    if name in SMPL_SETS:
        return _from_benchmark(name, path, pictures, keypoints)
    return _from_human_data(name, path, pictures, keypoints, on_smpl)


# ---- our tars ----


def _from_tars(name: str, path: Path, keypoints: Keypoints) -> DataSet:
    tars = sorted(path.rglob("*.tar")) if path.is_dir() else [path]
    if not tars:
        raise MissingData(f"There is no .tar in {path}. {name} is {DATASETS[name]}.")
    indices = [read_index(tar) for tar in tars]
    samples = [sample for index in indices for sample in index.samples]
    entries = [Entry(sample.where, partial(_tar_sample, sample, keypoints)) for sample in samples]
    return DataSet(name, entries, [problem for index in indices for problem in index.problems])


def _tar_sample(sample: TarSample, keypoints: Keypoints) -> Labelled:
    labels = PeopleLabels.from_npz(sample.read(sample.suffix(("people.npz",), "the label file")), sample.where)
    people = []
    for n in range(len(labels)):
        body = load_body(_SHIPPED_OR_LICENSED.get(str(labels.body[n]), str(labels.body[n])))
        pose = labels.pose[n]
        if body.joint_count == 24:
            pose = np.concatenate([pose[:22], np.zeros((2, 3), np.float32)])
        person = posed(body, pose, labels.betas[n], labels.translation[n], labels.box_px[n], keypoints)
        # What the file says of the keypoints wins: it also knows which of them are seen.
        people.append(
            replace(
                person,
                keypoints=labels.keypoints_3d[n, :, :3].astype(np.float64),
                keypoints_px=labels.keypoints_2d[n].astype(np.float64),
            )
        )
    return Labelled(sample.picture(), labels.intrinsics.astype(np.float64), tuple(people))


# ---- 3DPW and EMDB ----


def _from_benchmark(name: str, path: Path, pictures: Path, keypoints: Keypoints) -> DataSet:
    benchmark = {"3dpw": THREEDPW, "emdb": EMDB}[name]
    labels = BenchmarkSet(path, pictures, benchmark)
    names, center, size_px = labels.names, labels.center_px, labels.size_px
    bodies = {gender: load_body(f"smpl-{gender}") for gender in dict.fromkeys(labels.genders)}

    def read(rows: list[int]) -> Labelled:
        people, crops = [], []
        for row in rows:
            # Their pixels count from the middle of the first one.
            box_px = np.concatenate([center[row] - size_px[row] / 2, center[row] + size_px[row] / 2]) + 0.5
            if not (size_px[row] > 0).all():
                raise Where(path, names[row]).bad("its box has no area")
            (person,) = labels.people(row)
            if not (person.has_pose and person.has_betas):
                raise person.where.bad("pose or shape is not labelled")
            pose = np.concatenate([person.sample.global_orient[None], person.sample.body_pose])
            body = bodies[labels.genders[row]]
            made = posed(body, pose, person.betas, np.zeros(3), box_px, keypoints, is_placed=False)
            solid, seen = person.sample.keypoints_3d, person.sample.keypoints_2d.astype(np.float64)
            seen[:, :2] += 0.5
            if benchmark.has_keypoints:
                made = replace(made, keypoints=solid[:, :3].astype(np.float64), keypoints_px=seen)
            people.append(made)
            crops.append(Crop.around((box_px - 0.5).tolist()))
        image = read_picture(pictures, names[rows[0]], Where(path, names[rows[0]]))
        return Labelled(image, None, tuple(people), tuple(crops))

    return DataSet(name, _by_picture(path, names, read), labels.problems)


# ---- HumanData ----


def _from_human_data(name: str, path: Path, pictures: Path, keypoints: Keypoints, on_smpl: bool) -> DataSet:
    labels, data = HumanDataSet(path, pictures), read_objects(path)
    names = [str(value) for value in np.asarray(data.get("image_path", data.get("img_fn")), object).reshape(-1)]
    kind = "smpl" if "smpl" in data and (on_smpl or "smplx" not in data) else "smplx"
    body = load_body(f"{kind}-neutral")
    rows_of_smpl = Rows(data, len(names), Where(path))
    smpl = body_parameters(data["smpl"], "smpl", rows_of_smpl) if kind == "smpl" else None

    def read(rows: list[int]) -> Labelled:
        people, image, intrinsics = [], None, None
        for row in rows:
            (person,) = labels.people(row)
            rows_of_smpl.check(row, names[row])
            camera = person.camera
            assert camera is not None
            image, intrinsics = person.sample.image_rgb, camera.intrinsics.astype(np.float64)
            pose, betas, translation = (
                (camera.pose, camera.betas, camera.translation) if smpl is None else (values[row] for values in smpl)
            )
            people.append(posed(body, pose, betas, translation, camera.box_px, keypoints, intrinsics))
        assert image is not None
        return Labelled(image, intrinsics, tuple(people))

    return DataSet(name, _by_picture(path, names, read), labels.problems)


def _by_picture(path: Path, names: list[str], read: Callable[[list[int]], Labelled]) -> list[Entry]:
    """Rows of one picture belong together, so that it is looked at once."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return [Entry(Where(path, name), partial(read, found)) for name, found in rows.items()]
