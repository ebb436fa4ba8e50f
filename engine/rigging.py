# SPDX-License-Identifier: GPL-3.0-or-later
"""From a body to what an animator is given: bones with sensible axes, weights, shape keys, correctives.

Every bone's y axis runs along it, towards its main child. Its x axis is the one to turn for the ordinary movement, and
a positive angle always does the same thing, on both sides of the body:

    trunk, neck, head       bend forward              x points to the body's left
    legs, feet, toes        bend the knee, point the toes down (so the thigh swings back)    "
    jaw, eyes               open the mouth, look down                                        "
    collars, arms           bring the arm forward, bend the elbow        z points to the front
    hands, fingers          make a fist               z points to the palm's side
    thumbs                  close across the palm     z points to below the palm

Left and right bones mirror each other as Blender's "paste pose flipped" expects: x angles stay, y and z angles change
sign.
"""

from __future__ import annotations

import numpy as np

from ..models.body_model import BodyModel, load_body
from ..wire.take import EXPRESSION_COUNT, SHAPE_COUNT, Corrective, PersonTrack, RigPlan

INFLUENCES = 4
"""Bones per vertex; game engines and Blender's own limit tool use the same number."""

_MIN_BONE_M = 0.01
"""Blender drops bones without length, and shorter ones cannot be clicked."""
_EYE_BONE_M = 0.03

_LEFT, _UP, _FRONT = np.eye(3)

# Where a bone points when it is not simply towards its only child.
_MAIN_CHILD = {"pelvis": "spine1", "spine3": "neck", "left_wrist": "left_middle1", "right_wrist": "right_middle1"}
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")


def plan_rig(person: PersonTrack) -> RigPlan:
    """What to draw for `person`. The skeleton has the person's proportions, the mesh is the mean body + shape keys."""
    body = load_body(person.body)
    weight_bones, weights = strongest_weights(body.weights)
    first = int(np.argmax(person.present))
    # An expression moves the jaw's joint a little too; the skeleton is that of the first frame.
    shape, face = person.betas[None], person.expression[first : first + 1]
    heads = body.rest_joints(shape, face)[0].astype(np.float64)
    tails = _bone_tails(body, heads, body.rest_vertices(shape, face)[0])
    betas, expression = body.shapedirs[..., :SHAPE_COUNT], body.exprdirs[..., :EXPRESSION_COUNT]
    beta_count, expression_count = betas.shape[2], expression.shape[2]
    offsets = np.concatenate([betas, expression], axis=2)
    return RigPlan(
        person_id=person.id,
        name=person.name,
        vertices=body.v_template,
        faces=body.faces,
        face_materials=np.zeros(len(body.faces), np.int32) if body.face_materials is None else body.face_materials,
        material_names=body.material_names,
        uvs=np.zeros((1, 2), np.float32) if body.uv is None else body.uv,
        face_uvs=np.zeros_like(body.faces) if body.face_uvs is None else body.face_uvs,
        bone_names=body.joint_names,
        bone_parents=body.parents,
        bone_heads=heads,
        bone_tails=tails,
        bone_z_axes=_bone_z_axes(body, heads, tails),
        weight_bones=weight_bones,
        weights=weights,
        shape_names=(
            *(f"beta_{i + 1:02}" for i in range(beta_count)),
            *(f"expression_{i + 1:02}" for i in range(expression_count)),
        ),
        shape_offsets=np.ascontiguousarray(np.moveaxis(offsets, 2, 0), np.float32),
        shape_values=np.concatenate([person.betas[:beta_count], person.expression[first, :expression_count]]),
        correctives=tuple(_corrective(body, number) for number in range(len(body.correctives))),
        corrective_offsets=np.stack([c.offsets for c in body.correctives]) if body.correctives else None,
        bone_offsets=_bone_offsets(body, beta_count, expression_count),
    )


