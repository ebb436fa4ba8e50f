# SPDX-License-Identifier: GPL-3.0-or-later
"""What every backend is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ...wire.messages import RecoverRequest
from ..cameras import Pinhole
from ..frames import Footage
from ..masks import Mask

Report = Callable[[str, float, str], None]
"""report(stage, fraction of the backend's own work 0..1, detail). Raises Cancelled when the request was stopped."""


@dataclass(frozen=True)
class BodyTrack:
    """One recovered person: the fields of `wire.take.PersonTrack` that a backend knows (same names, shapes, units)."""

    present: np.ndarray
    boxes_px: np.ndarray
    score: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    expression: np.ndarray
    translation: np.ndarray
    keypoint_names: tuple[str, ...]
    keypoints_px: np.ndarray
    joint_confidence: np.ndarray
    joint_inferred: np.ndarray
    masks: tuple[Mask | None, ...]
    """F person masks, each (H, W) bool in the full image, or packed in a clip; None where the backend has none."""
    reprojected_px: np.ndarray
    """(F, K, 2) where the recovered body has the keypoints, through the recovered camera; NaN where it has none."""
    notes: tuple[str, ...] = ()
    joint_error_mm: np.ndarray | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bodies:
    """Everybody in the footage and the camera that sees them."""

    people: tuple[BodyTrack, ...]
    camera: Pinhole
    """The camera the bodies were fitted through: the one given to the backend (which may move), or its estimate."""
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    """What the backend ran on, e.g. cuda:0 (name)."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of packages and weights beyond the engine's own."""
    drift_px: np.ndarray | None = None
    """(F,) as in `wire.take.Take`."""


class Backend(Protocol):
    """A way of recovering bodies: a module in this folder with one class, listed in `backends.registry`."""

    name: str
    title: str
    gives: tuple[str, ...]
    licence: str

    def missing(self) -> tuple[str, ...]:
        """What this machine lacks, a sentence each with where to get it; empty when ready. Quick: loads nothing."""

    def recover(self, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
        """Find and recover everybody. Raises NobodyFound."""
