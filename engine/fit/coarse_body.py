# SPDX-License-Identifier: GPL-3.0-or-later
"""A body with a third of its vertices, for outlines: what is lost is narrower than the pixels in which they are paired.

Vertices of one joint that lie in one small cube become one of them, which leaves every surface closed.
"""

from __future__ import annotations

import numpy as np

from ...models.body_model import BodyModel

CUBE_M, SMALL_CUBE_M = 0.025, 0.0125
"""Sides of the cubes, on trunk and limbs, and on hands, feet and head."""
_LARGE = ("pelvis", "spine1", "spine2", "spine3", "hip", "knee", "collar", "shoulder", "elbow")


def coarse_body(body: BodyModel) -> BodyModel:
    """The body with fewer vertices and triangles."""
    joint = body.weights.argmax(1)
    is_large = np.array([name.removeprefix("left_").removeprefix("right_") in _LARGE for name in body.joint_names])
    side_m = np.where(is_large[joint], CUBE_M, SMALL_CUBE_M)
    cubes = np.column_stack([np.floor(body.v_template / side_m[:, None]), joint]).astype(np.int64)
    _, cube, count = np.unique(cubes, axis=0, return_inverse=True, return_counts=True)
    cube = cube.ravel()
    middle = np.stack([np.bincount(cube, axis) for axis in body.v_template.T], 1) / count[:, None]
    # The vertex nearest to each cube's mean: the first of each cube, in order of cube and distance.
    order = np.lexsort([np.square(body.v_template - middle[cube]).sum(1), cube])
    kept = order[np.cumsum(count) - count]
    faces = cube[body.faces]
    is_left = (faces != np.roll(faces, 1, axis=1)).all(1)
    return body.with_vertices(kept, faces[is_left])
