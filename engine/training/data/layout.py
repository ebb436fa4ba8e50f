# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own labels of a picture, written beside it: `KEY.people.npz`. The manual is docs/training.md.

Everything is in the camera frame of OpenCV, metres and radians; pixels count from the picture's upper left corner.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from .bad_data import Where, array_of


@dataclass(frozen=True)
class PeopleLabels:
    """What is true of the P people of a picture."""

    intrinsics: np.ndarray
    """(3, 3) pixels."""
    box_px: np.ndarray
    """(P, 4) x1, y1, x2, y2 around what is visible of the person."""
    keypoints_2d: np.ndarray
    """(P, 44, 3) pixels and confidence; 0 outside the picture."""
    keypoints_3d: np.ndarray
    """(P, 44, 4) metres, camera frame, and confidence."""
    pose: np.ndarray
    """(P, 55, 3) rotation vectors in SMPL-X's order, the root in the camera frame."""
    betas: np.ndarray
    """(P, 10) of the body named by `body`."""
    translation: np.ndarray
    """(P, 3) metres, added after posing."""
    pelvis_cam: np.ndarray
    """(P, 3) metres, where the pelvis is; (:, 2) is its depth."""
    body: np.ndarray
    """(P,) text: whose betas they are; neutral, female, male for the shipped bodies, else SMPL-X, SMPL, …"""
    measured: np.ndarray
    """(P,) 1 where the 3-D labels are exact, 0 where they were fitted to the picture."""
    has_pose: np.ndarray
    """(P,) 1 where pose and translation are labelled."""
    has_betas: np.ndarray
    """(P,) 1 where the betas are."""

    def __len__(self) -> int:
        return len(self.box_px)

    def to_npz(self) -> bytes:
        stream = io.BytesIO()
        np.savez_compressed(stream, **{field.name: getattr(self, field.name) for field in fields(self)})
        return stream.getvalue()

    @classmethod
    def from_npz(cls, raw: bytes, where: Where) -> PeopleLabels:
        """Raises `BadSample`, naming what is missing, misshapen or not finite."""
        return cls.of(read_npz(raw, where), where)

    @classmethod
    def of(cls, given: Mapping[str, np.ndarray], where: Where) -> PeopleLabels:
        """From arrays by name; flags and confidences that are left out are 1."""
        count = len(array_of(given, "box_px", (None, 4), where))
        shapes = {
            "box_px": (4,),
            "keypoints_2d": (44, 3),
            "keypoints_3d": (44, 4),
            "pose": (55, 3),
            "betas": (10,),
            "translation": (3,),
            "pelvis_cam": (3,),
        }
        if "body" not in given or np.shape(given["body"]) != (count,):
            raise where.bad(f"body must name the body of each of the {count} people")
        return cls(
            intrinsics=array_of(given, "intrinsics", (3, 3), where),
            body=np.asarray(given["body"]).astype(str),
            **{name: array_of(given, name, (count, *shape), where) for name, shape in shapes.items()},
            **{
                name: array_of(given, name, (count,), where, default=1.0)
                for name in ("measured", "has_pose", "has_betas")
            },
        )


def read_npz(raw: bytes, where: Where) -> dict[str, np.ndarray]:
    """The plain arrays of an .npz file. Raises `BadSample`."""
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise where.bad(f"its .npz cannot be read ({error})") from error