def strongest_weights(weights: np.ndarray, influences: int = INFLUENCES) -> tuple[np.ndarray, np.ndarray]:
    """(V, J) skin weights -> (V, I) bones, strongest first, and their (V, I) weights, which sum to 1."""
    bones = np.argsort(-weights, axis=1, kind="stable")[:, :influences]
    kept = np.take_along_axis(weights, bones, 1)
    return bones.astype(np.int32), (kept / kept.sum(1, keepdims=True)).astype(np.float32)


def _bone_offsets(body: BodyModel, beta_count: int, expression_count: int) -> np.ndarray:
    """(S, J, 3) what each shape at value 1 does to the joints; joints are linear in the shapes."""
    one_each = np.eye(beta_count + expression_count)
    moved = body.rest_joints(one_each[:, :beta_count], one_each[:, beta_count:])
    return (moved - body.rest_joints(np.zeros((1, beta_count)))).astype(np.float32)


def _corrective(body: BodyModel, number: int) -> Corrective:
    own = body.correctives[number]
    x, y, z = own.axis.tolist()
    return Corrective(own.name, body.joint_names[own.joint], (x, y, z), float(own.full_angle_rad))


def _bone_tails(body: BodyModel, heads: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(J, 3) for joints at `heads` (J, 3) and the shaped rest mesh (V, 3)."""
    names = body.joint_names
    tails = np.empty_like(heads)
    for bone, name in enumerate(names):
        children = np.flatnonzero(body.parents == bone)
        if name in _MAIN_CHILD:
            tails[bone] = heads[names.index(_MAIN_CHILD[name])]
        elif name == "head":
            tails[bone] = heads[bone] + _UP * (rest[:, 1].max() - heads[bone, 1])
        elif len(children):
            tails[bone] = heads[children[0]]
        else:
            tails[bone] = _tip(body, bone, heads, rest)
    along = tails - heads
    length = np.linalg.norm(along, axis=1, keepdims=True)
    return heads + along / length * np.maximum(length, _MIN_BONE_M)


def _tip(body: BodyModel, bone: int, heads: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(3,) end of a bone without children."""
    name, head = body.joint_names[bone], heads[bone]
    if name == "jaw":
        own = rest[body.weights[:, bone] > 0.5]
        chin = own[np.argmax(own @ (_FRONT - _UP))]
        return np.array([head[0], chin[1], chin[2]])
    if "eye" in name:
        return head + _FRONT * _EYE_BONE_M
    side = name.split("_")[0]
    if name == f"{side}_foot":
        toe = body.landmark_vertices.get(f"{side}_big_toe")
        reach = rest[toe, 2] - head[2] if toe is not None else 0.06
        return head + _FRONT * reach
    tip = body.landmark_vertices.get(f"{side}_{name.split('_')[1][:-1]}_tip")
    if tip is not None:
        return rest[tip].astype(np.float64)
    return head + 0.8 * (head - heads[body.parents[bone]])  # a finger's last bone is a little shorter


def _bone_z_axes(body: BodyModel, heads: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """(J, 3) unit, at right angles to the bones; which way each points is told at the top of this module."""
    z_axes = np.empty_like(heads)
    for bone, name in enumerate(body.joint_names):
        y_axis = (tails[bone] - heads[bone]) / np.linalg.norm(tails[bone] - heads[bone])
        side, _, part = name.partition("_")
        if "thumb" in part:
            below_palm = heads[body.joint_names.index(f"{side}_pinky1")] - 0.03 * _UP
            wanted = below_palm - heads[bone]
        elif part == "wrist" or part[:-1] in _FINGERS:
            wanted = -_UP
        elif part in ("collar", "shoulder", "elbow"):
            wanted = _FRONT
        else:
            wanted = np.cross(_LEFT, y_axis)
        z_axis = wanted - (wanted @ y_axis) * y_axis
        z_axes[bone] = z_axis / np.linalg.norm(z_axis)
    return z_axes
