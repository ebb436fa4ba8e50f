# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE's labels: HumanData files, and the chunks and BEDLAM-CC files that are PyTorch's despite their names.

Arrays: image_path, bbox_xywh (N, 5), keypoints2d (N, K, 3), K (N, 3, 3), and dictionaries `smpl` and `smplx` with
body_pose, global_orient, betas, transl. They are stored as Python objects, and read as data: nothing in them can run.
SMPL labels become SMPL-X ones: the joints both have keep their rotations; shape is not carried over, because betas
belong to one body.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....models import safe_pickle
from ....models.errors import ModelsError
from ....models.safe_pickle import StoredTensor
from ....models.smpl_to_smplx import SHARED_JOINTS, SMPL_PELVIS_M, smpl_to_smplx_pose
from ..augment import Sample
from .annotations import read_picture
from .bad_data import BadSample, Rows, Where, array_of
from .people import CameraLabels, LabelledPerson

SMPLX_PELVIS_M = np.array([0.003, -0.351, 0.012])
"""Where SMPL-X's pelvis lies at rest, within about two centimetres: for whoever does not have the file."""
SMPLX_JOINTS = 55
HANDS = (("left_hand_pose", 25), ("right_hand_pose", 40))
"""Names of the fields and where their 15 joints begin."""


class HumanDataSet:
    def __init__(self, path: Path, pictures: Path) -> None:
        self.name, self.path, self.pictures = path.stem, path, pictures
        self.problems: list[BadSample] = []
        where = Where(path)
        data = read_objects(path)
        names = data.get("image_path", data.get("img_fn"))
        if names is None:
            raise where.bad("image_path is missing")
        self._names = [str(name) for name in np.asarray(names, object).reshape(-1)]
        count = len(self._names)
        self._rows = rows = Rows(data, count, where)
        self._intrinsics = rows.sound("K", _intrinsics(data, count, where))
        self._boxes = rows.sound("bbox_xywh", _boxes(data, count, where))
        kinds = [name for name in ("smplx", "smpl") if name in data]
        if not kinds:
            raise where.bad("smplx and smpl are missing")
        self._pose, self._betas, self._translation, self._pelvis, self._has_betas = _body(
            data[kinds[0]], kinds[0], rows
        )

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether the file looks like these, judged by the names in it."""
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            return safe_pickle.is_torch_file(archive) or bool({"smpl", "smplx"} & names)

    def __len__(self) -> int:
        return len(self._names)

    def people(self, index: int) -> list[LabelledPerson]:
        where = Where(self.path, self._names[index])
        self._rows.check(index, self._names[index])
        image = read_picture(self.pictures, self._names[index], where)
        box = self._boxes[index]
        if not (box[2] > box[0] and box[3] > box[1]):
            raise where.bad("its box has no area")
        pose = self._pose[index]
        person = LabelledPerson(
            where=where,
            sample=Sample(
                image_rgb=image,
                center_px=(box[:2] + box[2:]) / 2,
                side_px=float((box[2:] - box[:2]).max()),
                # Their keypoints have another order; boxes were made of them.
                keypoints_2d=np.zeros((44, 3), np.float32),
                keypoints_3d=np.zeros((44, 4), np.float32),
                global_orient=pose[0],
                body_pose=np.concatenate([pose[1:SHARED_JOINTS], np.zeros((2, 3), np.float32)]),
            ),
            betas=self._betas[index],
            has_pose=1.0,
            has_betas=self._has_betas,
            measured=1.0,
            camera=CameraLabels(
                intrinsics=self._intrinsics[index],
                pose=pose,
                betas=self._betas[index],
                translation=self._translation[index],
                pelvis_cam=self._pelvis[index],
                box_px=box,
            ),
        )
        return [person]


def read_objects(path: Path) -> dict[str, Any]:
    """An .npz whose members may be Python objects, or a file of `torch.save`; plain arrays by name.

    Raises `BadSample`.
    """
    where = Where(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if safe_pickle.is_torch_file(archive):
                content = _read_tensors(safe_pickle.load_torch(archive))
                if not isinstance(content, dict):
                    raise where.bad("it holds no labels by name")
                return content
            return {name.removesuffix(".npy"): _member(archive.read(name)) for name in archive.namelist()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise where.bad(f"it cannot be read ({error})") from error
    except ModelsError as error:
        raise where.bad(error.sentence.rstrip(".")) from error


def _member(raw: bytes) -> Any:
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if not dtype.hasobject:
        return np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    content = safe_pickle.load(stream)
    # A dictionary was stored as an array of no dimension.
    return np.asarray(content, object).reshape(-1)[0] if shape == () else content


def _read_tensors(content: Any) -> Any:
    if isinstance(content, StoredTensor):
        return content.read()
    if isinstance(content, Mapping):
        return {name: _read_tensors(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_read_tensors(value) for value in content]
    return content


def _stacked(values: Any) -> Any:
    """Per-sample arrays in a list, or an array of them -> one array."""
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.dtype == object):
        return np.stack([np.asarray(value, np.float32).squeeze() for value in values])
    return values


def _body(fields: Any, kind: str, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """SMPL-X pose (N, 55, 3), betas (N, 10), translation (N, 3), pelvis (N, 3), and whether the betas are SMPL-X's."""
    given, count = body_parameters(fields, kind, rows), rows.count
    pose, betas, translation = given
    if kind == "smpl":
        pose = np.zeros((count, SMPLX_JOINTS, 3), np.float32)
        pose[:, :SHARED_JOINTS] = smpl_to_smplx_pose(given.pose)
    pelvis = translation + (SMPL_PELVIS_M if kind == "smpl" else SMPLX_PELVIS_M)
    moved = translation if kind == "smplx" else pelvis - SMPLX_PELVIS_M
    has_betas = float(kind == "smplx")
    return pose, betas * has_betas, moved.astype(np.float32), pelvis.astype(np.float32), has_betas


