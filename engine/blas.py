# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear algebra with one thread, for work that consists of thousands of tiny products and solves."""

from __future__ import annotations

from functools import lru_cache

from threadpoolctl import ThreadpoolController


def one_blas_thread():
    """A context in which BLAS uses one thread: more would only fight over such small work."""
    return _blas().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Looking for the BLAS libraries takes milliseconds, so it is done once."""
    return ThreadpoolController()
