# SPDX-License-Identifier: GPL-3.0-or-later
"""What stills and clips share in the built-in backend."""

from __future__ import annotations

import numpy as np

from ..errors import BadRequest

CERTAIN = 0.25
"""A joint whose spread the landmarks reduced by less than this comes from the prior, whatever number it has."""
CLOSE_UP_CONFIDENCE = 0.7
"""Of fingers, jaw and eyes that were seen."""


def how_many(wanted: str) -> int | None:
    """Of the people, largest first; None for all of them. Raises BadRequest."""
    if wanted == "all":
        return None
    if wanted == "largest":
        return 1
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    raise BadRequest(f"People is {wanted!r}; it can be all, largest or a number.")


_PARTS = {"left arm": (13, 15), "right arm": (14, 16), "left leg": (25, 27), "right leg": (26, 28)}


def hidden_limbs(visibility: np.ndarray) -> tuple[str, ...]:
    """A sentence on limbs whose landmarks (33,) were not seen, or none."""
    hidden = [name for name, points in _PARTS.items() if visibility[list(points)].max() < 0.5]
    notes = [f"The {' and the '.join(hidden)} could not be seen and {'is' if len(hidden) == 1 else 'are'} inferred."]
    return tuple(notes) if hidden else ()
