# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are on the mesh: landmark vertices and the material of each triangle."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .skeleton import FINGER_NUMBER, FINGERS, JOINT_INDEX
from .source import MakeHumanSource

MATERIALS = ("skin", "eye_white", "iris", "pupil", "tongue", "mouth")
# The eyeball's vertices lie on rings around its axis, 11.25 degrees apart or more: cut between them.
_PUPIL_RAD, _IRIS_RAD = np.deg2rad(15), np.deg2rad(30)


def landmark_vertices(source: MakeHumanSource, vertices: np.ndarray, joints: np.ndarray) -> dict[str, int]:
    """Named vertices of the T-posed body (V, 3) with joints (55, 3); the right ones mirror the left ones."""
    left = {part: source.keypoint_vertex(f"left_{part}", vertices) for part in ("ear", "heel", "big_toe", "small_toe")}
    eyeball = np.flatnonzero(source.weights[:, source.bone_index["eye.L"]] > 0.9)
    # The pupil's centre is a vertex-free octagon: its vertex nearest to the middle of the face stands for it.
    left["eye"] = int(eyeball[np.lexsort([vertices[eyeball, 0], -vertices[eyeball, 2].round(4)])[0]])
    for finger in FINGERS:
        tip = np.flatnonzero(source.weights[:, source.bone_index[f"finger{FINGER_NUMBER[finger]}-3.L"]] > 0.5)
        along = vertices[tip].mean(0) - joints[JOINT_INDEX[f"left_{finger}3"]]
        left[f"{finger}_tip"] = int(tip[(vertices[tip] @ along).argmax()])
    middle = np.flatnonzero(source.mirror == np.arange(len(vertices)))
    nose = source.keypoint_vertex("nose", vertices)
    nose = int(middle[np.linalg.norm(vertices[middle] - vertices[nose], axis=1).argmin()])
    landmarks = {"nose": nose}
    for part, vertex in left.items():
        landmarks |= {f"left_{part}": vertex, f"right_{part}": int(source.mirror[vertex])}
    return landmarks


def face_materials(source: MakeHumanSource, vertices: np.ndarray) -> np.ndarray:
    """(F,) index into `MATERIALS` for each triangle."""
    corners = source.faces
    materials = np.zeros(len(corners), int)
    materials[source.inside_mouth_triangles()] = MATERIALS.index("mouth")
    piece = _connected_pieces(corners, len(vertices))
    tongue_tip = source.weights[:, source.bone_index["tongue04"]].argmax()
    materials[piece[corners[:, 0]] == piece[tongue_tip]] = MATERIALS.index("tongue")
    for side in "LR":
        eyeball = source.weights[:, source.bone_index[f"eye.{side}"]] > 0.9
        centre = (vertices[eyeball].min(0) + vertices[eyeball].max(0)) / 2
        directions = vertices - centre
        angle = np.arccos(directions[:, 2] / np.maximum(np.linalg.norm(directions, axis=1), 1e-9))
        outermost = angle[corners].max(1)
        of_eye = eyeball[corners].all(1)
        materials[of_eye] = MATERIALS.index("eye_white")
        materials[of_eye & (outermost < _IRIS_RAD)] = MATERIALS.index("iris")
        materials[of_eye & (outermost < _PUPIL_RAD)] = MATERIALS.index("pupil")
    return materials


def _connected_pieces(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    """(V,) number of the connected piece of mesh to which each vertex belongs."""
    start, end = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    graph = coo_matrix((np.ones(len(start)), (start, end)), (vertex_count, vertex_count))
    return connected_components(graph, directed=False)[1]
