# SPDX-License-Identifier: GPL-3.0-or-later
"""Expression, jaw and gaze from the 478 points of a face.

The face of the body is laid on the observed one by a similarity; what is left is explained by the ten expressions and
the jaw (linear, with a ridge, since every face is also simply another face), and then the similarity is found again.
Irises against the corners of the eyes give the gaze.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.body_model import load_body
from ...models.rotations import rotvec_to_matrix

EXPRESSION_SIGMA, JAW_SIGMA_RAD = 0.45, 0.15
"""Spread of expressions (1 is the full expression) and of the jaw's opening about a closed mouth."""
POINT_SIGMA_M = 0.004
"""How much faces differ from the body's for reasons other than expression."""
REPEATED = 12.0
"""How often the dense points of a face say the same thing: so much less do they count against the spreads above."""
ROUNDS = 4
EYEBALL_RADIUS_M = 0.012
GAZE_LIMIT_RAD = 0.6

_JAW_PROBE_RAD = 0.2
# Iris centre, outer corner, inner corner of each eye in MediaPipe's mesh.
_EYES = {"left": (473, 263, 362), "right": (468, 33, 133)}


@dataclass(frozen=True)
class FaceFit:
    """What a face does."""

    expression: np.ndarray
    """(10,)."""
    jaw: np.ndarray
    """(3,) rotation vector."""
    eyes: np.ndarray
    """(2, 3) rotation vectors, left and right."""


@dataclass(frozen=True)
class _Face:
    rest: np.ndarray  # (478, 3)
    directions: np.ndarray  # (478, 3, 11) by ten expressions and the jaw's opening in radians


def fit_face(seen: np.ndarray, body_name: str) -> FaceFit:
    """seen (478, 3): pixels (or any unit), the third towards the back, as the camera has it."""
    face = _face(body_name)
    observed = seen * np.array([1, -1, -1.0])  # to the body's axes: y up, z towards the camera
    skin = slice(0, 468)  # irises say where the eyes look, not what the face does
    design = face.directions[skin].reshape(-1, 11)
    sigma = np.append(np.full(10, EXPRESSION_SIGMA), JAW_SIGMA_RAD)
    normal = design.T @ design / POINT_SIGMA_M**2 + REPEATED * np.diag(1 / sigma**2)
    values = np.zeros(11)
    for _ in range(ROUNDS):
        model = face.rest[skin] + face.directions[skin] @ values
        aligned = _similarity(observed[skin], model)
        left_over = (aligned - face.rest[skin]).ravel()
        values = np.linalg.solve(normal, design.T @ left_over / POINT_SIGMA_M**2)
        values = np.clip(values, *_LIMITS)
    return FaceFit(values[:10], np.array([values[10], 0, 0]), _gaze(observed))


# Expressions go a little below zero (a mouth turned down is also less of a smile); the jaw only opens.
_LIMITS = (np.append(np.full(10, -0.5), 0.0), np.append(np.full(10, 1.3), 0.6))


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`source` (N, 3) turned, scaled and moved onto `target` as well as possible (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, spread, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (spread * sign).sum() / np.square(a).sum(1).mean()
    return scale * a @ ((u * sign) @ vt).T + target.mean(0)


def _gaze(observed: np.ndarray) -> np.ndarray:
    """(2, 3): each eye turned so that its iris lies where it was seen between the corners; both look the same way."""
    turns = []
    for iris, outer, inner in _EYES.values():
        across = observed[inner] - observed[outer]
        if outer == _EYES["left"][1]:
            across = -across  # to the person's left, like x
        width = np.linalg.norm(across)
        middle = (observed[inner] + observed[outer]) / 2
        # An eye opening is about 2.5 eyeball radii wide.
        offset = (observed[iris] - middle) / (width / 2.5)
        sideways = offset @ across / width
        upwards = offset[1]
        turns.append(np.array([-np.arcsin(np.clip(upwards, -0.6, 0.6)), np.arcsin(np.clip(sideways, -0.6, 0.6)), 0]))
    mean = np.clip(np.mean(turns, 0), -GAZE_LIMIT_RAD, GAZE_LIMIT_RAD)
    return np.stack([mean, mean])


@lru_cache(maxsize=4)
def _face(body_name: str) -> _Face:
    body = load_body(body_name)
    corners, bary = body.face_embedding()
    mix = lambda per_vertex: np.einsum("nc,nc...->n...", bary.astype(np.float64), per_vertex[corners])  # noqa: E731
    rest, expressions = mix(body.v_template), mix(body.exprdirs)
    jaw = body.joint_names.index("jaw")
    weight, pivot = mix(body.weights[:, jaw]), body.joints_template[jaw]
    opened = (rest - pivot) @ rotvec_to_matrix(np.array([_JAW_PROBE_RAD, 0, 0])).T + pivot
    by_jaw = weight[:, None] * (opened - rest) / _JAW_PROBE_RAD
    return _Face(rest, np.concatenate([expressions, by_jaw[..., None]], 2))
