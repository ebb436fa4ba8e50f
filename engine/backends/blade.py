# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE: the person's depth first, then the pose that this depth makes plausible, then the camera that sees it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..detect import Detection
from ..follow import Sighting
from ..masks import PackedMask
from .aios_answer import Answer
from .aios_common import WholeBodyBackend, best_match, is_alone_and_large

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Views:
    """What the networks see of N people in one picture."""

    depth_pictures: Tensor  # (N, 3, 518, 518)
    pose_pictures: Tensor  # (N, 3, 400, 400)
    boxes: np.ndarray  # (N, 4) where each person is in the own pose picture, corners, in its sides
    towards_px: np.ndarray  # (N, 2) the middle of the pose picture, in the full image
    is_alone: bool  # nobody else can be meant


class BladeBackend(WholeBodyBackend):
    """See `models.blade`."""

    name = "blade"
    title = "BLADE"
    entries = ("blade",)

    def prepare(self, image: np.ndarray, people: Sequence[Detection | Sighting], in_whole: bool | None = None) -> Views:
        """Depth by each person's mask; pose in the whole picture, or, of several or small people, in squares.

        Somebody who is alone only for some frames of a clip must not be seen in another way there: hence `in_whole`.
        """
        import torch

        from . import blade_input
        from .blade_input import Square

        height, width = image.shape[:2]
        whole = Square.whole(width, height)
        working = blade_input.working_picture(image, whole)
        masks = [blade_input.working_mask(_whole(person.mask), whole) for person in people]
        if in_whole is None:
            in_whole = len(people) == 1 and is_alone_and_large([people], width, height)
        if in_whole:
            squares, pictures = [whole], [blade_input.pose_picture(working)]
        else:
            squares = [Square.around(person.box_px) for person in people]
            pictures = [blade_input.pose_picture(blade_input.working_picture(image, square)) for square in squares]
        return Views(
            depth_pictures=blade_input.depth_pictures(working, masks),
            pose_pictures=torch.stack(pictures),
            boxes=np.array([s.to_square(person.box_px) for s, person in zip(squares, people, strict=True)]),
            towards_px=np.array([square.centre_px for square in squares]),
            is_alone=in_whole,
        )

    def ask(self, prepared: list[Views]) -> list[Answer]:
        """First the depths, then the poses that these make plausible."""
        import torch

        from . import blade_networks

        is_alone = [views.is_alone for views in prepared for _ in views.boxes]
        boxes = np.concatenate([views.boxes for views in prepared])
        towards_px = np.concatenate([views.towards_px for views in prepared])
        depths_m = blade_networks.depths(torch.cat([views.depth_pictures for views in prepared]))

        def choose(row: int, scores: np.ndarray, found: np.ndarray) -> int:
            # As published where only one person can be meant.
            return int(scores.argmax()) if is_alone[row] else best_match(scores, found, boxes[row])[0]

        people = blade_networks.found_by_blade(torch.cat([v.pose_pictures for v in prepared]), depths_m, choose)
        answer, ends = Answer.of(people, depths_m, towards_px), np.cumsum([0, *(len(v.boxes) for v in prepared)])
        return [answer.rows(slice(first, last)) for first, last in pairwise(ends)]


def _whole(mask: np.ndarray | PackedMask) -> np.ndarray:
    return mask if isinstance(mask, np.ndarray) else mask.whole()
