# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooths motion on the sphere of rotations. Constants are in seconds.

A Gaussian mean over time, with weights corrected so that motion at constant speed stays as it is, also at the ends of a
stretch and beside a gap. It reaches over a longer time where a limb is slow and over a shorter one where it is quick:
jitter shows when somebody stands, and a serve must not lose its snap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from .placed import PlacedMotion

REACH = 3.0
"""How many time constants the mean reaches."""
LEVELS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Multiples of the time constant at which means are taken; what lies between is mixed."""


@dataclass(frozen=True)
class Limb:
    """Joints that move together."""

    joints: tuple[int, ...]
    slow: float
    """Multiple of the time constant for a limb that hardly moves, …"""
    quick: float
    """… and for one that moves much faster than `speed`."""
    speed: float
    """Radians per second (metres per second for the place) half-way between the two."""


# Root and legs are smoothed most: the picture tells least of them, and they carry everything else.
LIMBS = (
    Limb((0, 3, 6, 9), 3.0, 0.8, 1.0),
    Limb((1, 2, 4, 5, 7, 8, 10, 11), 2.5, 0.6, 1.5),
    Limb((12, 15), 2.0, 0.6, 1.5),
    Limb((13, 16, 18, 20), 2.0, 0.4, 1.5),
    Limb((14, 17, 19, 21), 2.0, 0.4, 1.5),
    Limb(tuple(range(22, 55)), 2.0, 1.0, 2.0),
)
PLACE_ACROSS, PLACE_ALONG = Limb((0,), 2.5, 0.8, 0.5), Limb((0,), 4.0, 2.0, 0.5)
"""The pelvis' way across the camera's ray, and along it, where a camera sees worst."""


def smooth_motion(motion: PlacedMotion, time_s: float) -> PlacedMotion:
    """One stretch of motion, smoothed over about `time_s` seconds."""
    if len(motion.times_s) < 3:
        return motion
    rotations = motion.rotations.copy()
    for limb in LIMBS:
        joints = [j for j in limb.joints if (rotations[:, j] != rotations[:1, j]).any()]
        if joints:
            offsets, speed = _means_of_rotations(rotations[:, joints], motion.times_s, time_s)
            level = np.repeat(_level(speed.max(1, keepdims=True), limb), len(joints), 1)
            rotations[:, joints] = rotations[:, joints] @ rotvec_to_matrix(_mixed(offsets, level))
    shift, speed = _means_of_vectors(motion.pelvis[:, None], motion.times_s, time_s)
    rays = motion.pelvis - motion.eye
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
    across, along = (_mixed(shift, _level(speed, limb))[:, 0] for limb in (PLACE_ACROSS, PLACE_ALONG))
    on_ray = ((along - across) * rays).sum(1, keepdims=True) * rays
    return replace(motion, rotations=rotations, pelvis=motion.pelvis + across + on_ray)


def smooth_vectors(values: np.ndarray, times_s: np.ndarray, time_s: float) -> np.ndarray:
    """(T, N) -> (T, N), over the same time everywhere."""
    if len(values) < 3:
        return values
    offsets, _ = _means_of_vectors(values[:, None], times_s, time_s)
    return values + offsets[LEVELS.index(1.0)][:, 0]


def _level(speed: np.ndarray, limb: Limb) -> np.ndarray:
    """Multiples of the time constant for the speeds of a limb."""
    return limb.quick + (limb.slow - limb.quick) / (1 + np.square(speed / limb.speed))


def _means_of_rotations(rotations: np.ndarray, times_s: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """(T, J, 3, 3) -> at each of `LEVELS` (L, T, J, 3) the mean as seen from each frame's own rotation, and the turning
    speeds (T, J) there."""
    transposed = rotations.swapaxes(-1, -2)
    return _means(lambda here, there: matrix_to_rotvec(transposed[here] @ rotations[there]), times_s, time_s)


def _means_of_vectors(values: np.ndarray, times_s: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """The same for (T, J, N) positions."""
    return _means(lambda here, there: values[there] - values[here], times_s, time_s)


def _means(difference, times_s: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """difference(here, there) -> (n, J, N) from frames to others, the same number apart. See above."""
    frames, reach = np.arange(len(times_s)), _lags(times_s, REACH * LEVELS[-1] * time_s)
    lags = [(frames[max(0, -k) : len(frames) - max(0, k)], k) for k in range(-reach, reach + 1)]
    weights = _weights(lags, times_s, np.array(LEVELS) * time_s)
    first = difference(frames[:1], frames[:1])
    means = np.zeros((len(LEVELS), len(frames), *first.shape[1:]))
    slope, scale = np.zeros(means.shape[1:]), np.zeros(len(frames))
    for (here, k), weight in zip(lags, weights, strict=True):
        if k == 0 or not len(here):
            continue
        offset, apart = difference(here, here + k), times_s[here + k] - times_s[here]
        means[:, here] += weight[..., None, None] * offset
        bell = np.exp(-0.5 * (apart / time_s) ** 2) * apart
        slope[here] += bell[:, None, None] * offset
        scale[here] += bell * apart
    speed = np.linalg.norm(slope, axis=-1) / np.maximum(scale, 1e-12)[:, None]
    return means, speed


def _weights(lags: list, times_s: np.ndarray, reaches_s: np.ndarray) -> list[np.ndarray]:
    """For each lag (L, n): the weights sum to 1 over the lags and have their centre at the frame itself."""
    count, levels = len(times_s), len(reaches_s)
    sums, bells = np.zeros((3, levels, count)), []
    for here, k in lags:
        apart = times_s[here + k] - times_s[here]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = apart / reaches_s[:, None]
        bell = np.where(np.abs(ratio) <= REACH, np.exp(-0.5 * ratio**2), 0.0)
        bells.append((bell, apart))
        for power in range(3):
            sums[power][:, here] += bell * apart**power
    total, first, second = sums
    spread = total * second - first**2
    # Too few neighbours to know a straight line: the frame stays as it is.
    usable = spread > 1e-9 * (total * np.maximum(reaches_s[:, None], 1e-9)) ** 2
    divisor = np.where(usable, spread, 1.0)
    return [
        np.where(usable[:, here], (second[:, here] - first[:, here] * apart) * bell / divisor[:, here], 0.0)
        for (here, _), (bell, apart) in zip(lags, bells, strict=True)
    ]


def _mixed(means: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(L, T, J, N) means and (T, J) wanted multiples of the time constant -> (T, J, N)."""
    level = np.clip(level, LEVELS[0], LEVELS[-1])
    upper = np.clip(np.searchsorted(LEVELS, level), 1, len(LEVELS) - 1)
    low, high = np.array(LEVELS)[upper - 1], np.array(LEVELS)[upper]
    share = ((level - low) / (high - low))[..., None]
    rows, columns = np.indices(level.shape)
    return (1 - share) * means[upper - 1, rows, columns] + share * means[upper, rows, columns]


def _lags(times_s: np.ndarray, reach_s: float) -> int:
    """How many frames away others within `reach_s` can be."""
    after = np.searchsorted(times_s, times_s + reach_s, side="right") - 1
    return int((after - np.arange(len(times_s))).max())
