# SPDX-License-Identifier: GPL-3.0-or-later
"""Where MediaPipe's landmarks lie on the body model.

Each landmark rides on one joint (its *owner*). In the rest pose it lies at a mix of joints and surface points, plus a
measured offset: MediaPipe was run on renders of the body, and the mean difference was taken in the owner's rest frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.body_model import load_body

# fmt: off
LANDMARK_NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer",
    "right_eye_inner", "right_eye", "right_eye_outer", "left_ear",
    "right_ear", "mouth_left", "mouth_right", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_pinky", "right_pinky", "left_index",
    "right_index", "left_thumb", "right_thumb", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "left_heel", "right_heel", "left_foot_index",
    "right_foot_index",
)
# fmt: on

# landmark without its side -> (owner, rest position as a sum of weighted joints "j:" and vertices "v:", offset in mm:
# x outward, y up, z forward). Inner and outer eye corners and the mouth repeat what nose, eyes and ears say, with more
# noise, so the fit leaves them out.
_SIDED = {
    "eye": ("head", {"v:eye": 1.0}, (8, 2, -23)),
    "ear": ("head", {"v:ear": 1.0}, (-28, 6, 17)),
    "shoulder": ("collar", {"j:shoulder": 1.0}, (-10, -2, 5)),
    "elbow": ("shoulder", {"j:elbow": 1.0}, (1, 4, 12)),
    "wrist": ("elbow", {"j:wrist": 1.0}, (17, 0, 4)),
    "pinky": ("wrist", {"j:pinky1": 1.0}, (-2, 12, 25)),
    "index": ("wrist", {"j:index1": 1.0}, (-12, -2, -17)),
    "thumb": ("wrist", {"j:thumb2": 1.0}, (14, -2, -29)),
    "hip": ("pelvis", {"j:hip": 1.0}, (-2, 24, 22)),
    "knee": ("hip", {"j:knee": 1.0}, (-5, 6, -6)),
    "ankle": ("knee", {"j:ankle": 1.0}, (2, 28, 4)),
    "heel": ("ankle", {"v:heel": 1.0}, (-7, 3, 21)),
    "foot_index": ("foot", {"v:big_toe": 0.5, "v:small_toe": 0.5}, (-15, 6, -5)),
}
_NOSE_OFFSET_MM = (0, 0, -22)


@dataclass(frozen=True)
class LandmarkPoints:
    """N landmarks on the rest body, with their dependence on shape. Body frame, metres."""

    indices: np.ndarray
    """(N,) which of MediaPipe's landmarks (of the pose's 33, a hand's 21, or the face's 478)."""
    owners: np.ndarray
    """(N,) the joint each rides on, 0..21."""
    rest: np.ndarray
    """(N, 3) rest position at zero shape."""
    rest_shapedirs: np.ndarray
    """(N, 3, 10) how it moves per unit of beta."""


@lru_cache(maxsize=4)
def landmark_points(body_name: str) -> LandmarkPoints:
    """The landmarks on a shipped body."""
    body = load_body(body_name)
    joint_numbers = {name: number for number, name in enumerate(body.joint_names)}
    joint_dirs = body.joint_shapedirs[:, :, :10]

    def place(mix: dict[str, float], prefix: str) -> tuple[np.ndarray, np.ndarray]:
        rest, dirs = np.zeros(3), np.zeros((3, 10))
        for point, weight in mix.items():
            kind, name = point.split(":")
            if kind == "j":
                number = joint_numbers[prefix + name]
                rest, dirs = rest + weight * body.joints_template[number], dirs + weight * joint_dirs[number]
            else:
                number = body.landmark_vertices[prefix + name]
                rest, dirs = rest + weight * body.v_template[number], dirs + weight * body.shapedirs[number, :, :10]
        return rest, dirs

    rows = [(0, joint_numbers["head"], *place({"v:nose": 1.0}, ""), _NOSE_OFFSET_MM)]
    for name, (owner, mix, (out_mm, up_mm, front_mm)) in _SIDED.items():
        for prefix, outward in (("left_", 1), ("right_", -1)):
            index = LANDMARK_NAMES.index(prefix + name)
            number = joint_numbers[prefix + owner if prefix + owner in joint_numbers else owner]
            rows.append((index, number, *place(mix, prefix), (outward * out_mm, up_mm, front_mm)))
    rows.sort(key=lambda row: row[0])
    owners = np.array([row[1] for row in rows])
    return LandmarkPoints(
        indices=np.array([row[0] for row in rows]),
        owners=owners,
        rest=np.array([row[2] + np.array(row[4]) / 1000 for row in rows]),
        rest_shapedirs=np.array([row[3] for row in rows]),
    )


# MediaPipe's hand: wrist 0, then four points for each finger from root to tip. What is rigid with the wrist joint:
_HAND_ROOTS = {0: "wrist", 1: "thumb1", 5: "index1", 9: "middle1", 13: "ring1", 17: "pinky1"}

# Points of MediaPipe's face mesh that expressions and the jaw hardly move: nose bridge and tip, eye corners, temples,
# cheekbones, forehead.
_STEADY_FACE = (1, 4, 6, 168, 10, 109, 338, 33, 133, 362, 263, 127, 356, 234, 454, 5)


@lru_cache(maxsize=8)
def hand_root_points(body_name: str, side: str) -> LandmarkPoints:
    """The wrist and the fingers' roots of the left or right hand; `indices` count in the hand's 21."""
    body = load_body(body_name)
    joints = [body.joint_names.index(f"{side}_{name}") for name in _HAND_ROOTS.values()]
    wrist = body.joint_names.index(f"{side}_wrist")
    return LandmarkPoints(
        indices=np.array(list(_HAND_ROOTS)),
        owners=np.full(len(joints), wrist),
        rest=body.joints_template[joints].astype(np.float64),
        rest_shapedirs=body.joint_shapedirs[joints, :, :10].astype(np.float64),
    )


@lru_cache(maxsize=4)
def face_points(body_name: str) -> LandmarkPoints:
    """Steady points of the face; `indices` count in the face's 478."""
    body = load_body(body_name)
    indices = np.array(_STEADY_FACE)
    corners, bary = (part[indices] for part in body.face_embedding())
    return LandmarkPoints(
        indices=indices,
        owners=np.full(len(indices), body.joint_names.index("head")),
        rest=np.einsum("nc,nci->ni", bary, body.v_template[corners]).astype(np.float64),
        rest_shapedirs=np.einsum("nc,ncik->nik", bary, body.shapedirs[corners][..., :10]).astype(np.float64),
    )
