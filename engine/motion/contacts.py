# SPDX-License-Identifier: GPL-3.0-or-later
"""When heels, toes, hands and seat touch something: slow and low enough, with hysteresis, in seconds and metres.

A camera sees across its rays far better than along them, so speed along the ray counts less. Without a known ground, a
foot is low when it is about as low as this person's feet get within a second.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...models.body_model import load_body
from ...wire.motion import CONTACT_NAMES
from .placed import PlacedMotion

FEET = slice(0, 4)
"""Heels and toes among `CONTACT_NAMES`."""
KNEES = (4, 4, 5, 5)
"""The joints that carry them: where a knee's turn is only inferred, nobody knows where the foot is."""


@dataclass(frozen=True)
class Limits:
    """A contact begins below both of the first limits and ends above either of the second."""

    begin_m_s: float
    end_m_s: float
    begin_m: float
    end_m: float
    shortest_s: float
    """Shorter contacts, and shorter breaks in one, are noise."""


FOOT = Limits(begin_m_s=0.30, end_m_s=0.50, begin_m=0.06, end_m=0.09, shortest_s=0.08)
ON_STEP = replace(FOOT, shortest_s=0.25)
"""Feet stop for a moment at the top of a jump, too."""
HAND = Limits(begin_m_s=0.15, end_m_s=0.30, begin_m=0.08, end_m=0.12, shortest_s=0.2)
SEAT = Limits(begin_m_s=0.10, end_m_s=0.25, begin_m=0.0, end_m=0.05, shortest_s=0.4)
ALONG_RAY = 0.6
"""How much of the speed along the camera's ray counts."""
MOMENT_S, DRAG = 0.12, 2.0
"""See `speeds`."""
LOWEST_WITHIN_S = 1.0
BREAK_S, SAME_ACROSS_M, SAME_ALONG_M = 0.7, 0.05, 0.15
"""Whose foot is back within this time and distance (across the camera's ray, and along it, where it is seen worse),
never having been high, never took it away."""
LONGEST_HIDDEN_S, LEAKS_S = 2.0, 0.15
"""Whoever is hidden for longer may have taken a step; and so far smoothing spreads what a hidden limb seems to do."""
CHAIR_M = 0.65
"""A seat is no higher than this above the ground, and there the thighs must be nearer to level than to upright."""
_SOLE_VERTICES = 12


@dataclass(frozen=True)
class ContactPoints:
    """For each of `CONTACT_NAMES`, what it rides on, and where it lies from there at rest for a body's betas."""

    joints: tuple[int, ...]
    offsets: np.ndarray
    """(7, 3) at zero shape."""
    by_beta: np.ndarray
    """(7, 3, 10)."""


@lru_cache(maxsize=8)
def contact_points(body_name: str) -> ContactPoints:
    """Under heels and toes, between the knuckles, and where one sits."""
    body = load_body(body_name)
    part, rest, names = body.weights.argmax(1), body.v_template, body.joint_names
    dirs = body.shapedirs[:, :, :10]
    joints, offsets, by_beta = [], [], []
    for name in CONTACT_NAMES:
        side, _, what = name.partition("_")
        if what == "hand":
            wrist, knuckle = names.index(f"{side}_wrist"), names.index(f"{side}_middle1")
            joints.append(wrist)
            offsets.append(body.joints_template[knuckle] - body.joints_template[wrist])
            by_beta.append((body.joint_shapedirs[knuckle] - body.joint_shapedirs[wrist])[:, :10])
            continue
        if what == "heel":
            joint = names.index(f"{side}_ankle")
            own = np.flatnonzero(part == joint)
            own = own[rest[own, 2] < rest[own, 2].min() + 0.05]
            chosen = own[np.argsort(rest[own, 1])[:_SOLE_VERTICES]]
        elif what == "toes":
            joint = names.index(f"{side}_foot")
            own = np.flatnonzero(part == joint)
            chosen = own[np.argsort(rest[own, 1])[:_SOLE_VERTICES]]
        else:
            joint = 0
            own = np.flatnonzero(np.isin(part, (0, 1, 2)))
            chosen = own[np.argsort(rest[own, 1] + rest[own, 2])[:_SOLE_VERTICES]]
        joints.append(joint)
        offsets.append(rest[chosen].mean(0) - body.joints_template[joint])
        by_beta.append(dirs[chosen].mean(0) - body.joint_shapedirs[joint][:, :10])
    return ContactPoints(tuple(joints), np.array(offsets, np.float64), np.array(by_beta, np.float64))


