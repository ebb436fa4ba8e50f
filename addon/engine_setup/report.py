# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set-up tells while it works, and how it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..redact import without_secrets
from .errors import SetupCancelled

_KEPT_BYTES = 2_000_000  # a longer log is put aside before the next entry


class Report:
    """Progress for whoever watches, and the log for whoever looks later."""

    def __init__(
        self, log: Path, on_progress: Callable[[float, str], None] = lambda fraction, text: None, echo: bool = False
    ) -> None:
        """`on_progress(fraction, text)` is called from the working thread."""
        self.log_path = log
        self.notes: list[str] = []
        """Sentences that matter although all went well."""
        self.cancelled = threading.Event()
        self._on_progress, self._echo = on_progress, echo
        self._from, self._to = 0.0, 1.0
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _KEPT_BYTES:
            log.replace(log.with_suffix(".1.log"))

    def share(self, start: float, end: float) -> None:
        """What `progress` tells next is this part of the whole."""
        self._from, self._to = start, end

    def progress(self, fraction: float, text: str) -> None:
        """`fraction` of the present share is done. Raises SetupCancelled where it was cancelled."""
        self.check()
        self._on_progress(self._from + (self._to - self._from) * min(max(fraction, 0.0), 1.0), text)

    def check(self) -> None:
        """Raises SetupCancelled where it was cancelled."""
        if self.cancelled.is_set():
            raise SetupCancelled("The set-up was cancelled.")

    def log(self, text: str) -> None:
        """A line for the log; passwords in addresses are left out."""
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {without_secrets(text)}\n")

    def note(self, text: str) -> None:
        """A sentence that whoever started it should read."""
        self.notes.append(text)
        self.log(f"note: {text}")
