# SPDX-License-Identifier: GPL-3.0-or-later
"""Random people: shapes well beyond the shape space that is fitted, clothes, hair and colours.

The truth is the naked body. What is drawn is the same mesh with clothes and hair as outward offsets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...models.body_model import SHIPPED_BODIES, BodyModel, load_body
from ..raster import vertex_normals

_TRUNK = ("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar")
_LIMBS = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}  # joint -> where its bone ends

# sRGB, 0 to 1, from the palest to the darkest of everyday skins; neighbours are mixed.
_SKINS = np.array([[0.96, 0.82, 0.73], [0.88, 0.68, 0.55], [0.76, 0.55, 0.40], [0.55, 0.37, 0.26], [0.30, 0.20, 0.15]])
_HAIRS = np.array(
    [[0.06, 0.05, 0.05], [0.17, 0.10, 0.06], [0.35, 0.22, 0.12], [0.72, 0.56, 0.34], [0.6, 0.6, 0.6], [0.5, 0.2, 0.1]]
)
# Black, navy, denim, grey, white, beige, brown, olive, dark red.
# Black, navy, denim, grey, white, beige, brown, olive, dark red.
# fmt: off
_CLOTHS = np.array([
    [0.07, 0.07, 0.08], [0.16, 0.2, 0.32], [0.3, 0.38, 0.5], [0.45, 0.45, 0.46], [0.9, 0.9, 0.88], [0.72, 0.65, 0.54],
    [0.42, 0.33, 0.25], [0.3, 0.33, 0.24], [0.45, 0.14, 0.15],
])
# fmt: on
_BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)  # of MediaPipe's face mesh
_LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)


@dataclass(frozen=True)
class Look:
    """What covers the body."""

    offsets_m: np.ndarray
    """(V,) outwards, at rest: thickness of cloth and hair."""
    face_colours: np.ndarray
    """(F, 3) sRGB, 0 to 1."""
    looseness_m: float
    """Median thickness of what is worn: above about 0.015 clothes hide the shape."""


def random_body(rng: np.random.Generator) -> BodyModel:
    """A body whose rest shape is its own: `shapedirs` are empty, `joints_template` are its joints."""
    body = load_body(SHIPPED_BODIES[rng.integers(len(SHIPPED_BODIES))])
    betas = rng.normal(0, 1, (1, body.beta_count)).clip(-2.2, 2.2)
    rest = body.rest_vertices(betas)[0]
    rest = _rescaled(rng, body, rest)
    rest = rest + _bumps(rng, body, rest)[:, None] * vertex_normals(rest, body.faces)
    return replace(body, v_template=rest.astype(np.float32), shapedirs=np.zeros((len(rest), 3, 0), np.float32))


@dataclass(frozen=True)
class Shape:
    """Somebody within the shape space, so that betas tell the whole shape."""

    name: str
    """Whose betas they are: a shipped body."""
    betas: np.ndarray
    """(10,)"""
    body: BodyModel
    """Its rest shape is its own, as of `random_body`."""


def random_shape(rng: np.random.Generator) -> Shape:
    """One of the shipped bodies with betas that training takes for plausible."""
    name = SHIPPED_BODIES[rng.integers(len(SHIPPED_BODIES))]
    body = load_body(name)
    betas = rng.normal(0, 1, body.beta_count).clip(-2.5, 2.5).astype(np.float32)
    rest = body.rest_vertices(betas[None])[0].astype(np.float32)
    return Shape(name, betas, replace(body, v_template=rest, shapedirs=np.zeros((len(rest), 3, 0), np.float32)))


def stature_m(body: BodyModel) -> float:
    return float(np.ptp(body.v_template[:, 1]))


def _rescaled(rng: np.random.Generator, body: BodyModel, rest: np.ndarray) -> np.ndarray:
    """Each limb gets its own length and girth, the trunk its own height, width and depth, head, hands and feet a size.

    Every joint has a linear map about itself; vertices blend them by their skinning weights.
    """
    joints = body.J_regressor @ rest
    names = body.joint_names
    factor = lambda sigma: np.exp(rng.normal(0, sigma))  # noqa: E731
    trunk = np.diag([factor(0.07), factor(0.04), factor(0.1)])
    maps = np.tile(trunk, (len(names), 1, 1))
    for ends in ({"head": None, "neck": None}, {"wrist": None}, {"ankle": None, "foot": None}):
        size = factor(0.04) * np.eye(3)
        for name in ends:
            for j in [j for j, n in enumerate(names) if n == name or n.endswith(f"_{name}")]:
                maps[j] = size
    for start, end in _LIMBS.items():
        length, girth = factor(0.04), factor(0.1)
        for side in ("left_", "right_"):
            j, k = names.index(side + start), names.index(side + end)
            bone = (joints[k] - joints[j]) / np.linalg.norm(joints[k] - joints[j])
            maps[j] = girth * np.eye(3) + (length - girth) * np.outer(bone, bone)
    moved = joints.copy()
    for j, parent in enumerate(body.parents):
        if j >= names.index("jaw"):  # face parts follow the head, fingers the wrist
            maps[j] = maps[parent]
        if parent >= 0:
            moved[j] = moved[parent] + maps[parent] @ (joints[j] - joints[parent])
    blended = (body.weights @ maps.reshape(len(names), 9)).reshape(-1, 3, 3)
    shifts = body.weights @ (moved - np.einsum("jmn,jn->jm", maps, joints))
    return np.einsum("vmn,vn->vm", blended, rest) + shifts


def _bumps(rng: np.random.Generator, body: BodyModel, rest: np.ndarray, count: int = 30) -> np.ndarray:
    """(V,) metres: smooth, symmetric fat and muscle; little on face, hands and feet."""
    centres = rest[rng.integers(len(rest), size=count)]
    radius, height = rng.uniform(0.06, 0.2, count), rng.normal(0, 0.008, count)
    fold = lambda points: np.c_[np.abs(points[:, 0]), points[:, 1:]]  # noqa: E731 - both sides of the body alike
    squared = np.square(fold(rest)[:, None] - fold(centres)).sum(-1)
    fine = [
        j for j, n in enumerate(body.joint_names) if j >= 22 or n.split("_")[-1] in ("head", "wrist", "foot", "ankle")
    ]
    return np.exp(-squared / (2 * radius**2)) @ height * (1 - 0.85 * body.weights[:, fine].sum(1))


# ---- clothes and colours ----


def random_look(rng: np.random.Generator, body: BodyModel) -> Look:
    """Top, bottom, shoes, hair and skin of a body."""
    rest, joints, names = body.v_template, body.joints_template, list(body.joint_names)
    part = np.array(names)[body.weights.argmax(1)]
    at = lambda name: joints[names.index(name)]  # noqa: E731
    # Along the arm: 0 shoulder .. 1 wrist; down the leg: 0 hip .. 1 ankle.
    along_arm = (np.abs(rest[:, 0]) - at("left_shoulder")[0]) / (at("left_wrist")[0] - at("left_shoulder")[0])
    down_leg = (at("left_hip")[1] - rest[:, 1]) / (at("left_hip")[1] - at("left_ankle")[1])
    waist_y = at("spine1")[1] + rng.uniform(-0.08, 0.06)
    is_part = lambda *ends: np.array([p.split("_")[-1] in ends for p in part])  # noqa: E731

    on_trunk = np.isin(part, _TRUNK)
    neckline_y = at("neck")[1] - rng.uniform(0.0, 0.08)
    sleeve = (-0.1, 0.3, 0.55, 0.97)[rng.integers(4)]
    is_top = (on_trunk | is_part("shoulder", "elbow", "neck", "wrist")) & (rest[:, 1] > waist_y)
    is_top &= (along_arm < sleeve) & (rest[:, 1] < neckline_y + 0.5 * np.maximum(np.abs(rest[:, 0]) - 0.05, 0))
    is_dress = rng.random() < 0.12
    leg_end = (0.3, 0.55, 1.02, 1.02, 1.02)[rng.integers(5)]
    is_bottom = (on_trunk | is_part("hip", "knee", "ankle")) & (rest[:, 1] <= waist_y) & (down_leg < leg_end)
    is_shoe = is_part("ankle", "foot") & (rest[:, 1] < at("left_ankle")[1] + rng.uniform(-0.04, 0.08))
    is_hair = _hair(rng, body, part)

    top_m, bottom_m, shoe_m, hair_m = (
        _thickness(rng),
        _thickness(rng),
        rng.uniform(0.002, 0.01),
        rng.uniform(0.008, 0.035),
    )
    if is_dress:
        bottom_m = max(bottom_m, top_m, 0.02)
    offsets = np.zeros(len(rest))
    creases = 1 + 0.35 * _waves(rng, rest)
    for region, thickness in ((is_top, top_m * creases), (is_bottom, bottom_m * creases)):
        offsets = np.where(region, thickness, offsets)
    offsets = np.where(
        is_shoe, np.maximum(shoe_m, 0), np.where(is_hair, hair_m * (1 + 0.3 * _waves(rng, rest)), offsets)
    )

    colours = _skin(rng, body)
    hair_colour = _mixed(rng, _HAIRS) * rng.uniform(0.7, 1.2)
    top, bottom = _cloth(rng, rest), _cloth(rng, rest)
    bottom = top if is_dress else bottom
    colours[is_top], colours[is_bottom] = top[is_top], bottom[is_bottom]
    colours[is_shoe] = _random_colour(rng)
    colours[is_hair | _near_face_points(body, _BROWS, 0.007)] = hair_colour
    worn = np.concatenate([offsets[is_top], offsets[is_bottom]])
    return Look(offsets, _face_colours(body, colours), float(np.median(worn)) if len(worn) else 0.0)


def clothed(body: BodyModel, look: Look) -> BodyModel:
    """The body with what it wears as its rest shape, skinned about the same joints."""
    worn = body.v_template + look.offsets_m[:, None] * vertex_normals(body.v_template, body.faces)
    dressed = replace(body, v_template=worn.astype(np.float32))
    # A cached property: set before it is computed, because clothes do not move joints.
    dressed.__dict__["joints_template"] = body.joints_template
    return dressed


def _thickness(rng: np.random.Generator) -> float:
    """Metres: tight, ordinary or loose."""
    low, high = ((0.002, 0.006), (0.006, 0.015), (0.015, 0.04))[rng.choice(3, p=(0.35, 0.4, 0.25))]
    return rng.uniform(low, high)


def _waves(rng: np.random.Generator, rest: np.ndarray) -> np.ndarray:
    """(V,) in [-1, 1]: folds of random direction and width."""
    directions = rng.normal(0, 1, (3, 3)) * rng.uniform(20, 60, (3, 1))
    return np.sin(rest @ directions.T + rng.uniform(0, 6.28, 3)).mean(1)


def _hair(rng: np.random.Generator, body: BodyModel, part: np.ndarray) -> np.ndarray:
    """(V,) bool: scalp, from the brow backwards and down; sometimes none."""
    if rng.random() < 0.08:
        return np.zeros(len(part), bool)
    rest = body.v_template
    eye, nose = rest[body.landmark_vertices["left_eye"]], rest[body.landmark_vertices["nose"]]
    ear = rest[body.landmark_vertices["left_ear"]]
    fringe_y = eye[1] + rng.uniform(0.035, 0.065)
    # From the fringe the hairline falls towards the ear and on to the neck.
    behind = np.clip((nose[2] - 0.03 - rest[:, 2]) / (nose[2] - ear[2]), 0, 2)
    hairline_y = fringe_y - rng.uniform(0.05, 0.13) * np.maximum(behind - 0.5, 0) ** 1.5
    scalp = (part == "head") & (rest[:, 1] > hairline_y)
    if rng.random() < 0.35:  # long hair falls down the back of the neck
        scalp |= np.isin(part, ("head", "neck")) & (rest[:, 2] < ear[2] - 0.02)
    inner = np.ones(len(rest), bool)
    inner[body.faces[body.face_materials == 0].ravel()] = False
    return scalp & ~inner


def _skin(rng: np.random.Generator, body: BodyModel) -> np.ndarray:
    """(V, 3) sRGB."""
    skin = _mixed(rng, _SKINS)
    colours = np.tile(skin, (len(body.v_template), 1))
    colours[_near_face_points(body, _LIPS, 0.008)] = skin * (0.85, 0.6, 0.62)
    return colours


def _near_face_points(body: BodyModel, points: tuple[int, ...], radius_m: float) -> np.ndarray:
    """(V,) bool: vertices near points of MediaPipe's face mesh."""
    on_faces, weights = body.mediapipe_face_faces, body.mediapipe_face_bary
    assert on_faces is not None and weights is not None  # shipped bodies have them
    triangles = body.faces[on_faces[list(points)]]
    places = np.einsum("pk,pkd->pd", weights[list(points)], body.v_template[triangles])
    return np.linalg.norm(body.v_template[:, None] - places, axis=-1).min(1) < radius_m


