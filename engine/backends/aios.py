# SPDX-License-Identifier: GPL-3.0-or-later
"""AiOS: everybody in a picture at once, with hands and face. Needs its authors' weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..detect import Detection
from ..follow import Sighting
from .aios_answer import Answer
from .aios_common import WholeBodyBackend, best_match

SAME_BOX = 0.4
"""Overlap of boxes from which on AiOS has seen the person in the whole picture."""
LIKELY = 0.2
"""… and the score."""


class AiosBackend(WholeBodyBackend):
    """See `models.aios`."""

    name = "aios"
    title = "AiOS"
    entries = ("aios",)

    def prepare(self, image: np.ndarray, people: Sequence[Detection | Sighting], in_whole: bool | None = None) -> tuple:
        """The picture as it is: who is to be looked at closer is not known yet."""
        return image, people

    def ask(self, prepared: list[tuple]) -> list[Answer]:
        """Picture by picture: everybody in a picture is seen at once."""
        return [self._look(image, people) for image, people in prepared]

    def _look(self, image: np.ndarray, people: Sequence[Detection | Sighting]) -> Answer:
        """One pass over the whole picture; whoever was missed is looked at again, each in a square of its own."""
        from . import blade_input, blade_networks

        height, width = image.shape[:2]
        candidates = blade_networks.everybody(blade_input.everybodys_picture(image))
        scores = candidates.logits[0].amax(-1).sigmoid().cpu().numpy()
        boxes = candidates.decoded.boxes[0, :, 0].cpu().numpy()
        groups: dict[int, int] = {}
        for row, person in enumerate(people):
            group, overlap = best_match(
                scores, boxes, person.box_px / [width, height, width, height], list(groups.values())
            )
            if overlap > SAME_BOX and scores[group] > LIKELY:
                groups[row] = group
        missed = [row for row in range(len(people)) if row not in groups]
        parts, order = [], [*groups, *missed]
        if groups:
            found = blade_networks.people_of(candidates, list(groups.values()))
            found = type(found)(*(getattr(found, name)[0][:, None] for name in found.__dataclass_fields__))
            towards = np.tile([width / 2, height / 2], (len(groups), 1))
            parts.append(Answer.of(found, np.full(len(groups), np.nan), towards))
        if missed:
            parts.append(self._closer(image, [people[row] for row in missed]))
        return Answer.joined(parts).rows(np.argsort(order))

    def _closer(self, image: np.ndarray, people: Sequence[Detection | Sighting]) -> Answer:
        import torch

        from . import blade_input, blade_networks

        squares = [blade_input.Square.around(person.box_px) for person in people]
        pictures = [blade_input.pose_picture(blade_input.working_picture(image, square)) for square in squares]
        inside = [square.to_square(person.box_px) for square, person in zip(squares, people, strict=True)]
        found = blade_networks.found_by_aios(
            torch.stack(pictures), lambda row, scores, boxes: best_match(scores, boxes, inside[row])[0]
        )
        towards = np.array([square.centre_px for square in squares])
        return Answer.of(found, np.full(len(people), np.nan), towards)
