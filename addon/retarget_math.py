# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion of one skeleton for another one. Pure numbers; no bpy.

Every bone takes its joint's turn *since rest*, in the world: W_target = W_source rest_source^T A rest_target. A makes
up for the difference of the rest poses:

    limbs and fingers   A turns the target's bone at rest to where the source's points, so that both point alike ever
                        after, whatever T- or A-pose the target rests in
    hands with fingers  A brings palm and middle finger together
    trunk, head, feet   A only turns the body to the same front: standing upright stays so, flat soles stay flat

The hips travel with the ratio of the legs' lengths; with locked feet, thighs and shins then bend so that the ankles are
exactly where the source's are, by the same ratio. What stands still in the source stands still in the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_AIMED = ("hip", "knee", "shoulder", "elbow", "wrist")
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_UP = np.array([0.0, 0, 1])


@dataclass(frozen=True)
class Skeleton:
    """Joints at rest, in the world (metres, z up)."""

    heads: Mapping[str, np.ndarray]
    """Joint -> (3,) where it is."""
    tails: Mapping[str, np.ndarray]
    """Joint -> (3,) where its bone ends; counts where no mapped child says where the limb goes."""
    rotations: Mapping[str, np.ndarray]
    """Joint -> (3, 3) axes of its bone."""
    ground_m: float
    """Height of the ground on which it stands."""


@dataclass(frozen=True)
class Retargeted:
    """What the target does, N frames."""

    rotations: dict[str, np.ndarray]
    """Joint -> (N, 3, 3) axes of the target's bone in the world."""
    hips_turn: np.ndarray
    """(N, 3, 3) turn of the hips since the target's rest."""
    hips: np.ndarray
    """(N, 3) metres, where the middle between the hip joints is."""
    hips_rest: np.ndarray
    """(3,) the same at rest."""
    scale: float
    """Length of the target's legs over the source's."""

    def carried(self, point: np.ndarray) -> np.ndarray:
        """(3,) a point at rest that moves with the hips -> (N, 3) where it is."""
        return np.einsum("nij,j->ni", self.hips_turn, point - self.hips_rest) + self.hips


def retarget(
    source: Skeleton,
    target: Skeleton,
    parents: Mapping[str, str | None],
    heads: Mapping[str, np.ndarray],
    rotations: Mapping[str, np.ndarray],
    lock_feet: bool,
) -> Retargeted:
    """Move `target` as `source` moves.

    parents: joint -> parent among the joints of the target, parents first; heads, rotations: (N, 3) and (N, 3, 3) of
    the source's joints in the world.
    """
    align = _alignments(source, target, parents)
    turns = {j: rotations[j] @ source.rotations[j].T for j in parents}
    delta = {j: turns[j] @ align[j] for j in parents}

    legs = [_leg_length(skeleton) for skeleton in (source, target)]
    scale = legs[1] / legs[0]
    middle = 0.5 * (heads["left_hip"] + heads["right_hip"])
    rest_middle = [0.5 * (s.heads["left_hip"] + s.heads["right_hip"]) for s in (source, target)]
    anchor = middle[0] * [1, 1, 0] + source.ground_m * _UP

    def carry(points: np.ndarray, rest_source: np.ndarray, rest_target: np.ndarray) -> np.ndarray:
        """(N, 3) of the source -> of the target: travel by scale, and what is at its height at rest stays so."""
        lift = (rest_target[2] - target.ground_m) - scale * (rest_source[2] - source.ground_m)
        return anchor + scale * (points - anchor) + lift * _UP

    result = Retargeted(
        rotations={j: delta[j] @ target.rotations[j] for j in parents},
        hips_turn=delta["pelvis"],
        hips=carry(middle, *rest_middle),
        hips_rest=rest_middle[1],
        scale=scale,
    )
    if lock_feet:
        for side in ("left", "right"):
            ankle = f"{side}_ankle"
            goal = carry(heads[ankle], source.heads[ankle], target.heads[ankle])
            _reach(result, target, side, goal, turns)
    return result


