# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backends there are, best first. A backend's module is imported when asked for, its libraries later still."""

from __future__ import annotations

import importlib

from ...wire.messages import BackendStatus
from ..errors import BackendNotReady, UnknownBackend
from .base import Backend

# Name -> (module in this folder, class). `auto` takes the first that is ready.
_BACKENDS = {
    "landmarks": ("landmarks", "LandmarksBackend"),
    "fake": ("fake", "FakeBackend"),
}

ONLY_BY_NAME = ("fake",)
"""Never chosen by `auto`: the person they return is not in the picture."""


def all_backends() -> tuple[Backend, ...]:
    """One object of each, ready or not, best first."""
    return tuple(_make(name) for name in _BACKENDS)


def choose(name: str = "auto") -> Backend:
    """The backend called `name`, or the best one that is ready. Raises UnknownBackend, BackendNotReady."""
    if name != "auto":
        if name not in _BACKENDS:
            raise UnknownBackend(f"There is no backend {name!r}; there are {', '.join(_BACKENDS)}.")
        backend = _make(name)
        _refuse_unready(backend)
        return backend
    candidates = [_make(name) for name in _BACKENDS if name not in ONLY_BY_NAME]
    for backend in candidates:
        if not backend.missing():
            return backend
    _refuse_unready(candidates[-1])  # the last one asks for least
    raise AssertionError("a backend became ready between two questions")


def status() -> tuple[BackendStatus, ...]:
    """All backends in the words of Hello. Quick: nothing is loaded."""
    return tuple(_status(backend) for backend in all_backends())


def _make(name: str) -> Backend:
    module, kind = _BACKENDS[name]
    return getattr(importlib.import_module(f".{module}", __package__), kind)()


def _refuse_unready(backend: Backend) -> None:
    missing = backend.missing()
    if missing:
        raise BackendNotReady(f"The backend {backend.name} is not ready: {missing[0]}", " ".join(missing))


def _status(backend: Backend) -> BackendStatus:
    missing = backend.missing()
    return BackendStatus(backend.name, backend.title, not missing, missing, backend.gives, backend.licence)