class Parameters(NamedTuple):
    """Of N people on one body."""

    pose: np.ndarray
    """(N, 24 or 55, 3) rotation vectors."""
    betas: np.ndarray
    """(N, 10)"""
    translation: np.ndarray
    """(N, 3) metres."""


def body_parameters(fields: Any, kind: str, rows: Rows) -> Parameters:
    """A file's `smpl` or `smplx` (`kind`), on that body. Raises `BadSample`; spoilt rows are noted in `rows`."""
    if not isinstance(fields, Mapping):
        raise rows.where.bad(f"{kind} is no dictionary")
    count = rows.count
    given = {name: _stacked(value) for name, value in fields.items()}
    flat = {
        name: np.reshape(value, (count, -1)) if np.size(value) % count == 0 else value for name, value in given.items()
    }
    of_body = replace(rows, fields=flat)  # which notes in the same place
    joints, all_joints = {"smpl": (23, 24), "smplx": (21, SMPLX_JOINTS)}[kind]
    pose = np.zeros((count, all_joints, 3), np.float32)
    pose[:, 0] = of_body.array("global_orient", (3,))
    pose[:, 1 : 1 + joints] = of_body.array("body_pose", (3 * joints,)).reshape(count, joints, 3)
    for hand, begin in HANDS if kind == "smplx" else ():
        if hand in flat and np.shape(flat[hand])[-1] == 45:
            pose[:, begin : begin + 15] = of_body.array(hand, (45,)).reshape(count, 15, 3)
    return Parameters(pose, of_body.array("betas", (None,))[:, :10], of_body.array("transl", (3,)))


def _intrinsics(data: Mapping[str, Any], count: int, where: Where) -> np.ndarray:
    return array_of({"K": _stacked(data.get("K"))}, "K", (count, 3, 3), where, finite=False)


def _boxes(data: Mapping[str, Any], count: int, where: Where) -> np.ndarray:
    """(N, 4) x1, y1, x2, y2: as given, or around the keypoints that have a confidence."""
    if data.get("bbox_xywh") is not None:
        boxes = np.asarray(_stacked(data["bbox_xywh"]), np.float32)
        boxes = array_of({"bbox_xywh": boxes[..., :4]}, "bbox_xywh", (count, 4), where, finite=False)
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    given = {"keypoints2d": _stacked(data.get("keypoints2d"))}
    points = array_of(given, "keypoints2d", (count, None, 3), where, finite=False)
    seen = points[..., 2:] > 0
    low = np.where(seen, points[..., :2], np.inf).min(1)
    high = np.where(seen, points[..., :2], -np.inf).max(1)
    return np.concatenate([low, high], 1).astype(np.float32)