def places(motion: PlacedMotion) -> np.ndarray:
    """(T, 7, 3) of the contact points, world."""
    points = contact_points(motion.body)
    offsets = points.offsets + points.by_beta @ motion.betas[: points.by_beta.shape[-1]]
    return np.stack([motion.point(j, offset) for j, offset in zip(points.joints, offsets, strict=True)], 1)


def speeds(points: np.ndarray, motion: PlacedMotion) -> np.ndarray:
    """(T, N) metres per second of points (T, N, 3), less for what goes along the camera's ray.

    From frame to frame, or, where that is more, `DRAG` times as fast as the point moves over the calmer of the moments
    before, around and after: a foot that is dragged goes slowly, but on and on.
    """
    count, times_s = len(points), motion.times_s
    if count < 2:
        return np.zeros(points.shape[:2])
    at = np.arange(count)
    reach = max(1, round(MOMENT_S / float(np.median(np.diff(times_s)))))
    rays = points - motion.eye[:, None]
    rays /= np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-9)

    def between(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        first, last = np.clip(first, 0, count - 1), np.clip(last, 0, count - 1)
        velocity = (points[last] - points[first]) / np.maximum(times_s[last] - times_s[first], 1e-9)[:, None, None]
        along = (velocity * rays).sum(-1, keepdims=True) * rays
        return np.linalg.norm(velocity - (1 - ALONG_RAY) * along, axis=-1)

    moments = [(at - reach, at), (at - (reach + 1) // 2, at + (reach + 1) // 2), (at, at + reach)]
    calm = np.min([between(*moment) for moment in moments], 0)
    calm[0], calm[-1] = between(*moments[2])[0], between(*moments[0])[-1]
    return np.maximum(between(at - 1, at + 1), DRAG * calm)


def find_contacts(motion: PlacedMotion, ground_known: bool) -> np.ndarray:
    """(T, 7) bool for one stretch of motion in a world with z up; with `ground_known` the ground lies at z = 0."""
    points, times_s = places(motion), motion.times_s
    speed = speeds(points, motion)
    above_lowest = points[..., 2] - _lowest(points[:, FEET, 2].min(1), times_s)[:, None]
    height = points[..., 2] if ground_known else above_lowest
    found = np.zeros(speed.shape, bool)
    for number, name in enumerate(CONTACT_NAMES):
        limits = HAND if name.endswith("hand") else SEAT if name == "seat" else FOOT
        high = _above_seat(motion, height[:, number]) if limits is SEAT else height[:, number]
        found[:, number] = _hysteresis(speed[:, number], high, times_s, limits)
        if limits is FOOT and ground_known:  # or it stands on a step, a table, a box
            found[:, number] |= _hysteresis(speed[:, number], above_lowest[:, number], times_s, ON_STEP)
        if limits is FOOT:
            low = np.minimum(high, above_lowest[:, number]) < limits.end_m
            found[:, number] = unbroken(found[:, number], points[:, number], low, motion)
    return found


def through_hidden_moments(found: np.ndarray, hidden: np.ndarray, motion: PlacedMotion) -> np.ndarray:
    """(T, 7) contacts in which feet that were down before they were `hidden` (T, 4) bool for a moment, and are back in
    the same place after it, stay down: where they seem to be meanwhile tells nothing."""
    whole, points = found.copy(), places(motion)
    for number in range(*FEET.indices(found.shape[1])):
        unknown = _within_s(hidden[:, number], motion.times_s, LEAKS_S)
        seen = found[:, number] & ~unknown
        calm = unknown | found[:, number]
        whole[:, number] |= unbroken(seen, points[:, number], calm, motion, LONGEST_HIDDEN_S)
    return whole


def unbroken(
    found: np.ndarray, points: np.ndarray, calm: np.ndarray, motion: PlacedMotion, longest_s: float = BREAK_S
) -> np.ndarray:
    """(T,) contacts that go on where it was `calm` (T,) throughout and a foot is back at once where it was, as when it
    was only seen badly because something passed before it. points (T, 3)."""
    whole, times_s = found.copy(), motion.times_s
    rays = points - motion.eye
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
    for before, after in itertools.pairwise(runs(found)):
        between = slice(before.stop, after.start)
        left = points[before][times_s[before] > times_s[before.stop - 1] - BREAK_S]
        back = points[after][times_s[after] < times_s[after.start] + BREAK_S]
        moved, ray = np.median(back, 0) - np.median(left, 0), rays[after.start]
        along = moved @ ray
        across = float(np.linalg.norm(moved - along * ray))
        is_back = np.hypot(across / SAME_ACROSS_M, along / SAME_ALONG_M) < 1
        whole[between] = is_back and calm[between].all() and _lasts_s(between, times_s) < longest_s
    return whole


def _within_s(flags: np.ndarray, times_s: np.ndarray, reach_s: float) -> np.ndarray:
    """(T,) bool, what lies within so many seconds of a flag."""
    near = flags.copy()
    for part in runs(flags):
        near |= (times_s >= times_s[part.start] - reach_s) & (times_s <= times_s[part.stop - 1] + reach_s)
    return near


def _above_seat(motion: PlacedMotion, height: np.ndarray) -> np.ndarray:
    """(T,) how far from sitting: at most 0 for who sits on the ground, or on a chair with level thighs."""
    joints = motion.joints
    thighs = joints[:, [4, 5]] - joints[:, [1, 2]]
    steep = np.abs(thighs[..., 2]).max(1) / np.linalg.norm(thighs, axis=-1).max(1)
    on_chair = np.maximum(height - CHAIR_M, 0.3 * (steep - 0.6))
    return np.minimum(height - HAND.begin_m, on_chair)


def _lowest(height: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """(T,) the lowest within a second before and after."""
    first = np.searchsorted(times_s, times_s - LOWEST_WITHIN_S)
    last = np.searchsorted(times_s, times_s + LOWEST_WITHIN_S, side="right")
    return np.array([height[a:b].min() for a, b in zip(first, last, strict=True)])


def _hysteresis(speed: np.ndarray, height: np.ndarray, times_s: np.ndarray, limits: Limits) -> np.ndarray:
    """(T,) bool."""
    begins = (speed < limits.begin_m_s) & (height < limits.begin_m)
    goes_on = (speed < limits.end_m_s) & (height < limits.end_m)
    # A stretch in which it goes on is a contact if it begins anywhere within: hysteresis, the same forth and back.
    found = np.zeros(len(speed), bool)
    for part in runs(goes_on):
        found[part] = begins[part].any()
    for part in runs(~found):
        is_between = part.start > 0 and part.stop < len(found)
        if is_between and _lasts_s(part, times_s) < limits.shortest_s:
            found[part] = speed[part].max() < 2 * limits.end_m_s and height[part].max() < limits.end_m
    for part in runs(found):
        if _lasts_s(part, times_s) < limits.shortest_s:
            found[part] = False
    return found


def runs(flags: np.ndarray) -> list[slice]:
    """The stretches of (T,) flags that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _lasts_s(part: slice, times_s: np.ndarray) -> float:
    """How long a stretch lasts, each frame for as long as until its neighbours."""
    frame_s = np.median(np.diff(times_s)) if len(times_s) > 1 else 0.0
    return float(times_s[part.stop - 1] - times_s[part.start] + frame_s)
