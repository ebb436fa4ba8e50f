# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a recovered body less certain, in words: what `trust.py` says as a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..models.body_model import load_body
from . import trust

if TYPE_CHECKING:
    from .cameras import Pinhole
    from .detect import Detection
    from .fit.body_fit import Fit
    from .follow import Sighting

POINTS = 0.85
"""A limb points at the camera if one of its bones does, within 32 degrees."""
SMALL_PX = 100
"""Landmark networks see a person at 256 pixels; of one smaller than this they see a blur."""
HARDLY_SURE = 0.6
"""Detector's confidence below which a find may be nobody: of rendered people one in fifty has less, of six trees
and shop windows that were taken for people five."""
UPSIDE_DOWN = -0.3
"""Cosine of the angle between the body's up and the picture's."""
VERY_UNUSUAL = 1.6
"""Spreads from what is usual: about one in twenty."""
IN_THE_WAY = 0.4
"""Share of the person's box that lies in somebody else's."""
COVERED = 0.7
"""Overlap below which the body hardly is what was seen: loose clothes take a quarter at most."""
_VERBS = {"points": "point", "is": "are"}
_OTHER_SIDE = {"left": "right", "right": "left"}
_PLURALS = {"arm": "arms", "leg": "legs", "hand": "hands", "foot": "feet"}


def doubts_of_still(people: Sequence[Detection], fit: Fit, camera: Pinhole, body_name: str) -> list[tuple[str, ...]]:
    """For each of a still's people, the fit's rows, what to doubt, a few words each."""
    boxes_px = np.array([person.box_px for person in people])
    sure = np.array([person.region is None or person.region.score >= HARDLY_SURE for person in people])
    rows = [
        ("", "it may be nobody", ~sure),
        *_found(people, fit, camera, body_name),
        ("", "other people are in the way", _in_the_way(boxes_px)),
    ]
    return [_in_words([(who, what) for who, what, is_so in rows if is_so[row]]) for row in range(len(people))]


def doubts_of_clip(people: Sequence[Sighting], fit: Fit, camera: Pinhole, body_name: str) -> tuple[str, ...]:
    """Of one person in T frames: what is so in at least half of them."""
    rows = _found(people, fit, camera, body_name)
    return _in_words([(who, what) for who, what, is_so in rows if is_so.mean() >= 0.5])


def sentence(error_mm: np.ndarray, doubts: Sequence[str]) -> str:
    """What a report says of a person with the errors (F,), NaN where unknown; empty if they are so everywhere."""
    known = error_mm[np.isfinite(error_mm)]
    if not len(known):
        return ""
    usual, high = np.median(known), np.percentile(known, 95)
    words = f"Expected error about {in_cm(usual)}"
    if in_cm(high) != in_cm(usual):
        words += f", {in_cm(high)} in the worst frames"
    return words + (f": {'; '.join(doubts)}." if doubts else ".")


def of_overlap(overlay_iou: np.ndarray) -> tuple[str, ...]:
    """What the verdict's overlap (F,) says; NaN where it is not known."""
    known = overlay_iou[np.isfinite(overlay_iou)]
    if not len(known) or np.median(known) >= COVERED:
        return ()
    return (f"body and person overlap by {100 * np.median(known):.0f} % only",)


def in_cm(millimetres: float) -> str:
    """Never finer than it is known."""
    return f"{max(round(millimetres / 10), 1)} cm"


def _found(
    people: Sequence[Detection | Sighting], fit: Fit, camera: Pinhole, body_name: str
) -> list[tuple[str, str, np.ndarray]]:
    """(who or what, what is wrong with it, (B,) bool in which rows)."""
    names = load_body(body_name).joint_names
    signs = trust.signs(people, fit, camera, body_name)
    unusual = lambda name: trust.standard(name, signs[name]) > VERY_UNUSUAL  # noqa: E731
    sizes_px = np.array([max(person.box_px[2:] - person.box_px[:2]) for person in people])
    found = [
        (f"the {limb}", "points at the camera", np.any([trust.to_camera(fit, b, names) > POINTS for b in bones], 0))
        for limb, bones in trust.LIMB_BONES.items()
    ]
    found += [(f"the {part}", "is outside the picture", rows) for part, rows in _outside(fit, camera, names)]
    contradicts = unusual("off_lifter") | unusual("off_metric_landmarks")
    return [
        *found,
        ("", f"the person is less than {SMALL_PX} pixels large", sizes_px < SMALL_PX),
        ("", "the person is upside down", trust.uprightness(fit) < UPSIDE_DOWN),
        ("", "the pose is unusual", unusual("unlikely_pose")),
        ("", "the landmarks contradict each other", contradicts),
    ]


def _outside(fit: Fit, camera: Pinhole, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Parts of the body and in which rows (B,) they lie outside the picture; of a limb the largest part that does."""
    out = trust.outside(fit, camera)
    yield "head", out[:, names.index("head")]
    for side in ("left", "right"):
        for limb, middle, end, tip in (("arm", "elbow", "wrist", "hand"), ("leg", "knee", "ankle", "foot")):
            whole, ends = (out[:, names.index(f"{side}_{joint}")] for joint in (middle, end))
            yield f"{side} {limb}", whole & ends
            yield f"{side} {tip}", ends & ~whole


def _in_the_way(boxes_px: np.ndarray) -> np.ndarray:
    """(B, 4) -> (B,) bool, whether a good part of the box lies in another one."""
    low, high = np.maximum(boxes_px[:, None, :2], boxes_px[:, :2]), np.minimum(boxes_px[:, None, 2:], boxes_px[:, 2:])
    shared = (high - low).clip(0).prod(-1) * ~np.eye(len(boxes_px), dtype=bool)
    return shared.max(1) > IN_THE_WAY * (boxes_px[:, 2:] - boxes_px[:, :2]).prod(1)


def _in_words(found: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """One phrase for everything that is wrong in the same way."""
    phrases = []
    for what in dict.fromkeys(what for _, what in found):
        subjects = [who for who, other in found if other == what]
        verb, _, rest = what.partition(" ")
        if subjects[0]:
            what = f"{listed(both_sides(subjects))} {_VERBS[verb] if len(subjects) > 1 else verb} {rest}"
        phrases.append(what)
    return tuple(phrases)


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def both_sides(parts: Sequence[str]) -> list[str]:
    """Both legs for the left leg and the right leg."""
    kept: dict[str, None] = {}
    for part in parts:
        side, _, name = part.removeprefix("the ").partition(" ")
        other = f"the {_OTHER_SIDE.get(side)} {name}"
        kept[f"both {_PLURALS[name]}" if other in parts else part] = None
    return list(kept)
