# SPDX-License-Identifier: GPL-3.0-or-later
"""Headless doors into the same rooms as the panels."""
