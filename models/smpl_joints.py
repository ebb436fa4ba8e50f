# SPDX-License-Identifier: GPL-3.0-or-later
"""The 44 points that TokenHMR and HMR2.0 are trained and measured with, out of a posed SMPL body.

25 in OpenPose's order (nose, neck, right shoulder, … right heel), then 19 that a regressor takes from the surface
(right ankle, … neck, head top, pelvis, thorax, spine, jaw, head). Works on numpy arrays and torch tensors alike.
"""

from __future__ import annotations

# Points of SMPL's surface: nose, eyes, ears, then big toe, small toe and heel of either foot.
FACE_AND_FEET_VERTICES = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)
# Into SMPL's 24 joints followed by the vertices above.
OPENPOSE_25 = (24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34)
PELVIS = 39  # the root that errors are measured from
# 14 joints of the 3DPW protocol, among the 44.
EVALUATED = (*range(25, 38), 43)


def keypoints_44(vertices, joints, extra_regressor):
    """vertices (B, 6890, 3), joints (B, 24, 3), extra_regressor (19, 6890) -> (B, 44, 3), in the unit they came in."""
    concatenate = _concatenate_of(vertices)
    skeleton = concatenate([joints, vertices[:, list(FACE_AND_FEET_VERTICES)]], 1)
    return concatenate([skeleton[:, list(OPENPOSE_25)], extra_regressor @ vertices], 1)


def _concatenate_of(array):
    if type(array).__module__.startswith("torch"):
        import torch

        return torch.cat
    import numpy as np

    return np.concatenate
