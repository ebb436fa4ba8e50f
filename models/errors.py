# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with the files a user brings. Each has a class, one sentence and a remedy.

    ModelsError
    ├── UnusableFile (exit 2)    UnknownFile · DamagedFile · DangerousFile · UnsafeArchive · WrongTensors
    ├── NotImported (exit 3)
    ├── NoRoom (exit 1)
    └── ImporterDied (exit 1)

The engine hands them on as its own failures; they live here because networks and weights know nothing of the engine.
"""

from __future__ import annotations

from ..wire.errors import ExpectedFailure


class ModelsError(ExpectedFailure):
    """Something about weights or body files that a person can do something about."""

    remedy = "`recover-body models list` shows what is known, what is imported and where to get the rest."


class UnusableFile(ModelsError):
    """The file cannot be imported."""

    exit_code = 2


class UnknownFile(UnusableFile):
    """The file, or everything in the archive or folder, is something else."""


class DamagedFile(UnusableFile):
    """The file is cut short or altered."""

    remedy = "Download it again, and compare its size with the one on the download page."


class DangerousFile(UnusableFile):
    """The file would run a program if it were opened carelessly."""

    remedy = "Delete it, and download the file from the place that `recover-body models list` names."


class UnsafeArchive(UnusableFile):
    """The archive would write outside the folder it is unpacked in."""

    remedy = "Delete it, and download the archive from the place that `recover-body models list` names."


class WrongTensors(UnusableFile):
    """The tensors are not exactly those of the network."""

    remedy = "Download the file that `recover-body models list` names; another version of the model has other tensors."


class NotImported(ModelsError):
    """The weights or body file have not been imported yet."""

    exit_code = 3


class NoRoom(ModelsError):
    """The disk is full."""

    remedy = "Free some space, or name another folder in the environment variable RECOVER_BODY_DATA."


class ImporterDied(ModelsError):
    """The importing process ended without an answer."""

    remedy = "Close other programs, so that there is more memory, and try again."