def _reach(result: Retargeted, target: Skeleton, side: str, goal: np.ndarray, turns: Mapping[str, np.ndarray]) -> None:
    """Bend one leg so that its ankle lies at `goal` (N, 3), by turning thigh and shin in `result`."""
    hip, knee, ankle = (f"{side}_{part}" for part in ("hip", "knee", "ankle"))
    thigh_rest, shin_rest = target.heads[knee] - target.heads[hip], target.heads[ankle] - target.heads[knee]
    thigh_m, shin_m = np.linalg.norm(thigh_rest), np.linalg.norm(shin_rest)
    thigh = result.rotations[hip] @ (target.rotations[hip].T @ thigh_rest) / thigh_m
    shin = result.rotations[knee] @ (target.rotations[knee].T @ shin_rest) / shin_m
    wanted = goal - result.carried(target.heads[hip])
    reach = np.clip(np.linalg.norm(wanted, axis=-1), 1e-3, (thigh_m + shin_m) * (1 - 1e-6))
    # The knee's axis: at right angles to the leg as it is bent; to the body's left where it is straight.
    axis = np.cross(thigh, shin) + 1e-3 * turns[hip][..., 0]
    axis -= (axis * thigh).sum(-1, keepdims=True) * thigh
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    bend = np.arccos(np.clip((reach**2 - thigh_m**2 - shin_m**2) / (2 * thigh_m * shin_m), -1, 1))[:, None]
    bent = np.cos(bend) * thigh + np.sin(bend) * np.cross(axis, thigh)
    swing = shortest_turn(thigh_m * thigh + shin_m * bent, wanted)
    result.rotations[hip] = swing @ result.rotations[hip]
    result.rotations[knee] = swing @ shortest_turn(shin, bent) @ result.rotations[knee]


def _alignments(source: Skeleton, target: Skeleton, parents: Mapping[str, str | None]) -> dict[str, np.ndarray]:
    """Joint -> (3, 3) A of the module's docstring."""
    front = _same_front(source, target)
    align: dict[str, np.ndarray] = {}
    for joint, parent in parents.items():
        side, _, part = joint.partition("_")
        is_finger = part[:-1] in _FINGERS
        if part == "wrist" and all(f"{side}_{f}1" in parents for f in ("index", "middle", "pinky")):
            align[joint] = _palm(source, side) @ _palm(target, side).T
        elif part in _AIMED or is_finger:
            base = front if part in ("hip", "shoulder") else align[parent]
            align[joint] = shortest_turn(base @ _along(target, joint, parents), _along(source, joint, parents)) @ base
        else:
            align[joint] = front
    return align


def _same_front(source: Skeleton, target: Skeleton) -> np.ndarray:
    """(3, 3) turn about the vertical that brings the target's left to the source's left."""
    lefts = [(s.heads["left_hip"] - s.heads["right_hip"]) * [1, 1, 0] for s in (target, source)]
    if lefts[0] @ lefts[1] < -0.9 * np.linalg.norm(lefts[0]) * np.linalg.norm(lefts[1]):
        return np.diag([-1.0, -1, 1])  # back to back: the shortest turn would be about any axis
    return shortest_turn(*lefts)


def _along(skeleton: Skeleton, joint: str, parents: Mapping[str, str | None]) -> np.ndarray:
    """(3,) where the joint's limb points at rest: to the next joint, or where the bone ends."""
    children = [j for j, p in parents.items() if p == joint]
    child = f"{joint.split('_')[0]}_middle1" if "wrist" in joint else (children[0] if children else "")
    end = skeleton.heads[child] if child in parents else skeleton.tails[joint]
    return _unit(end - skeleton.heads[joint])


def _palm(skeleton: Skeleton, side: str) -> np.ndarray:
    """(3, 3) columns: along the hand, across the knuckles, out of the hand."""
    along = _unit(skeleton.heads[f"{side}_middle1"] - skeleton.heads[f"{side}_wrist"])
    across = skeleton.heads[f"{side}_index1"] - skeleton.heads[f"{side}_pinky1"]
    across = _unit(across - (across @ along) * along)
    return np.stack([along, across, np.cross(along, across)], -1)


def _leg_length(skeleton: Skeleton) -> float:
    hip, knee, ankle = (skeleton.heads[f"left_{part}"] for part in ("hip", "knee", "ankle"))
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))


def shortest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(..., 3), (..., 3), not opposite to each other -> (..., 3, 3) the smallest rotation from one to the other."""
    a, b = _unit(start), _unit(end)
    v, c = np.cross(a, b), (a * b).sum(-1)[..., None, None]
    zero = np.zeros_like(v[..., 0])
    K = np.stack([zero, -v[..., 2], v[..., 1], v[..., 2], zero, -v[..., 0], -v[..., 1], v[..., 0], zero], -1)
    K = K.reshape(*v.shape, 3)
    return np.eye(3) + K + K @ K / np.maximum(1 + c, 1e-9)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def nearest_mapped_parents(
    joints: Sequence[str], parents: Sequence[int], mapped: Mapping[str, object]
) -> dict[str, str | None]:
    """Joint -> its nearest ancestor that is mapped too, for the mapped ones, parents first."""
    result: dict[str, str | None] = {}
    for joint in joints:
        if joint not in mapped:
            continue
        above = parents[joints.index(joint)]
        while above >= 0 and joints[above] not in mapped:
            above = parents[above]
        result[joint] = joints[above] if above >= 0 else None
    return result
