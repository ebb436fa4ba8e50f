# SPDX-License-Identifier: GPL-3.0-or-later
"""What every expected failure is made of. Each part of the project grows its own tree on it, in its own `errors.py`."""

from __future__ import annotations

import re


class ExpectedFailure(Exception):
    """A failure that a person can do something about: one plain sentence, and a remedy.

    The sentence is made where the error is raised, since it names the file; the remedy and the exit code belong to the
    class, and the remedy may be replaced where more is known.
    """

    remedy = "Run `recover-body doctor` and look at its last lines."
    exit_code = 1

    def __init__(self, sentence: str, remedy: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        if remedy is not None:
            self.remedy = remedy

    def __str__(self) -> str:
        return self.sentence

    @property
    def code(self) -> str:
        """Name of the class in snake case, e.g. nobody_found."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
