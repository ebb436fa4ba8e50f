# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooths motion on the sphere of rotations. Constants are in seconds.

A Gaussian mean over time, with weights corrected so that motion at constant speed stays as it is, also at the ends of a
stretch and beside a gap. How long a time it reaches over is decided anew for every limb and frame (after Lepski, 1990):
the longest whose mean still agrees, within the jitter of that limb, with those over shorter times. Who stands is
smoothed a lot, and a serve keeps its snap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from .placed import PlacedMotion

REACH = 3.0
"""How many time constants the mean reaches."""
LEVELS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Multiples of the time constant over which means are taken."""
AGREES, DISAGREES = 2.0, 4.0
"""How far two means may be apart, in what jitter alone makes of it; between the two, they are mixed."""
WANDERS = 1.5
"""How many times larger than independent jitter the wandering of a fit may be."""
GUESSED = 8.0
"""Multiple of the time constant for limbs that are only inferred."""
UNSEEN_RAD, UNSEEN_M = 0.004, 0.002
"""Jitter is taken for at least this: smaller differences do not show."""


@dataclass(frozen=True)
class Limb:
    """Joints that move together, and the longest multiple of the time constant for them."""

    joints: tuple[int, ...]
    longest: float


# Root, trunk and legs are smoothed most: they carry everything else, and the picture tells least of how they turn.
LIMBS = (
    Limb((0,), 2.0),
    Limb((3, 6, 9), 2.0),
    Limb((1, 4, 7, 10), 2.0),
    Limb((2, 5, 8, 11), 2.0),
    Limb((12, 15), 1.5),
    Limb((13, 16, 18, 20), 1.5),
    Limb((14, 17, 19, 21), 1.5),
    Limb(tuple(range(22, 25)), 2.0),
    Limb(tuple(range(25, 40)), 2.0),
    Limb(tuple(range(40, 55)), 2.0),
)
ACROSS, ALONG = 1.0, 4.0
"""The same for the pelvis' way across the camera's ray, and along it, where a camera sees worst."""


def smooth_motion(motion: PlacedMotion, time_s: float, inferred: np.ndarray | None = None) -> PlacedMotion:
    """One stretch of motion, smoothed over about `time_s` seconds.

    Limbs whose joints are `inferred` (T, 55) bool are smoothed over `GUESSED` times as long: what they seem to do was
    not seen.
    """
    if len(motion.times_s) < 3:
        return motion
    rotations = motion.rotations.copy()
    for limb in LIMBS:
        joints = [j for j in limb.joints if (rotations[:, j] != rotations[:1, j]).any()]
        if not joints:
            continue
        turning = _of_rotations(rotations[:, joints], motion.times_s, time_s)
        turn = turning.best(limb.longest, UNSEEN_RAD)
        # A toe or a wrist that was not seen does not make a guess of the whole limb.
        share = np.zeros(1) if inferred is None else np.clip(2 * inferred[:, joints].mean(1) - 1, 0, 1)
        if share.any():
            guessed = _faded(share, motion.times_s, time_s)
            calm = _of_rotations(rotations[:, joints], motion.times_s, GUESSED * time_s).offsets[LEVELS.index(1.0)]
            turn += guessed[:, None, None] * (calm - turn)
        rotations[:, joints] = rotations[:, joints] @ rotvec_to_matrix(turn)
    rays = motion.pelvis - motion.eye
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
    way = _of_vectors(motion.pelvis[:, None], motion.times_s, time_s)
    along = way.seen_along(rays).best(ALONG, UNSEEN_M)[:, 0]
    across = way.seen_across(rays).best(ACROSS, UNSEEN_M)[:, 0]
    return replace(motion, rotations=rotations, pelvis=motion.pelvis + across + along)


def _faded(share: np.ndarray, times_s: np.ndarray, time_s: float) -> np.ndarray:
    """(T,) shares that come and go within some `time_s` instead of at once."""
    reach = _lags(times_s, 2 * time_s)
    return _local_mean(_local_mean(share, reach), reach)


def smooth_vectors(values: np.ndarray, times_s: np.ndarray, time_s: float) -> np.ndarray:
    """(T, N) -> (T, N), over the same time everywhere."""
    if len(values) < 3:
        return values
    return values + _of_vectors(values[:, None], times_s, time_s).offsets[LEVELS.index(1.0)][:, 0]


@dataclass(frozen=True)
class _Means:
    """Means over longer and longer times."""

    offsets: np.ndarray
    """(L, T, J, N) from each frame's own value to its mean at each of `LEVELS`."""
    steps: np.ndarray
    """(T - 2, J, N) second differences of the values, over even steps."""
    apart: np.ndarray
    """(L,) how far, in standard deviations of independent jitter, a level's mean is from that of the one before."""
    reach: np.ndarray
    """(L,) frames that each level reaches over, to either side."""

    def best(self, longest: float, unseen: float) -> np.ndarray:
        """(T, J, N) offsets to the means over the longest times that the motion allows."""
        jitter = np.median(np.linalg.norm(self.steps, axis=-1), 0) / np.sqrt(6) + unseen  # (J,) of N numbers together
        found, trust = np.zeros(self.offsets.shape[1:]), np.ones(self.offsets.shape[1])
        for level in range(1, len(LEVELS)):
            share = (longest - LEVELS[level - 1]) / (LEVELS[level] - LEVELS[level - 1])
            if share <= 0:
                break
            change = min(share, 1.0) * (self.offsets[level] - self.offsets[level - 1])
            together = _local_mean(np.square(change).sum((1, 2)), int(self.reach[level]))
            # A fit's jitter wanders over some frames, so it is more than what steps from frame to frame tell: what is
            # usual for this limb counts as jitter too, within reason.
            least = max(np.square(self.apart[level] * jitter).sum(), 1e-18)
            expected = np.clip(np.median(together), least, WANDERS**2 * least)
            ratio = np.sqrt(together / expected)
            trust = trust * np.clip((DISAGREES - ratio) / (DISAGREES - AGREES), 0, 1)
            found += trust[:, None, None] * change
        return found

    def seen_along(self, rays: np.ndarray) -> _Means:
        """What of it goes along rays (T, 3)."""
        on_ray = lambda vectors, ray: (vectors * ray).sum(-1, keepdims=True) * ray  # noqa: E731
        return replace(self, offsets=on_ray(self.offsets, rays[:, None]), steps=on_ray(self.steps, rays[1:-1, None]))

    def seen_across(self, rays: np.ndarray) -> _Means:
        """What goes across them."""
        along = self.seen_along(rays)
        return replace(self, offsets=self.offsets - along.offsets, steps=self.steps - along.steps)


