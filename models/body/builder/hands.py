# SPDX-License-Identifier: GPL-3.0-or-later
"""A relaxed hand for the T-pose with palms down."""

import numpy as np

from .skeleton import FINGERS

# Radians of bending per joint. The outer fingers of a resting hand are bent more than the index finger.
_FINGER_BEND_RAD = 0.28
_BEND_FACTOR = {"index": 0.8, "middle": 1.0, "pinky": 1.25, "ring": 1.15}
_THUMB_BEND_RAD = (0.075, 0.15, 0.15)


def relaxed_hand(side: str) -> np.ndarray:
    """(15, 3) rotation vectors: index, middle, pinky, ring, thumb, three joints each.

    With the palm down and fingers along the x axis, a finger bends about z and a thumb about y, mirrored between sides.
    """
    sign = -1.0 if side == "left" else 1.0
    pose = np.zeros((len(FINGERS), 3, 3))
    for finger, joints in zip(FINGERS, pose, strict=True):
        if finger == "thumb":
            joints[:, 1] = -sign * np.array(_THUMB_BEND_RAD)
        else:
            joints[:, 2] = sign * _FINGER_BEND_RAD * _BEND_FACTOR[finger]
    return pose.reshape(15, 3)
