# SPDX-License-Identifier: GPL-3.0-or-later
"""Every failure that is expected, as a tree. Each has a class, one plain sentence and a remedy.

    RecoverError
    ├── BadInput (exit 2)          BadRequest · OutputNotWritable · UnreadableImage · UnreadableClip ·
    │   │                          UnreadableTake · UnreadableCamera
    │   └── UnreadableImage        EmptyFile · AnimatedImage · ImageTooLarge · ImageTooSmall
    ├── Missing (exit 3)           MissingPackage · UnknownBackend · BackendNotReady · BlenderNotFound
    ├── NobodyFound (exit 1)
    ├── OutOfMemory (exit 1)
    ├── Cancelled (exit 1)
    ├── BlendNotWritten (exit 1)
    ├── BrokenConversation (exit 1)
    └── InternalError (exit 1)

The sentence is made where the error is raised, since it names the file; the remedy belongs to the class, and may be
replaced where more is known. The panel draws the remedy beside the sentence, the command line prints it below.
"""

from __future__ import annotations

from ..models.errors import ModelsError
from ..wire.errors import ExpectedFailure


class RecoverError(ExpectedFailure):
    """A failure that a person can do something about."""


class BadInput(RecoverError):
    """What was asked, or the file that was given, cannot be used."""

    remedy = "Check the file name and the options; `recover-body recover --help` shows examples."
    exit_code = 2


class BadRequest(BadInput):
    """An option has a value that makes no sense."""


class OutputNotWritable(BadInput):
    """The results cannot be written where they were asked for."""

    remedy = "Choose another folder with --out, or free some space on that disk."


class UnreadableImage(BadInput):
    """The file is not a picture that can be decoded."""

    remedy = "Open it in an image viewer and save it again as JPEG or PNG."


class EmptyFile(UnreadableImage):
    """The file has no bytes."""

    remedy = "Copy or download it again; the present copy is empty."


class AnimatedImage(UnreadableImage):
    """The file holds several pictures."""

    remedy = "Save the frame you want as a still picture (JPEG or PNG)."


class ImageTooLarge(UnreadableImage):
    """The picture is larger than can be worked on safely."""

    remedy = "Scale it down: people are found best when the longer side has 1000 to 8000 pixels."


class ImageTooSmall(UnreadableImage):
    """The picture is too small to show a person."""

    remedy = "Use a picture in which the person is at least 60 pixels high."


class UnreadableClip(BadInput):
    """The file is not a movie that can be decoded."""

    remedy = "Play it in a movie player, and save it again as MP4 (H.264)."


class UnreadableCamera(BadInput):
    """The file is not a camera."""

    remedy = "See docs/video.md for what a camera file holds."


class UnreadableTake(BadInput):
    """The file is not a take."""

    remedy = "Give a NAME.take.npz that this version or an earlier one wrote, or recover the picture again."


class Missing(RecoverError):
    """Something that is required is not installed."""

    exit_code = 3


class MissingPackage(Missing):
    """A Python package is not installed in the engine's environment."""

    remedy = "Run `python dev.py setup`, or install the engine from the add-on's preferences."


class UnknownBackend(Missing):
    """There is no backend of that name."""

    remedy = "`recover-body doctor` lists the backends."


class BackendNotReady(Missing):
    """The backend lacks a file or a package."""


class BlenderNotFound(Missing):
    """No Blender was found to write the .blend with."""

    remedy = "Install Blender 4.2 or newer, or name it with --blender PATH, or run `pip install bpy==4.5.15`."


class NobodyFound(RecoverError):
    """No person was found in the picture."""

    remedy = "Use a picture in which the person is larger and mostly visible, or crop the picture around the person."


class OutOfMemory(RecoverError):
    """The machine or the graphics card has too little memory for this."""

    remedy = "Close other programs, or use a smaller picture."


class Cancelled(RecoverError):
    """The request was stopped by whoever made it."""

    remedy = "Start it again when you like; nothing was changed."


class BlendNotWritten(RecoverError):
    """Blender was started to write the .blend and did not manage to."""

    remedy = "Look at Blender's own words above; `recover-body doctor` tells which Blender is used."


class BrokenConversation(RecoverError):
    """The engine received bytes that are not a message of its protocol."""

    remedy = "Make sure that the add-on and the engine are of the same version, then restart the engine."


class InternalError(RecoverError):
    """Something that nobody expected; the engine's log has the details."""

    remedy = "Try again; if it stays, report it with the engine's log and the output of `recover-body doctor`."


def as_expected(error: Exception, source: str) -> RecoverError:
    """Any exception that came up while working on `source`, as one of this tree."""
    if isinstance(error, RecoverError):
        return error
    if isinstance(error, ModelsError):  # weights are looked at before work begins; these were altered since
        return BackendNotReady(error.sentence, error.remedy)
    if isinstance(error, ModuleNotFoundError):
        return MissingPackage(f"The Python package {error.name} is not installed in the engine's environment.")
    words = str(error).lower()
    # By name, because torch is not imported for this; OpenCV has no class of its own for it at all.
    if isinstance(error, MemoryError) or "out of memory" in words or "insufficient memory" in words:
        return OutOfMemory(f"Memory ran out while working on {source}.")
    return InternalError(f"The engine failed on {source} ({type(error).__name__}: {error}).")