def _local_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """(T,) means over so many frames to either side."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _of_rotations(rotations: np.ndarray, times_s: np.ndarray, time_s: float) -> _Means:
    """Of (T, J, 3, 3), as seen from each frame's own rotation."""
    transposed = rotations.swapaxes(-1, -2)
    return _means(lambda here, there: matrix_to_rotvec(transposed[here] @ rotations[there]), times_s, time_s)


def _of_vectors(values: np.ndarray, times_s: np.ndarray, time_s: float) -> _Means:
    """Of positions (T, J, N)."""
    return _means(lambda here, there: values[there] - values[here], times_s, time_s)


def _means(difference, times_s: np.ndarray, time_s: float) -> _Means:
    """difference(here, there) -> (n, J, N) from frames to others, the same number apart."""
    frames, reaches_s = np.arange(len(times_s)), np.array(LEVELS) * time_s
    furthest = _lags(times_s, REACH * reaches_s[-1])
    lags = [(frames[max(0, -k) : len(frames) - max(0, k)], k) for k in range(-furthest, furthest + 1)]
    weights = _weights(lags, times_s, reaches_s)
    offsets = np.zeros((len(LEVELS), len(frames), *difference(frames[:1], frames[:1]).shape[1:]))
    spread = np.zeros((len(LEVELS), len(frames)))
    for (here, k), weight in zip(lags, weights, strict=True):
        if len(here):
            offsets[:, here] += weight[..., None, None] * difference(here, here + k)
            spread[1:, here] += np.square(np.diff(weight, axis=0))
    before, after = difference(frames[1:-1], frames[:-2]), difference(frames[1:-1], frames[2:])
    uneven = ((times_s[2:] - times_s[1:-1]) / (times_s[1:-1] - times_s[:-2]))[:, None, None]
    steps = 2 * (after + before * uneven) / (1 + uneven)  # of even steps: what the neighbours say the frame is not
    reach = np.array([_lags(times_s, reach_s) for reach_s in reaches_s])
    return _Means(offsets, steps, np.sqrt(np.median(spread, 1)), reach)


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


def _lags(times_s: np.ndarray, reach_s: float) -> int:
    """How many frames away others within `reach_s` can be."""
    after = np.searchsorted(times_s, times_s + reach_s, side="right") - 1
    return int((after - np.arange(len(times_s))).max())
