# SPDX-License-Identifier: GPL-3.0-or-later
"""Every expected failure has a sentence, a remedy and an exit code, and stands in the tree at the top of its module."""

import re

import pytest

from recover_body.engine import errors


def all_kinds(kind=errors.RecoverError):
    return [kind, *(k for below in kind.__subclasses__() for k in all_kinds(below))]


KINDS = sorted({k for k in all_kinds() if k.__module__ == errors.__name__}, key=lambda k: k.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_is_a_kindness(kind):
    error = kind("The picture is blue.")
    assert str(error) == error.sentence == "The picture is blue."
    assert (error.remedy.endswith(".") and error.remedy[0].isupper()) or error.remedy.startswith("`")
    assert error.exit_code in (1, 2, 3)
    assert re.fullmatch("[a-z]+(_[a-z]+)*", error.code)
    assert kind.__doc__.strip().endswith(".")
    assert kind("The picture is blue.", "Paint it green.").remedy == "Paint it green."


def test_exit_codes_follow_the_tree():
    for kind in KINDS:
        expected = 2 if issubclass(kind, errors.BadInput) else 3 if issubclass(kind, errors.Missing) else 1
        assert kind.exit_code == expected, kind


def test_the_tree_in_the_documentation_is_complete():
    for kind in KINDS:
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__), f"{kind.__name__} is not in the tree"


def test_codes_are_distinct():
    assert len({kind("").code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("error, kind", [
    (errors.NobodyFound("Nobody."), errors.NobodyFound), (MemoryError(), errors.OutOfMemory),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), errors.OutOfMemory),
    (Exception("OpenCV(4.11.0) error: (-4:Insufficient memory) Failed to allocate"), errors.OutOfMemory),
    (ModuleNotFoundError("No module named 'cv2'", name="cv2"), errors.MissingPackage),
    (ZeroDivisionError("division by zero"), errors.InternalError),
])  # fmt: skip
def test_any_exception_has_its_place(error, kind):
    placed = errors.as_expected(error, "photo.jpg")
    assert type(placed) is kind
    assert placed is error or "photo.jpg" in placed.sentence or "cv2" in placed.sentence
