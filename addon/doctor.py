# SPDX-License-Identifier: GPL-3.0-or-later
"""Examines Blender, the add-on, the set-up and the engine, and tells it as a text that a person can read and send."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import bpy

from .. import __version__
from ..wire.messages import Hello
from . import tasks
from .child_task import ChildTask
from .client import EngineClient
from .engine_command import PACKAGE_ROOT, engine_command, other_verb
from .engine_setup.places import engine_places
from .engine_setup.state import look
from .errors import EngineNotFound
from .preferences import sends_pictures, told_engine

TEXT = "Recover Body Doctor"
"""Name of the text that the examination is written into."""
_DOCTOR, _HANDSHAKE = "doctor", "handshake"
_findings: Findings | None = None


class Handshake:
    """Starts an engine, waits for its Hello, ends it: a task like any other."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.fraction, self.text, self.is_done = 0.0, "Starting the engine", False
        self.hello: Hello | None = None
        self.seconds = 0.0
        self._started = time.monotonic()
        self._client = EngineClient(command)
        self._client.start()

    def poll(self) -> bool:
        """Take what the engine said; returns whether it is done."""
        for message in self._client.poll():
            if isinstance(message, Hello):
                self.hello = message
        if not self.is_done and (self.hello is not None or not self._client.is_running):
            self.seconds = time.monotonic() - self._started
            self.end()
        return self.is_done

    def wait(self) -> None:
        """Wait until it is done."""
        while not self.poll():
            time.sleep(0.02)

    def cancel(self) -> None:
        """The same as its end."""
        self.end()

    def end(self) -> None:
        """End the engine."""
        self._client.close()
        self.is_done = True


@dataclass
class Findings:
    """What an examination found."""

    lines: list[str] = field(default_factory=list)
    """Everything, to be read from top to bottom."""
    trouble: list[str] = field(default_factory=list)
    """What is wrong, a sentence each."""

    @property
    def text(self) -> str:
        """As a page."""
        verdict = self.trouble or ["All is well."]
        return "\n".join(["Recover Body Doctor", "", *verdict, "", *self.lines, ""])


def examine(on_end: Callable[[Findings], None] = lambda findings: None) -> None:
    """Ask the engine twice: as `doctor`, and by a handshake as before a recovery. `on_end` gets what was found."""
    try:
        command = engine_command(told_engine())
    except EngineNotFound as error:
        _conclude(None, None, f"{error.sentence} {error.remedy}", on_end)
        return

    def asked(task: ChildTask) -> None:
        handshake = Handshake(command)
        tasks.start(_HANDSHAKE, handshake, lambda _: _conclude(task, handshake, "", on_end))

    tasks.start(_DOCTOR, ChildTask(other_verb(command, "doctor", "--json")), asked)


def is_running() -> bool:
    """Whether an examination is under way."""
    return tasks.is_running(_DOCTOR) or tasks.is_running(_HANDSHAKE)


def found() -> Findings | None:
    """What the last examination found."""
    return _findings


def forget() -> None:
    """Put the last examination away."""
    global _findings
    _findings = None


def _conclude(
    task: ChildTask | None, handshake: Handshake | None, no_engine: str, on_end: Callable[[Findings], None]
) -> None:
    global _findings
    findings = Findings()
    _tell_blender(findings)
    _tell_set_up(findings)
    if no_engine:
        findings.trouble.append(no_engine)
    if handshake is not None:
        _tell_handshake(findings, handshake)
    if task is not None:
        _tell_engine(findings, task)
    _findings = findings
    on_end(findings)


# ---- chapters


def _tell_blender(findings: Findings) -> None:
    findings.lines += [
        "Blender",
        f"  Blender {bpy.app.version_string}, Python {platform.python_version()}, {platform.platform(terse=True)}",
        f"  drawn by: {_graphics()}",
        f"  background: {bpy.app.background}, online access: {bpy.app.online_access}",
        f"  Blender lies in {bpy.app.binary_path or sys.prefix}",
        f"  add-on {__version__} lies in {PACKAGE_ROOT}",
        "",
    ]


def _graphics() -> str:
    if bpy.app.background:
        return "nothing, there is no window"
    import gpu

    return f"{gpu.platform.vendor_get()}, {gpu.platform.renderer_get()}, {gpu.platform.version_get()}"


def _tell_set_up(findings: Findings) -> None:
    status = look(engine_places())
    findings.lines += ["Engine's installation", f"  {status.state.value}: {status.sentence}"]
    findings.lines.append(f"  in {status.environment or engine_places().root}")
    if record := status.record:
        findings.lines.append(f"  for version {record.version}, {record.accelerator}, {record.bytes / 1e6:.0f} MB")
        findings.lines.append(f"  on {record.python}")
        findings.trouble += record.damage
    if status.unfinished is not None:
        findings.lines.append(f"  unfinished: {status.unfinished.failure or 'interrupted'}")
    findings.lines.append("")


def _tell_handshake(findings: Findings, handshake: Handshake) -> None:
    findings.lines += ["Handshake", f"  starts: {' '.join(engine_command(told_engine()))}"]
    findings.lines.append(f"  pictures travel along: {sends_pictures()}")
    if (hello := handshake.hello) is None:
        findings.trouble.append("The engine does not answer when it is started as for a recovery.")
        findings.lines += ["  no answer", ""]
        return
    findings.lines.append(
        f"  said Hello after {handshake.seconds:.1f} s: version {hello.package_version}, {hello.device}"
    )
    findings.lines.append("")
    if hello.package_version != __version__:
        findings.trouble.append(f"The engine is version {hello.package_version}, the add-on {__version__}.")


def _tell_engine(findings: Findings, task: ChildTask) -> None:
    if task.failure is not None or not task.answers:
        findings.trouble.append(task.failure.sentence if task.failure else "The engine's doctor said nothing.")
        return
    told = task.answers[0]
    cards = ", ".join(told["graphics_cards"]) or "none"
    findings.lines += [
        "Engine",
        f"  version {told['version']}, Python {told['python']}, {told['system']}, {told['cpu_cores']} cores",
        f"  networks run on {told['device']}; NVIDIA cards: {cards}; torch: {told['torch_build'] or 'none'}",
        f"  Blender for .blend files: {told['blender'] or told['blender_missing']}",
        *(f"  {name} {version or 'is not installed'}" for name, version in told["packages"].items()),
        "",
        "Backends",
    ]
    for backend in told["backends"]:
        findings.lines.append(f"  {backend['name']}: {'ready' if backend['ready'] else 'not ready'}")
        findings.lines += [f"    {sentence}" for sentence in backend["missing"]]
    if not told["ready"]:
        findings.trouble.append("No backend is ready; below stands what each lacks.")
    if told["graphics_cards"] and not told["device"].startswith("cuda"):
        findings.trouble.append("There is an NVIDIA card, and torch does not use it.")


def write_text(findings: Findings) -> bpy.types.Text:
    """The findings as a text in the .blend, replacing an earlier one."""
    text = bpy.data.texts.get(TEXT) or bpy.data.texts.new(TEXT)
    text.clear()
    text.write(findings.text)
    return text
