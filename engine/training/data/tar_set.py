# SPDX-License-Identifier: GPL-3.0-or-later
"""The people in tar shards: our layout, and the released one of HMR2.0's and TokenHMR's training data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ....models import safe_pickle
from ....models.errors import ModelsError
from ...crop import Crop, EmptyBox
from ..augment import Sample
from .bad_data import BadSample, Where, array_of
from .layout import PeopleLabels
from .people import CameraLabels, LabelledPerson, filtered, is_measured
from .shards import LABELS, TarSample, read_index

RELEASED_SCALE_PX = 200.0
"""The released labels give boxes in units of 200 pixels."""
PIXEL_CENTRE = 0.5
"""From our corner-origin pixels to the pixel indices of the crops."""


class TarSet:
    """All tars of a folder, or one. `name` decides whether released labels count as measured (see `people`)."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.name = name or path.stem.split("-0")[0]
        tars = sorted(path.rglob("*.tar")) if path.is_dir() else [path]
        if not tars:
            raise Where(path).bad("there is no .tar in it")
        indices = [read_index(tar) for tar in tars]
        self.samples: list[TarSample] = [sample for index in indices for sample in index.samples]
        self.problems: list[BadSample] = [problem for index in indices for problem in index.problems]

    def __len__(self) -> int:
        return len(self.samples)

    def people(self, index: int) -> list[LabelledPerson]:
        sample = self.samples[index]
        labels = sample.suffix(LABELS, "the label file")
        raw, image = sample.read(labels), sample.picture()
        if labels == "people.npz":
            found = _ours(PeopleLabels.from_npz(raw, sample.where), image, sample.where)
            return [person for person in map(filtered, found) if person]
        return _released(raw, image, sample.where, is_measured(self.name))


def _ours(labels: PeopleLabels, image: np.ndarray, where: Where) -> list[LabelledPerson]:
    people = []
    for n in range(len(labels)):
        try:
            crop = Crop.around(labels.box_px[n])
        except EmptyBox as error:
            raise where.bad(f"the box of person {n} has no area") from error
        keypoints = labels.keypoints_2d[n].copy()
        keypoints[:, :2] -= PIXEL_CENTRE
        people.append(
            LabelledPerson(
                where=where,
                sample=Sample(
                    image_rgb=image,
                    center_px=crop.center_px - PIXEL_CENTRE,
                    side_px=crop.side_px,
                    keypoints_2d=keypoints,
                    keypoints_3d=labels.keypoints_3d[n],
                    global_orient=labels.pose[n, 0],
                    # SMPL's last two joints, the hands, are not posed: fingers hang on the wrists.
                    body_pose=np.concatenate([labels.pose[n, 1:22], np.zeros((2, 3), np.float32)]),
                ),
                betas=labels.betas[n],
                has_pose=float(labels.has_pose[n]),
                has_betas=float(labels.has_betas[n]),
                measured=float(labels.measured[n]),
                camera=CameraLabels(
                    intrinsics=labels.intrinsics,
                    pose=labels.pose[n],
                    betas=labels.betas[n],
                    translation=labels.translation[n],
                    pelvis_cam=labels.pelvis_cam[n],
                    box_px=labels.box_px[n],
                ),
            )
        )
    return people


def _released(raw: bytes, image: np.ndarray, where: Where, measured: float) -> list[LabelledPerson]:
    """The persons of a `data.pyd`, a pickle that is read as data and never run."""
    try:
        items = safe_pickle.load(io.BytesIO(raw))
    except ModelsError as error:
        raise where.bad(f"its data.pyd cannot be used ({error.sentence.rstrip('.')})") from error
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise where.bad("its data.pyd is no list of people")
    people = []
    for item in items:
        person, fit_error = _released_person(item, image, where, measured)
        kept = filtered(person, fit_error)
        if kept:
            people.append(kept)
    return people


def _released_person(
    item: dict[str, Any], image: np.ndarray, where: Where, measured: float
) -> tuple[LabelledPerson, float]:
    pose = array_of(item, "body_pose", (72,), where, default=0.0).reshape(24, 3)
    side_px = float(array_of(item, "scale", (2,), where).max() * RELEASED_SCALE_PX)
    if side_px <= 0:
        raise where.bad("its box has no area")
    # Labels are there unless the item says otherwise.
    has_pose, has_betas = (
        float(np.asarray(item.get(f"has_{name}", name in item)).reshape(-1)[0]) for name in ("body_pose", "betas")
    )
    fitting = (item.get("extra_info") or {}).get("fitting_loss") or {}
    person = LabelledPerson(
        where=where,
        sample=Sample(
            image_rgb=image,
            center_px=array_of(item, "center", (2,), where),
            side_px=side_px,
            keypoints_2d=array_of(item, "keypoints_2d", (44, 3), where),
            keypoints_3d=array_of(item, "keypoints_3d", (44, 4), where, default=0.0),
            global_orient=pose[0],
            body_pose=pose[1:],
        ),
        betas=array_of(item, "betas", (10,), where, default=0.0),
        has_pose=has_pose,
        has_betas=has_betas,
        measured=measured,
    )
    return person, float(fitting.get("reprojection_loss", 0.0))
