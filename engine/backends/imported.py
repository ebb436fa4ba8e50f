# SPDX-License-Identifier: GPL-3.0-or-later
"""What a neural backend needs of this machine, told without loading anything."""

from __future__ import annotations

import importlib.util

from ...models import weights
from ...models.errors import ModelsError


def lacking(*entries: str) -> tuple[str, ...]:
    """What of packages and imported weights is missing, a sentence each, with where to get it."""
    packages = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
    told = [f"The Python package {name} is missing: run `python dev.py setup`." for name in packages]
    for entry in entries:
        try:
            weights.require(weights.find(entry))
        except ModelsError as error:
            told.append(f"{error.sentence} {error.remedy}")
    return tuple(told)
