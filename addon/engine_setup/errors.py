# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong while the engine is set up.

SetupError
├── SetupBusy · SetupCancelled · EngineDamaged · NoNetwork · NoSpace (exit 1)
├── UnusableBundle (exit 2)
└── NoPython · NotInSources · NotInstalled (exit 3)
"""

from __future__ import annotations

from ..errors import AddonError


class SetupError(AddonError):
    """The engine's environment could not be made, mended or removed."""

    remedy = "Look at the end of the set-up's log, then try again: it goes on where it stopped."


class SetupBusy(SetupError):
    """Another process is at it."""

    remedy = "Wait for it to end, also in other windows of Blender and in shells."


class SetupCancelled(SetupError):
    """Whoever started it stopped it."""

    remedy = "Resume when you like: what was installed stays."


class NoPython(SetupError):
    """There is no Python 3.11 to build on."""

    remedy = "Install Python 3.11 and name it in the preferences (--python in a shell)."
    exit_code = 3


class NotInSources(SetupError):
    """The package sources lack a package."""

    remedy = "Name an index or a folder that has it in the preferences, under Package Sources."
    exit_code = 3


class NoNetwork(SetupError):
    """The package sources cannot be reached."""

    remedy = "Check the network and the proxy, or install from an offline bundle."


class NoSpace(SetupError):
    """The disk is too full."""

    remedy = "Free some space, or name another folder in the environment variable RECOVER_BODY_DATA."


class UnusableBundle(SetupError):
    """The offline bundle is damaged, or for another machine or version."""

    remedy = "Make it again on a machine of the same kind, with the same version: make-bundle."
    exit_code = 2


class NotInstalled(SetupError):
    """There is no environment to work on."""

    remedy = "Press Install Engine in the add-on's preferences, or run the set-up with `install`."
    exit_code = 3


class EngineDamaged(SetupError):
    """The environment is not as it was installed."""

    remedy = "Press Repair in the add-on's preferences, or run the set-up with `repair`."
