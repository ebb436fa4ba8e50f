# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures in a folder with labels in one .npz: BEDLAM for training, 3DPW and EMDB for evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....models.body_model import BodyModel
from ..augment import Sample
from ..bodies import KeypointMap
from .bad_data import BadSample, Rows, Where
from .layout import read_npz
from .people import LabelledPerson, filtered
from .shards import decoded

BEDLAM_SCALE_PX = 200.0
EMDB_SCALE_PX = 200.0
"""EMDB's file stores box sides in units of 200 pixels, 3DPW's in pixels. They really differ."""


def read_annotations(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an annotation file. Raises `BadSample`."""
    where = Where(path)
    try:
        return read_npz(path.read_bytes(), where)
    except OSError as error:
        raise where.bad(f"it cannot be read ({error.strerror})") from error


def read_picture(folder: Path, name: str, where: Where) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises `BadSample`."""
    try:
        return decoded((folder / name).read_bytes(), where)
    except OSError as error:
        raise where.bad(f"its picture {folder / name} cannot be read ({error.strerror})") from error


class BedlamSet:
    """BEDLAM: synthetic people with SMPL-X-like labels; the first 72 pose numbers and ten betas are taken for SMPL's.

    Fields: imgname, center, scale, pose_cam, shape, trans_cam, cam_ext, cam_int. 'closeup' pictures lie on their side
    and are turned; folders with 'agora' in their names are another data set and left out.
    """

    def __init__(self, path: Path, pictures: Path, body: BodyModel, keypoints: KeypointMap) -> None:
        self.name, self.path, self.pictures = "BEDLAM", path, pictures
        self.problems: list[BadSample] = []
        self._body, self._keypoints = body, keypoints
        data, where = read_annotations(path), Where(path)
        self.names = _texts(data, "imgname", where)
        self._rows = rows = Rows(data, len(self.names), where)
        self._labels = {
            "center": rows.array("center", (2,)),
            "scale": _largest(rows, "scale"),
            "pose": _leading(rows, "pose_cam", 72),
            "betas": _leading(rows, "shape", 10),
            "translation": rows.array("trans_cam", (3,)),
            "extrinsics": rows.array("cam_ext", (4, 4)),
            "intrinsics": rows.array("cam_int", (3, 3)),
        }
        self._kept = [n for n, name in enumerate(self.names) if "agora" not in name]

    def __len__(self) -> int:
        return len(self._kept)

    def people(self, index: int) -> list[LabelledPerson]:
        number = self._kept[index]
        name, labels = self.names[number], {key: values[number] for key, values in self._labels.items()}
        where = Where(self.path, name)
        self._rows.check(number, name)
        image = read_picture(self.pictures, name, where)
        if "closeup" in name:
            image = np.ascontiguousarray(np.rot90(image, -1))  # clockwise
        pose = np.zeros((1, self._body.joint_count, 3), np.float32)
        pose[0, :22] = labels["pose"].reshape(24, 3)[:22]
        if self._body.joint_count == 24:
            pose[0] = labels["pose"].reshape(24, 3)
        out = self._body.forward(pose, labels["betas"][None])
        points = self._keypoints(out.vertices, out.joints)[0]
        points_cam = points + labels["translation"] + labels["extrinsics"][:3, 3]
        projected = points_cam @ labels["intrinsics"].T
        ones = np.ones((44, 1), np.float32)
        person = LabelledPerson(
            where=where,
            sample=Sample(
                image_rgb=image,
                center_px=labels["center"],
                side_px=float(labels["scale"] * BEDLAM_SCALE_PX),
                keypoints_2d=np.concatenate([projected[:, :2] / projected[:, 2:], ones], 1).astype(np.float32),
                keypoints_3d=np.concatenate([points, ones], 1).astype(np.float32),
                global_orient=labels["pose"][:3],
                body_pose=labels["pose"][3:].reshape(23, 3),
            ),
            betas=labels["betas"],
            has_pose=1.0,
            has_betas=1.0,
            measured=1.0,
        )
        kept = filtered(person)
        return [kept] if kept else []


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark's file is read."""

    name: str
    scale_px: float
    """Pixels per unit of its `scale`."""
    has_keypoints: bool


THREEDPW = Benchmark("3DPW-TEST", 1.0, has_keypoints=True)
EMDB = Benchmark("EMDB", EMDB_SCALE_PX, has_keypoints=False)


class BenchmarkSet:
    """3DPW or EMDB as HMR2.0 and TokenHMR evaluate on them. `genders` tells which SMPL the labels are for."""

    def __init__(self, path: Path, pictures: Path, benchmark: Benchmark) -> None:
        self.name, self.path, self.pictures = benchmark.name, path, pictures
        self.problems: list[BadSample] = []
        data, where = read_annotations(path), Where(path)
        self.names = _texts(data, "imgname", where)
        count = len(self.names)
        self._rows = rows = Rows(data, count, where)
        self.center_px = rows.array("center", (2,))
        self.size_px = _sizes(rows, "scale") * benchmark.scale_px
        self._pose = rows.array("body_pose", (72,), default=0.0)
        self._betas = rows.array("betas", (10,), default=0.0)
        self._has = {
            name: rows.array(f"has_{name}", (), default=float(name in data)) for name in ("body_pose", "betas")
        }
        self.genders = _genders(data, count)
        self._keypoints = _keypoints(rows) if benchmark.has_keypoints else _none(count)

    def __len__(self) -> int:
        return len(self.names)

    def people(self, index: int) -> list[LabelledPerson]:
        where = Where(self.path, self.names[index])
        self._rows.check(index, self.names[index])
        pose, (flat, solid) = self._pose[index].reshape(24, 3), self._keypoints
        person = LabelledPerson(
            where=where,
            sample=Sample(
                image_rgb=read_picture(self.pictures, self.names[index], where),
                center_px=self.center_px[index],
                side_px=float(self.size_px[index].max()),
                keypoints_2d=flat[index],
                keypoints_3d=solid[index],
                global_orient=pose[0],
                body_pose=pose[1:],
            ),
            betas=self._betas[index],
            has_pose=float(self._has["body_pose"][index]),
            has_betas=float(self._has["betas"][index]),
            measured=1.0,
        )
        return [person]


def _keypoints(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    flat = np.concatenate(
        [
            rows.array("body_keypoints_2d", (25, 3), default=0.0),
            rows.array("extra_keypoints_2d", (19, 3), default=0.0),
        ],
        axis=1,
    )
    of_body = rows.array("body_keypoints_3d", (25, 4), default=0.0)
    of_body[:, 1:15, 3] = 0  # the released evaluation does not trust these
    extra = rows.array("extra_keypoints_3d", (19, 4), default=0.0)
    return flat, np.concatenate([of_body, extra], axis=1)


def _none(count: int) -> tuple[np.ndarray, np.ndarray]:
    """EMDB is measured on SMPL's joints; its keypoints follow another order and are left aside."""
    return np.zeros((count, 44, 3), np.float32), np.zeros((count, 44, 4), np.float32)


def _genders(data: Mapping[str, Any], count: int) -> tuple[str, ...]:
    given = [str(value) for value in np.asarray(data.get("gender", ["female"] * count))]
    return tuple("male" if value in ("m", "male") else "female" for value in given)


def _texts(data: Mapping[str, Any], name: str, where: Where) -> list[str]:
    if name not in data:
        raise where.bad(f"{name} is missing")
    return [value.decode() if isinstance(value, bytes) else str(value) for value in np.asarray(data[name]).tolist()]


def _sizes(rows: Rows, name: str) -> np.ndarray:
    """(count, 2) of (count,) or (count, 2)."""
    flat = name in rows.fields and np.ndim(rows.fields[name]) == 1
    return np.broadcast_to(rows.array(name, () if flat else (2,)).reshape(rows.count, -1), (rows.count, 2))


def _largest(rows: Rows, name: str) -> np.ndarray:
    """(count,) of (count,) or (count, 2)."""
    return _sizes(rows, name).max(1)


def _leading(rows: Rows, name: str, wanted: int) -> np.ndarray:
    values = rows.array(name, (None,))
    if values.shape[1] < wanted:
        raise rows.where.bad(f"{name} has {values.shape[1]} numbers, where {wanted} are needed")
    return values[:, :wanted]
