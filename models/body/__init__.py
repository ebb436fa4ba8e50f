# SPDX-License-Identifier: GPL-3.0-or-later
"""The free bodies: their data, how they are read (`shipped`) and how they are built (`builder`)."""
