# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on Blender's side. Each has one plain sentence and a remedy, like the engine's failures."""

from __future__ import annotations

from ..wire.errors import ExpectedFailure


class AddonError(ExpectedFailure):
    """A failure that a person can do something about."""

    remedy = "Run Recover Body again; if it happens again, please report it with the picture."


class DrawError(AddonError):
    """What came from the engine cannot be drawn. Nothing was changed in the file."""


class SourceError(AddonError):
    """There is no usable picture."""

    remedy = "Choose a picture in the panel, or open one in the Image Editor."
    exit_code = 2


class EngineNotFound(AddonError):
    """No engine is installed where the add-on looks for it."""

    remedy = "Press Install Engine in the add-on's preferences, or name an engine's command there."
    exit_code = 3


class RetargetError(AddonError):
    """The motion cannot be put on the other rig."""

    remedy = "Generate the rig from Rigify's human meta-rig, or use a skeleton with Mixamo's bone names."
    exit_code = 2


class ExportError(AddonError):
    """A file cannot be written or read."""

    remedy = "Choose another folder or format."
    exit_code = 2
