# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drawn person is known by later: custom properties that the panel, the exporters and scripts read."""

from __future__ import annotations

import bpy
import numpy as np

from ..wire.frames import B_BLENDER_BODY
from ..wire.take import PersonTrack, RigPlan

# On the armature object:
JOINTS = "recover_body_joints"
"""Names of all joints with spaces between them, in the take's order (Blender has an order of its own)."""
INFERRED = "inferred_joints"
"""Names, with spaces between them, of the joints about which the picture said nothing in any frame."""
CONFIDENCE = "recover_body_confidence"
"""How far each joint can be trusted, 0 to 1, mean over the frames; in the order of `JOINTS`."""
BODY = "recover_body_body"
"""Which body carries the shape: neutral, female, male, or the stem of a user's file."""
REST_PELVIS = "recover_body_rest_pelvis"
"""The pelvis at rest in the body frame (y up), metres; the take's translation is counted from there."""
CORRECTIVES = "pose_correctives"
"""How much of the pose correctives is shown: 1 all, 0 none. Their drivers multiply by it."""
DRAWN_AT = "recover_body_root"
"""Where the root bone was drawn; what it is elsewhere by, an artist did."""
VERDICT = ("overlay_iou", "reprojection_px", "reprojection_percent", "expected_error_mm")
"""Means over the frames, as in `PersonTrack`."""
DOUBTS = "recover_body_doubts"
"""What makes the person less certain, a phrase a line."""

# On the armature's data:
SHAPE = "recover_body_shape"
"""Values of the shape sliders for which the bones were placed."""
JOINT_OFFSETS = "recover_body_joint_offsets"
"""What each shape slider at value 1 does to each bone's head: (sliders, joints, 3) flat, metres, armature space."""


def describe(owner: bpy.types.Object, rig: RigPlan, person: PersonTrack) -> None:
    """Leave on the rig what is known of the person."""
    seen = person.present
    inferred = person.joint_inferred[seen].all(0)
    owner[JOINTS] = " ".join(rig.bone_names)
    owner[INFERRED] = " ".join(name for name, flag in zip(rig.bone_names, inferred, strict=True) if flag)
    owner[CONFIDENCE] = np.where(inferred, 0.0, person.joint_confidence[seen].mean(0)).tolist()
    owner[BODY], owner[REST_PELVIS] = person.body, rig.bone_heads[0].tolist()
    owner[CORRECTIVES] = 1.0
    owner.id_properties_ui(CORRECTIVES).update(
        min=0.0, max=1.0, description="How much of the pose correctives is shown", default=1.0
    )
    owner[DOUBTS] = "\n".join(person.doubts)
    for field in VERDICT:
        values = getattr(person, field)[seen]
        if np.isfinite(values).any():
            owner[field] = float(np.nanmean(values))
    if rig.bone_offsets is not None:
        owner.data[SHAPE] = rig.shape_values.tolist()
        owner.data[JOINT_OFFSETS] = (rig.bone_offsets @ B_BLENDER_BODY.T).ravel().tolist()


def joint_names(owner: bpy.types.Object) -> list[str]:
    """Names of the joints in the take's order; empty for a rig that is none of ours."""
    return str(owner.get(JOINTS, "")).split()


def inferred_joints(owner: bpy.types.Object) -> list[str]:
    """Names of the joints that were inferred throughout."""
    return str(owner.get(INFERRED, "")).split()
