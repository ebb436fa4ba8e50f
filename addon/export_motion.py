# SPDX-License-Identifier: GPL-3.0-or-later
"""A rig's motion as the body model's numbers: the way back from what Blender's bones do."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from ..wire.amass import Motion, write_amass
from ..wire.frames import B_BLENDER_BODY
from ..wire.take import EXPRESSION_COUNT, SHAPE_COUNT
from . import compat
from .errors import ExportError
from .pose_math import matrix_to_quaternion, quaternion_to_rotvec
from .pose_sampling import action_frames, rest_matrices, sample_bones
from .scene_facts import BODY, REST_PELVIS, joint_names
from .scene_rig import ROOT


def write_rig_as_amass(
    rig: bpy.types.Object, body: bpy.types.Object | None, path: Path, scene: bpy.types.Scene
) -> None:
    """Write what `rig` does over its action. Raises ExportError where it is none of ours."""
    write_amass(path, motion_of(rig, body, scene))


def motion_of(rig: bpy.types.Object, body: bpy.types.Object | None, scene: bpy.types.Scene) -> Motion:
    """What `rig` does in the frames of its action, in the body model's words; shape and face from `body`'s sliders."""
    if missing := [name for name in joint_names(rig) if name not in rig.pose.bones]:
        raise ExportError(f"{rig.name} has no bone {missing[0]} any more.", "Undo its removal, or recover it again.")
    frames = action_frames(rig, scene)
    joints = joint_names(rig)
    rows = [rig.pose.bones.find(name) for name in joints]
    rest = rest_matrices(rig)[rows][:, :3, :3]
    world = (np.array(rig.matrix_world, np.float64) @ sample_bones(rig, frames, scene))[:, rows]
    # Turns of the body frame into the world, one for each joint: W = G B^T rest.
    turns = world[..., :3, :3] / np.linalg.norm(world[..., :3, :3], axis=-2, keepdims=True)
    turns = turns @ np.swapaxes(rest, -1, -2) @ B_BLENDER_BODY
    local = turns.copy()
    for joint, name in enumerate(joints):
        parent = rig.data.bones[name].parent
        if parent.name != ROOT:
            above = joints.index(parent.name)
            local[:, joint] = np.swapaxes(turns[:, above], -1, -2) @ turns[:, joint]
    quaternions = matrix_to_quaternion(local.reshape(-1, 3, 3))
    pose = quaternion_to_rotvec(quaternions).reshape(len(frames), len(joints), 3)
    sliders = _sliders(body, frames, scene)
    return Motion(
        pose=pose,
        translation=world[:, 0, :3, 3] - np.array(rig[REST_PELVIS], np.float64),
        betas=sliders[0, :SHAPE_COUNT],
        expression=sliders[:, SHAPE_COUNT:],
        fps=scene.render.fps / scene.render.fps_base,
        body=str(rig.get(BODY, "neutral")),
    )


def _sliders(body: bpy.types.Object | None, frames: np.ndarray, scene: bpy.types.Scene) -> np.ndarray:
    """(N, 20) values of the betas and expressions at `frames`."""
    values = np.zeros((len(frames), SHAPE_COUNT + EXPRESSION_COUNT))
    keys = getattr(getattr(body, "data", None), "shape_keys", None)
    if keys is None:
        return values
    columns = [f"beta_{i + 1:02}" for i in range(SHAPE_COUNT)]
    columns += [f"expression_{i + 1:02}" for i in range(EXPRESSION_COUNT)]
    curves = {c.data_path: c for c in compat.curves_of(keys)}
    for column, name in enumerate(columns):
        if name not in keys.key_blocks:
            continue
        curve = curves.get(f'key_blocks["{name}"].value')
        if curve is None:
            values[:, column] = keys.key_blocks[name].value
        else:
            values[:, column] = [curve.evaluate(float(frame)) for frame in frames]
    return values
