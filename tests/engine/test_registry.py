# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backend is taken, and what is said when none can be."""

import dataclasses

import pytest

from recover_body.engine import errors
from recover_body.engine.backends import registry


@dataclasses.dataclass
class Stand:
    """A backend as far as the registry looks at it."""

    name: str
    lacks: tuple = ()
    title: str = "Stand-in"
    gives: tuple = ("hands",)
    licence: str = "none"

    def missing(self):
        return self.lacks


@pytest.fixture
def three(monkeypatch):
    """`three(best, second, fake)`: what each lacks."""

    def three(*lacks):
        backends = {name: Stand(name, lack) for name, lack in zip(("best", "second", "fake"), lacks, strict=True)}
        monkeypatch.setattr(registry, "_BACKENDS", dict.fromkeys(backends, ("", "")))
        monkeypatch.setattr(registry, "_make", backends.__getitem__)

    return three


def test_auto_takes_the_best_that_is_ready(three):
    three((), (), ())
    assert registry.choose().name == "best"
    three(("weights",), (), ())
    assert registry.choose("auto").name == "second"


def test_auto_never_takes_the_fake(three):
    three(("weights.",), ("a package.", "a file."), ())
    with pytest.raises(errors.BackendNotReady, match="second is not ready: a package") as caught:
        registry.choose()
    assert caught.value.remedy == "a package. a file."
    assert registry.choose("fake").name == "fake"


def test_named_ones_must_exist_and_be_ready(three):
    three(("weights.",), (), ())
    with pytest.raises(errors.BackendNotReady):
        registry.choose("best")
    with pytest.raises(errors.UnknownBackend, match="best, second, fake"):
        registry.choose("nonsense")


def test_status_tells_all(three):
    three(("weights.",), (), ())
    told = registry.status()
    assert [(s.name, s.ready, s.missing) for s in told] == [
        ("best", False, ("weights.",)), ("second", True, ()), ("fake", True, ()),
    ]  # fmt: skip


def test_the_real_ones_keep_to_the_protocol():
    for backend in registry.all_backends():
        assert backend.name and backend.title and backend.licence
        assert all(sentence.endswith(".") for sentence in backend.missing())
        assert set(backend.gives) <= {"hands", "face", "camera"}
