# SPDX-License-Identifier: GPL-3.0-or-later
"""The edges of a mesh and the triangles on both sides of each: found once, used for every picture of the mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SHEETS = 64
"""More triangles than ever meet at one edge."""


@dataclass(frozen=True)
class MeshEdges:
    """E edges of a mesh of F triangles. All numbers are of numpy's own index type, which it looks up fastest."""

    corners: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Three times (F,): each triangle's vertices, counter-clockwise seen from outside."""
    start: np.ndarray
    """(E,) vertex."""
    end: np.ndarray
    """(E,) vertex."""
    left: np.ndarray
    """(E,) the triangle in which the edge runs from start to end."""
    right: np.ndarray
    """(E,) the triangle in which it runs back, or F where there is none."""

    @classmethod
    def of(cls, faces: np.ndarray) -> MeshEdges:
        """From (F, 3) triangles. Holes and seams are allowed."""
        faces = np.asarray(faces, np.intp)
        start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
        triangle = np.repeat(np.arange(len(faces)), 3)
        key = np.minimum(start, end) * (faces.max(initial=0) + 1) + np.maximum(start, end)
        runs_up = start < end
        up, down = np.flatnonzero(runs_up), np.flatnonzero(~runs_up)
        # The n-th run up an edge is matched with the n-th run down it; a seam of several sheets stays consistent.
        named_up, named_down = (_named_by_rank(key[runs]) for runs in (up, down))
        _, in_up, in_down = np.intersect1d(named_up, named_down, assume_unique=True, return_indices=True)
        lone = np.setdiff1d(np.arange(len(key)), np.concatenate([up[in_up], down[in_down]]))
        left = np.concatenate([up[in_up], lone])
        right = np.concatenate([triangle[down[in_down]], np.full(len(lone), len(faces))])
        corners = tuple(np.ascontiguousarray(column) for column in faces.T)
        return cls(corners, start[left], end[left], triangle[left], right)  # type: ignore[arg-type]

    def contour(self, is_front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start and end vertices (N,) of the edges between a triangle of `is_front` (F,) and one that is none.

        They run so that the front lies on their left.
        """
        is_front = np.append(is_front, False)  # nothing, beyond a hole's rim, faces nobody
        left, right = is_front.take(self.left), is_front.take(self.right)
        edges = np.flatnonzero(left != right)
        forth = left[edges]
        start, end = self.start[edges], self.end[edges]
        return np.where(forth, start, end), np.where(forth, end, start)


_known: dict[int, tuple[np.ndarray, MeshEdges]] = {}
"""By id of the faces, which are kept so that the id stays theirs: there are few bodies, drawn thousands of times."""


def edges_of(faces: np.ndarray) -> MeshEdges:
    """The edges of (F, 3) triangles, remembered for a few meshes. Do not write into `faces` afterwards."""
    known = _known.get(id(faces))
    if known is None or known[0] is not faces:
        known = faces, MeshEdges.of(faces)
        while len(_known) >= 8:
            _known.pop(next(iter(_known)), None)
        _known[id(faces)] = known
    return known[1]


def _named_by_rank(keys: np.ndarray) -> np.ndarray:
    """Every key with the number of equal ones before it, as one integer each."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    place = np.arange(len(keys))
    is_first = np.ones(len(keys), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    rank = np.empty(len(keys), np.int64)
    rank[order] = place - np.maximum.accumulate(np.where(is_first, place, 0))
    return keys * MAX_SHEETS + rank
