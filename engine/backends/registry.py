# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backends there are, best first. A backend's module is imported when asked for, its libraries later still."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ...wire.messages import BackendStatus
from ..errors import BackendNotReady, MissingPackage, UnknownBackend

if TYPE_CHECKING:  # `base` needs Pillow, and an engine without it must still be able to say so
    from .base import Backend

# Name -> (module in this folder, class), in the order of `auto`, which `automatic` explains.
_BACKENDS = {
    "tokenhmr": ("tokenhmr", "TokenHmrBackend"),
    "hmr2": ("hmr2", "Hmr2Backend"),
    "blade": ("blade", "BladeBackend"),
    "aios": ("aios", "AiosBackend"),
    "landmarks": ("landmarks", "LandmarksBackend"),
    "fake": ("fake", "FakeBackend"),
}

ONLY_BY_NAME = ("fake",)
"""Never chosen by `auto`: the person they return is not in the picture."""


def all_backends() -> tuple[Backend, ...]:
    """One object of each, ready or not, best first. Raises MissingPackage where one cannot even be imported."""
    return tuple(_make(name) for name in _BACKENDS)


def choose(name: str = "auto") -> Backend:
    """The backend called `name`, or the best one that is ready. Raises UnknownBackend or another errors.Missing."""
    if name != "auto":
        if name not in _BACKENDS:
            raise UnknownBackend(f"There is no backend {name!r}; there are {', '.join(_BACKENDS)}.")
        return _ready(name)
    *better, last = automatic()
    for name in better:
        if is_ready(name):
            return _ready(name)
    return _ready(last)  # it asks for least, so its complaint is the one to hear


def automatic() -> list[str]:
    """The names among which `auto` chooses, first choice first."""
    return [name for name in _BACKENDS if name not in ONLY_BY_NAME]


def is_ready(name: str) -> bool:
    """Whether the backend of that name would run now. Quick: nothing is loaded."""
    try:
        _ready(name)
    except (BackendNotReady, MissingPackage):
        return False
    return True


def status() -> tuple[BackendStatus, ...]:
    """All backends in the words of Hello. Quick: nothing is loaded."""
    return tuple(_status(name) for name in _BACKENDS)


def needs(name: str) -> tuple[str, ...]:
    """The imported files without which a backend does not run, by their names in `models/weights.toml`."""
    try:
        return tuple(getattr(_make(name), "entries", ()))
    except MissingPackage:
        return ()


def _make(name: str) -> Backend:
    module, kind = _BACKENDS[name]
    try:
        return getattr(importlib.import_module(f".{module}", __package__), kind)()
    except ModuleNotFoundError as error:
        raise MissingPackage(f"The Python package {error.name} is not installed; {name} needs it.") from None


def _ready(name: str) -> Backend:
    backend = _make(name)
    missing = backend.missing()
    if missing:
        raise BackendNotReady(f"The backend {name} is not ready: {missing[0]}", " ".join(missing))
    return backend


def _status(name: str) -> BackendStatus:
    try:
        backend = _make(name)
    except MissingPackage as error:
        return BackendStatus(name, name.capitalize(), False, (f"{error.sentence} {error.remedy}",), (), "")
    missing = backend.missing()
    return BackendStatus(backend.name, backend.title, not missing, missing, backend.gives, backend.licence)
