# SPDX-License-Identifier: GPL-3.0-or-later
"""A second look at people whom the fitted body does not cover.

A landmark network that misreads somebody seldom misreads the mirrored picture, or a tighter cut, in the same way, and
another network seldom makes the same mistake. So where body and person mask disagree, the person is looked at again in
these ways, every look is fitted, and the one is kept whose body lies best on its own mask and on the pixels that most
looks call the person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..models.body_model import load_body
from ..wire.messages import RecoverRequest
from .backends.base import Report
from .cameras import Pinhole
from .chosen import overlap
from .detect import Detection, as_detection, larger_network
from .fit.body_fit import Fit
from .fit.contours import relaxed_hands
from .fit.key_fit import KeyFit, fit_keys
from .mediapipe_graphs import Landmarks, Region, find_details, find_landmarks
from .motion.sides import MIRROR
from .raster import silhouette
from .verdict import intersection_over_union

DOUBTFUL, DOUBTFUL_ALONE = 0.82, 0.7
"""Overlap of body and person mask below which the landmarks are doubted: where another network can be asked, and where
only the same one can be asked again, which seldom tells anything new and costs as much."""
MOST = 3
"""People who are looked at again, largest first: each costs several looks and fits, and a crowd must not take long."""
CLEARLY = 0.04
"""By so much another look must lie better on its own mask and on the agreed one, together."""
_SAME_PERSON_IOU = 0.4
"""Overlap of the boxes of two looks at one person, at least."""


def reconsidered(
    image: np.ndarray, people: list[Detection], keys: KeyFit, camera: Pinhole, request: RecoverRequest, report: Report
) -> tuple[list[Detection], KeyFit]:
    """People and their fit, with better looks at those of an (H, W, 3) uint8 RGB picture whom the bodies miss.

    `camera` is what was known before anybody was fitted.
    """
    least = DOUBTFUL_ALONE if larger_network() is None else DOUBTFUL
    doubted = [n for n, iou in enumerate(_overlaps(people, keys, request.body, people)) if iou < least][:MOST]
    looks = {n: [people[n], *other_looks(image, people[n])] for n in doubted}
    rows = [look for n in doubted for look in looks[n]]
    if len(rows) == len(doubted):
        return people, keys
    report("fit", 0.8, "looking again at people whom the body does not cover")
    known = replace(keys.camera, source="given", fx_sigma=0.0)
    whose = np.array([n for n in doubted for _ in looks[n]])
    tried = fit_keys(rows, whose, known, request, lambda *_: None)
    agreed = [_agreed(looks[n]) for n in doubted for _ in looks[n]]
    overlaps = _overlaps(rows, tried, request.body, rows) + _overlaps(rows, tried, request.body, agreed)
    better = list(people)
    for n in doubted:
        mine = np.flatnonzero(whose == n)
        best = mine[np.argmax(overlaps[mine])]
        if overlaps[best] > overlaps[mine[0]] + CLEARLY:
            look, mask = rows[best], agreed[best].mask & ~_others(people, n)
            better[n] = replace(look, details=find_details(image, look.points_px, look.visibility), mask=mask)
    if all(one is other for one, other in zip(better, people, strict=True)):
        return people, keys
    return better, fit_keys(better, np.arange(len(better)), camera, request, report)


def other_looks(image: np.ndarray, person: Detection) -> list[Detection]:
    """The person as other networks and the mirrored picture have it; without hands and face."""
    if person.region is None:
        return []
    larger = larger_network()
    networks: list[Path | None] = [None] if larger is None else [larger, None]
    found = [find_landmarks(image, person.region, network) for network in networks[1:]]
    first = find_landmarks(image, person.region, networks[0])
    if first is not None:
        found.append(find_landmarks(image, first.next_region, networks[0]))
    found += [_in_mirror(image, person.region, network) for network in networks]
    looks = [as_detection(landmarks, image) for landmarks in found if landmarks is not None]
    return [
        replace(look, region=person.region)
        for look in looks
        if look is not None and overlap(look.box_px, person.box_px) > _SAME_PERSON_IOU
    ]


def _in_mirror(image: np.ndarray, region: Region, network: Path | None) -> Landmarks | None:
    """What the network says of the mirrored picture, in the picture as it is."""
    width = image.shape[1]
    seen = find_landmarks(np.ascontiguousarray(image[:, ::-1]), _flipped(region, width), network)
    if seen is None:
        return None
    return Landmarks(
        points_px=seen.points_px[MIRROR] * (-1, 1) + (width, 0),
        visibility=seen.visibility[MIRROR],
        metric_points=seen.metric_points[MIRROR] * (-1, 1, 1),
        mask=np.ascontiguousarray(seen.mask[:, ::-1]),
        next_region=_flipped(seen.next_region, width),
        region=region,
        features=None,  # those of the mirrored picture tell of a mirrored person
        network=seen.network,
    )


def _flipped(region: Region, width: int) -> Region:
    centre_px = np.array([width - region.centre_px[0], region.centre_px[1]])
    return replace(region, centre_px=centre_px, angle_rad=-region.angle_rad)


def _agreed(looks: Sequence[Detection]) -> Detection:
    """The first look with the pixels that most of the looks call the person's."""
    return replace(looks[0], mask=np.mean([look.mask for look in looks], axis=0) >= 0.5)


def _others(people: Sequence[Detection], number: int) -> np.ndarray:
    """(H, W) bool, pixels of everybody else."""
    return np.any([np.zeros_like(people[number].mask), *(p.mask for n, p in enumerate(people) if n != number)], axis=0)


def _overlaps(rows: Sequence[Detection], keys: KeyFit, body_name: str, masked: Sequence[Detection]) -> np.ndarray:
    """(B,) overlap of each row's body with the mask of `masked`."""
    vertices = _vertices(keys.fit, body_name)
    body, camera = load_body(body_name), keys.camera
    drawn = (silhouette(v, body.faces, camera.matrix, camera.width, camera.height) for v in vertices)
    return np.array([intersection_over_union(d, look.mask) for d, look in zip(drawn, masked, strict=True)])


def _vertices(fit: Fit, body_name: str) -> np.ndarray:
    """(B, V, 3) metres, camera frame; hands relaxed."""
    body = load_body(body_name)
    pose = np.tile(relaxed_hands(body), (len(fit.pose), 1, 1))
    pose[:, : fit.pose.shape[1]] = fit.pose
    return body.forward(pose, fit.betas, None, fit.translation).vertices
