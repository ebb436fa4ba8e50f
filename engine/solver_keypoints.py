# SPDX-License-Identifier: GPL-3.0-or-later
"""The 58 keypoints by which BLADE's camera solver holds a body, in three detectors' and models' numberings.

Left and right are the person's. Fingers go thumb, index, middle, ring, little; of each the tip, then the third and the
second joint.
"""

from __future__ import annotations

import numpy as np

COCO_WHOLEBODY = np.concatenate(
    [
        [0, 1, 2, 3, 4],  # nose, eyes, ears
        [5, 6, 7, 8],  # shoulders, elbows
        [11, 12, 13, 14, 15, 16],  # hips, knees, ankles
        [17, 18, 19, 20, 21, 22],  # left big toe, small toe, heel; right
        [116, 115, 114, 120, 119, 118, 124, 123, 122, 128, 127, 126, 132, 131, 130, 10],  # right fingers, wrist
        [95, 94, 93, 99, 98, 97, 103, 102, 101, 107, 106, 105, 111, 110, 109, 9],  # left fingers, wrist
        [44, 40, 45, 49, 31],  # right brow inner, outer; left; chin
    ]
)
"""(58,) index among COCO-WholeBody's 133 points."""

GOLIATH = np.concatenate(
    [
        np.arange(21),
        [21, 22, 23, 25, 26, 27, 29, 30, 31, 33, 34, 35, 37, 38, 39, 41],
        [42, 43, 44, 46, 47, 48, 50, 51, 52, 54, 55, 56, 58, 59, 60, 62],
        [78, 80, 87, 89, 77],
    ]
)
"""(58,) index among the 308 points of Sapiens' "Goliath" head."""

SMPLX_144 = np.concatenate(
    [
        [55, 57, 56, 59, 58],
        [16, 17, 18, 19],
        [1, 2, 4, 5, 7, 8],
        [60, 61, 62, 63, 64, 65],
        [71, 54, 53, 72, 42, 41, 73, 45, 44, 74, 51, 50, 75, 48, 47, 21],
        [66, 39, 38, 67, 27, 26, 68, 30, 29, 69, 36, 35, 70, 33, 32, 20],
        [80, 76, 81, 85, 135],
    ]
)
"""(58,) index among SMPL-X's 144 joints: 55 of the skeleton, 21 on the body's surface, 51 on the face, its contour."""

IS_FINGER = np.isin(np.arange(58), [*range(21, 36), *range(37, 52)])
IS_TOE = np.isin(np.arange(58), [15, 16, 18, 19])
IS_FACE = np.arange(58) >= 53
IS_HELD = ~(IS_FINGER | IS_TOE | IS_FACE)
"""(58,) the points that the solver trusts in pictures from the wild: body, heels, wrists, eyes and ears."""
CHIN = 57
"""Bodies without a face contour have no such joint; the published program puts it at the origin."""
