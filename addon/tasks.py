# SPDX-License-Identifier: GPL-3.0-or-later
"""Children at work for the preferences (set-up, models, doctor): one per topic, looked after by an app timer.

As with `jobs`, nothing waits while there is a window; in the background timers do not run, and `start` waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import bpy

from . import editors

_TICK_S = 0.1


class Task(Protocol):
    """What is looked after: a `ChildTask`, or something like it."""

    is_done: bool
    fraction: float
    text: str

    def poll(self) -> bool: ...
    def wait(self) -> None: ...
    def cancel(self) -> None: ...
    def end(self) -> None: ...


_tasks: dict[str, Task] = {}
_endings: dict[str, Callable[[Task], None]] = {}


def start(topic: str, task: Task, on_end: Callable[[Task], None] = lambda task: None) -> Task:
    """Look after `task`, the only one of its topic; `on_end(task)` is called on the main thread."""
    if is_running(topic):
        _tasks[topic].end()
    _tasks[topic], _endings[topic] = task, on_end
    if bpy.app.background:
        task.wait()
        step()
    elif not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_TICK_S, persistent=True)
    return task


def of(topic: str) -> Task | None:
    """The task of that topic, at work or done last."""
    return _tasks.get(topic)


def is_running(topic: str) -> bool:
    """Whether one of that topic is at work."""
    return topic in _endings


def step() -> bool:
    """Take what the children said; returns whether one is still at work."""
    for topic in list(_endings):
        if _tasks[topic].poll():
            _endings.pop(topic)(_tasks[topic])
    return bool(_endings)


def forget(topic: str) -> None:
    """Put away what is done."""
    if not is_running(topic):
        _tasks.pop(topic, None)


def stop() -> None:
    """End all children and the timer."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for topic in list(_endings):
        _tasks[topic].end()
    _tasks.clear()
    _endings.clear()


def _tick() -> float | None:
    more = step()
    editors.redraw_sidebars()
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
    return _TICK_S if more else None
