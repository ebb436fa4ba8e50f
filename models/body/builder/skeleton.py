# SPDX-License-Identifier: GPL-3.0-or-later
"""The 55 joints (SMPL-X's names and order), and which MakeHuman bones each of them stands for."""

import numpy as np

_TRUNK = {
    "pelvis": None,
    "left_hip": "pelvis",
    "right_hip": "pelvis",
    "spine1": "pelvis",
    "left_knee": "left_hip",
    "right_knee": "right_hip",
    "spine2": "spine1",
    "left_ankle": "left_knee",
    "right_ankle": "right_knee",
    "spine3": "spine2",
    "left_foot": "left_ankle",
    "right_foot": "right_ankle",
    "neck": "spine3",
    "left_collar": "spine3",
    "right_collar": "spine3",
    "head": "neck",
    "left_shoulder": "left_collar",
    "right_shoulder": "right_collar",
    "left_elbow": "left_shoulder",
    "right_elbow": "right_shoulder",
    "left_wrist": "left_elbow",
    "right_wrist": "right_elbow",
    "jaw": "head",
    "left_eye_smplhf": "head",
    "right_eye_smplhf": "head",
}
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}  # as in MakeHuman's bone names
SIDES = {"left": "L", "right": "R"}

_HANDS = {
    f"{side}_{finger}{k}": f"{side}_{finger}{k - 1}" if k > 1 else f"{side}_wrist"
    for side in SIDES
    for finger in FINGERS
    for k in (1, 2, 3)
}
_PARENT_NAMES = _TRUNK | _HANDS

JOINTS = tuple(_PARENT_NAMES)
JOINT_INDEX = {name: index for index, name in enumerate(JOINTS)}
PARENTS = np.array([-1 if parent is None else JOINT_INDEX[parent] for parent in _PARENT_NAMES.values()])


def mirror_name(name: str) -> str:
    """left_… <-> right_…, and bone.L <-> bone.R; names of the middle stay."""
    for a, b in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(a):
            return b + name[len(a) :]
    return name[:-2] + {".L": ".R", ".R": ".L"}[name[-2:]] if name[-2:] in (".L", ".R") else name


JOINT_MIRROR = np.array([JOINT_INDEX[mirror_name(name)] for name in JOINTS])
"""(55,) the joint on the other side."""

# First match wins. Bones of the face that are not listed follow the nearest listed ancestor (head or jaw).
_BONE_PREFIXES = (
    ("upperleg", "hip"),
    ("lowerleg", "knee"),
    ("foot", "ankle"),
    ("toe", "foot"),
    ("clavicle", "collar"),
    ("shoulder01", "collar"),
    ("upperarm", "shoulder"),
    ("lowerarm", "elbow"),
    ("wrist", "wrist"),
    ("metacarpal", "wrist"),
    ("eye", "eye_smplhf"),
)
TRUNK_BONES = ("root", "pelvis", "spine05", "spine04", "spine03", "spine02", "spine01", "breast")


def joint_of_bone(bone: str) -> str | None:
    """The joint that carries a MakeHuman bone, "trunk" for bones shared out along the spine, None to ask its parent."""
    stem, _, suffix = bone.partition(".")
    if stem in TRUNK_BONES:
        return "trunk"
    if stem.startswith("neck"):
        return "neck"
    if stem in ("head", "jaw"):
        return stem
    side = {"L": "left", "R": "right"}.get(suffix)
    if stem.startswith("finger"):
        finger = next(name for name, number in FINGER_NUMBER.items() if number == int(stem[6]))
        return f"{side}_{finger}{stem[-1]}"
    for prefix, joint in _BONE_PREFIXES:
        if stem.startswith(prefix):
            return f"{side}_{joint}"
    return None
