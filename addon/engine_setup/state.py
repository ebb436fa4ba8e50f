# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there, said in one word, and what can be done about it. Quick: reads two small files and starts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .options import REQUIREMENTS, Accelerator, digest, total_mb
from .places import COMPLETE, Places, Record, is_locked, python_of, read_record


class State(Enum):
    """Of an engine's environment."""

    ABSENT = "absent"
    WORKING = "working"
    """A set-up is under way, here or in another process."""
    INTERRUPTED = "interrupted"
    """An installation ended before it was complete, and can be resumed."""
    READY = "ready"
    OUTDATED = "outdated"
    """It works, but was made for other pinned packages than this add-on's."""
    DAMAGED = "damaged"


ACTIONS: dict[State, tuple[str, ...]] = {
    State.ABSENT: ("install",),
    State.WORKING: ("cancel",),
    State.INTERRUPTED: ("install", "uninstall"),
    State.READY: ("verify", "uninstall"),
    State.OUTDATED: ("install", "verify", "uninstall"),
    State.DAMAGED: ("repair", "verify", "uninstall"),
}
"""What is offered in which state, the likeliest first."""


@dataclass(frozen=True)
class Status:
    """What is there."""

    state: State
    sentence: str
    environment: Path | None = None
    """The environment in use."""
    record: Record | None = None
    """Of the environment in use."""
    unfinished: Record | None = None
    """Of an installation or upgrade that was interrupted."""


def look(places: Places, requirements: Path = REQUIREMENTS) -> Status:
    """The state of this user's engine."""
    environment = places.current()
    record = read_record(environment) if environment else None
    unfinished = next((read_record(folder) for folder in places.others()), None)
    if unfinished is not None and unfinished.state == COMPLETE:
        unfinished = None  # the leavings of an upgrade, which Windows would not let go
    state, sentence = _judge(places, environment, record, unfinished, requirements)
    return Status(state, sentence, environment, record, unfinished)


def _judge(
    places: Places, environment: Path | None, record: Record | None, unfinished: Record | None, requirements: Path
) -> tuple[State, str]:
    if is_locked(places):
        return State.WORKING, "The engine is being set up."
    if environment is None or record is None:
        if unfinished is not None:
            return State.INTERRUPTED, unfinished.failure or "The installation was interrupted."
        return State.ABSENT, "The engine is not installed yet."
    if record.state != COMPLETE:
        return State.DAMAGED, "The installation has lost its record."
    if record.damage:
        return State.DAMAGED, record.damage[0]
    if not python_of(environment).exists():  # follows the link to the Python it was built on
        return State.DAMAGED, f"The Python that the engine was built on has gone: {record.python}."
    if record.digest != digest(requirements, Accelerator(record.accelerator)):
        return State.OUTDATED, f"The engine was installed for version {record.version}; an upgrade is due."
    return State.READY, "The engine is installed."


def size_sentence(accelerator: Accelerator) -> str:
    """What an installation will take, before it begins."""
    download_mb, installed_mb = total_mb(accelerator)
    return f"About {download_mb} MB to download, {installed_mb} MB on disk"
