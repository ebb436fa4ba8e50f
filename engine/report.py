# SPDX-License-Identifier: GPL-3.0-or-later
"""A take's figures as `report.json`: what a script, a farm or a reviewer wants to know without opening the take."""

from __future__ import annotations

import json
import math

import numpy as np

from ..models.body_model import load_body
from ..wire.take import PersonTrack, Take


def make(take: Take, seconds: dict[str, float]) -> dict:
    """The report as plain values; what could not be measured is NaN, and null in the file."""
    return {
        "source": take.source,
        "backend": take.backend,
        "device": take.device,
        "fps": take.fps,
        "frames": {
            "count": len(take.frame_numbers),
            "first": int(take.frame_numbers[0]),
            "last": int(take.frame_numbers[-1]),
        },
        "seconds": {**seconds, "total": round(sum(seconds.values()), 4)},
        "camera": {
            **{name: float(getattr(take.camera, name)[0]) for name in ("fx_px", "fy_px", "cx_px", "cy_px")},
            "width": take.camera.width,
            "height": take.camera.height,
            "source": take.camera.source,
            "fx_sigma": take.camera.fx_sigma,
        },
        "people": [_person(person) for person in take.people],
        "versions": take.versions,
        "notes": list(take.notes),
    }


def to_json(tree: dict, indent: int | None = 2) -> str:
    """Strict JSON: NaN and infinities become null, since JSON knows neither."""
    return json.dumps(_without_nan(tree), indent=indent, ensure_ascii=True, allow_nan=False)


def below(summary: dict, min_iou: float | None) -> list[str]:
    """A sentence for each person whose overlap is below `min_iou`, or is not known; empty when all is well."""
    if min_iou is None:
        return []
    return [
        f"{person['name']} overlaps {person['overlay_iou']:.2f}, wanted is {min_iou:g}."
        for person in summary["people"]
        if not person["overlay_iou"] >= min_iou  # `not >=`, so that an unknown overlap does not pass
    ]


def _person(person: PersonTrack) -> dict:
    names = load_body(person.body).joint_names
    inferred = person.joint_inferred[person.present].mean(0) > 0.5
    return {
        "id": person.id,
        "name": person.name,
        "frames": int(np.count_nonzero(person.present)),
        "inferred_frames": int(np.count_nonzero(person.present & (person.score == 0))),
        "overlay_iou": _mean(person.overlay_iou),
        "overlay_iou_low": _percentile(person.overlay_iou, 5),
        "reprojection_px": _mean(person.reprojection_px),
        "reprojection_percent": _mean(person.reprojection_percent),
        "reprojection_percent_high": _percentile(person.reprojection_percent, 95),
        "expected_error_mm": _mean(person.expected_error_mm),
        "expected_error_mm_high": _percentile(person.expected_error_mm, 95),
        "joint_error_mm": _by_joint(person, names),
        "doubts": list(person.doubts),
        "inferred_joints": [name for name, is_inferred in zip(names, inferred, strict=True) if is_inferred],
        "notes": list(person.notes),
    }


def _by_joint(person: PersonTrack, names: tuple[str, ...]) -> dict[str, float] | None:
    """Mean over the frames; None where the backend tells nothing."""
    if person.joint_error_mm is None:
        return None
    return {name: round(_mean(values), 1) for name, values in zip(names, person.joint_error_mm.T, strict=False)}


def _mean(values: np.ndarray) -> float:
    """Over the frames that have a value; NaN when none has."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _percentile(values: np.ndarray, percent: float) -> float:
    """Of the frames that have a value; NaN when none has."""
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percent)) if len(known) else math.nan


def _without_nan(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_nan(value) for value in tree]
    if isinstance(tree, np.generic):
        tree = tree.item()
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