def _cloth(rng: np.random.Generator, rest: np.ndarray) -> np.ndarray:
    """(V, 3) sRGB: plain, striped or checked."""
    base = _random_colour(rng)
    other = base + rng.uniform(0.2, 0.8) * (_random_colour(rng) - base)
    kind, width = rng.choice(4, p=(0.76, 0.1, 0.09, 0.05)), rng.uniform(30, 90)
    stripes = (np.sin(width * rest[:, 1]) > 0.3, np.sin(width * rest[:, 0]) > 0.3)
    pattern = (np.zeros(len(rest), bool), stripes[0], stripes[1], stripes[0] ^ stripes[1])[kind]
    return np.where(pattern[:, None], other, base)


def _random_colour(rng: np.random.Generator) -> np.ndarray:
    """Mostly black, white, grey, denim or earth, as clothes are; now and then a bright one."""
    if rng.random() < 0.8:
        return np.clip(_mixed(rng, _CLOTHS) * rng.uniform(0.75, 1.25) + rng.normal(0, 0.03, 3), 0.02, 0.95)
    grey, tint = rng.uniform(0.05, 0.9), rng.uniform(-1, 1, 3)
    return np.clip(grey + tint * rng.choice((0.15, 0.4), p=(0.6, 0.4)), 0.02, 0.95)


def _mixed(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """Between two neighbours of a palette."""
    place = rng.uniform(0, len(palette) - 1)
    low, share = int(place), place % 1
    return (1 - share) * palette[low] + share * palette[low + 1]


def _face_colours(body: BodyModel, vertex_colours: np.ndarray) -> np.ndarray:
    """(F, 3): skin triangles take their middle corner's colour (no bleeding over hems), eyes and mouth their own."""
    colours = np.median(vertex_colours[body.faces], axis=1)
    own = {"eye_white": (0.93, 0.92, 0.9), "iris": (0.25, 0.18, 0.1), "pupil": (0.02, 0.02, 0.02)}
    own |= {"tongue": (0.6, 0.25, 0.25), "mouth": (0.45, 0.15, 0.15)}
    for number, name in enumerate(body.material_names):
        if name in own:
            colours[body.face_materials == number] = own[name]
    return colours
