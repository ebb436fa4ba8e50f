# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that look at pictures side by side, kept for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

THREADS = 2
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """MediaPipe lets go of the interpreter while it computes."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="look")


def side_by_side(work: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """`work` done for each of the items, answers in their order; not to be called from within such work."""
    items = list(items)
    return list(pool().map(work, items)) if len(items) > 1 else [work(item) for item in items]
