# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's 478 face points on the mesh: for each one a triangle and barycentric coordinates in it.

They were found by running MediaPipe's face mesh on a frontal render of the neutral head and casting a ray through every
point (`embed_face.py`); `face_landmarks.npz` keeps the result. Triangle numbers are those of anny's topology, which are
the same for all bodies.
"""

from pathlib import Path

import numpy as np


def mediapipe_face_landmarks() -> tuple[np.ndarray, np.ndarray]:
    """-> triangles (478,), barycentric coordinates (478, 3)."""
    with np.load(Path(__file__).with_name("face_landmarks.npz")) as data:
        return data["triangles"], data["barycentric"]
