# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backend `auto` takes for this footage, and why.

1. Somebody nearer than two metres: BLADE, where it is ready. Perspective bends such pictures, and BLADE was made for
   them: it asks for the distance first. The other networks imagine a very long lens.
2. Else the first that is ready of TokenHMR and HMR2.0 (the least published error at ordinary distances, in that
   order), BLADE, AiOS (also trained, but on whole pictures: people are smaller in them), and landmarks, which needs
   nothing.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from .. import detect
from ..cameras import Pinhole
from ..frames import Footage
from ..mediapipe_graphs import find_regions
from . import registry
from .base import Backend

CLOSE_UP = "blade"
NEAR_M = 2.0
BODY_SQUARE_M = 1.9
"""Side of the square that the detector draws around a person, in metres, about (1.7 to 2.4 on photographs)."""
LOOKED_AT = 5
"""Frames of a clip in which somebody near is looked for before giving up."""


def choose(name: str, footage: Footage, camera: Pinhole) -> tuple[Backend, tuple[str, ...]]:
    """The backend called `name`, or the best one that is ready for this footage, with a note that says why.

    Raises UnknownBackend or another errors.Missing.
    """
    backend = registry.choose(name)
    if name != "auto":
        return backend, ()
    if backend.name != CLOSE_UP and registry.is_ready(CLOSE_UP):
        distance_m = nearest_m(footage, camera)
        if distance_m < NEAR_M:
            backend = registry.choose(CLOSE_UP)
            return backend, (_note(backend, f"somebody is about {distance_m:.1f} m away, and it was made for that"),)
    order = registry.automatic()
    before = order[: order.index(backend.name)]
    why = f"{', '.join(before)} would come first and {'is' if len(before) == 1 else 'are'} not ready"
    return backend, (_note(backend, why if before else "of all that are ready it is the best for ordinary distances"),)


def nearest_m(footage: Footage, camera: Pinhole) -> float:
    """About how near the nearest person is, by size and (assumed) focal length; infinite where nobody is found."""
    if detect.missing():
        return np.inf
    for image in islice((image for image in footage.images if image is not None), LOOKED_AT):
        regions = find_regions(image)
        if regions:
            return BODY_SQUARE_M * camera.fx_px / max(region.side_px for region in regions)
    return np.inf


def _note(backend: Backend, why: str) -> str:
    return f"auto took {backend.title}: {why}."
