# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bone of another rig does what which joint of ours does. No bpy.

A map is joint name -> bone name, for as many joints as the other rig has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import RetargetError

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


@dataclass(frozen=True)
class IkLimb:
    """A limb that a rig can also move by IK."""

    upper: str
    """FK control of thigh or upper arm."""
    lower: str
    end: str
    controls: dict[str, str]
    """IK control -> the FK control with which it moves rigidly."""
    pole: str
    """IK control that says where the limb bends to."""
    switch: tuple[str, str, float]
    """Bone, its property, and the value with which the pole is obeyed."""


@dataclass(frozen=True)
class RigMap:
    """How to move one kind of rig."""

    title: str
    bones: dict[str, str]
    """Joint -> the bone that takes its turn."""
    place: str
    """The bone that takes the place of the hips (and their turn)."""
    switches: tuple[tuple[str, str, float], ...] = ()
    """Bone, its property, and the value with which the bones above are obeyed."""
    ik: tuple[IkLimb, ...] = ()
    """Limbs that can be moved by IK as well."""


def map_for(names: Iterable[str]) -> RigMap:
    """The map for an armature with these bones. Raises RetargetError where it is of no known kind."""
    names = set(names)
    if {"torso", "spine_fk", "upper_arm_fk.L"} <= names:
        return _rigify(names)
    for name in sorted(names):
        if match := re.fullmatch(r"(mixamorig\d*[:_]?|)Hips", name):
            return _mixamo(names, match[1])
    raise RetargetError("The other armature is neither a generated Rigify human nor a skeleton with Mixamo's names.")


def _mixamo(names: set[str], prefix: str) -> RigMap:
    bones = {
        "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
    }  # fmt: skip
    limbs = {
        "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase",
        "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand",
    }  # fmt: skip
    for side in ("Left", "Right"):
        bones |= {f"{side.lower()}_{joint}": side + bone for joint, bone in limbs.items()}
        for finger in _FINGERS:
            bones |= {f"{side.lower()}_{finger}{i}": f"{side}Hand{finger.capitalize()}{i}" for i in (1, 2, 3)}
    found = {joint: prefix + bone for joint, bone in bones.items() if prefix + bone in names}
    return _complete(RigMap("Mixamo", found, prefix + "Hips"))


def _rigify(names: set[str]) -> RigMap:
    bones = {
        "pelvis": "spine_fk", "spine1": "spine_fk.001", "spine2": "spine_fk.002", "spine3": "spine_fk.003",
        "neck": "neck", "head": "head",
    }  # fmt: skip
    limbs = {
        "hip": "thigh_fk", "knee": "shin_fk", "ankle": "foot_fk", "foot": "toe_fk",
        "collar": "shoulder", "shoulder": "upper_arm_fk", "elbow": "forearm_fk", "wrist": "hand_fk",
    }  # fmt: skip
    for side, letter in (("left", "L"), ("right", "R")):
        bones |= {f"{side}_{joint}": f"{bone}.{letter}" for joint, bone in limbs.items()}
        for finger in _FINGERS:
            stem = "thumb" if finger == "thumb" else f"f_{finger}"
            bones |= {f"{side}_{finger}{i}": f"{stem}.0{i}.{letter}" for i in (1, 2, 3)}
    found = {joint: bone for joint, bone in bones.items() if bone in names}
    limbs_fk = tuple((f"{limb}_parent.{s}", "IK_FK", 1.0) for limb in ("upper_arm", "thigh") for s in "LR")
    return _complete(RigMap("Rigify", found, "torso", limbs_fk, tuple(_rigify_ik(names))))


def _rigify_ik(names: set[str]) -> Iterator[IkLimb]:
    for upper, lower, end, toe in (("thigh", "shin", "foot", "toe"), ("upper_arm", "forearm", "hand", "")):
        for side in "LR":
            pairs = {f"{part}_ik.{side}": f"{part}_fk.{side}" for part in (end, toe) if part}
            controls = {control: by for control, by in pairs.items() if {control, by} <= names}
            pole = f"{upper}_ik_target.{side}"
            if f"{end}_ik.{side}" in controls and pole in names:
                fk = (f"{part}_fk.{side}" for part in (upper, lower, end))
                yield IkLimb(*fk, controls, pole, (f"{upper}_parent.{side}", "pole_vector", 1.0))


def _complete(rig_map: RigMap) -> RigMap:
    """Fingers, toes and parts of the trunk may be absent; without limbs there is nothing to move."""
    needed = [f"{side}_{j}" for side in ("left", "right") for j in ("hip", "knee", "ankle", "shoulder", "elbow")]
    missing = [joint for joint in ("pelvis", *needed) if joint not in rig_map.bones]
    if missing:
        raise RetargetError(f"The {rig_map.title} armature has no bone for {missing[0]}.")
    return rig_map
