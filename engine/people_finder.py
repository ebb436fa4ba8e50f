# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers "who is there?" for one frame, so that people can be pointed at before the work begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..wire.messages import FindPeopleRequest, FrameRange, PeopleFound, Progress
from . import detect
from .errors import BackendNotReady, UnreadableClip
from .footage import open_footage


def find_people(request: FindPeopleRequest, on_progress: Callable[[Progress], None] = lambda _: None) -> PeopleFound:
    """Boxes of everybody in the frame, largest first. Raises errors.RecoverError; `on_progress` may raise Cancelled."""
    on_progress(Progress(request.request_id, "detect", 0.0, detail="looking for people"))
    if lacking := detect.missing():
        raise BackendNotReady(f"People cannot be looked for: {lacking[0]}", " ".join(lacking))
    footage = open_footage(request.source, request.data, FrameRange(request.frame, request.frame))
    image = next(iter(footage.images), None)
    if image is None:
        raise UnreadableClip(f"That frame of {footage.name} cannot be decoded.", "Choose another frame.")
    people = detect.find_people(image, closer=False)
    boxes_px = np.array([person.box_px for person in people], np.float64).reshape(-1, 4)
    order = np.argsort(-np.prod(boxes_px[:, 2:] - boxes_px[:, :2], axis=1), kind="stable")
    return PeopleFound(
        request_id=request.request_id,
        frame=int(footage.frame_numbers[0]),
        width=footage.width,
        height=footage.height,
        boxes_px=boxes_px[order],
        scores=np.array([person.score for person in people], np.float64)[order],
    )
