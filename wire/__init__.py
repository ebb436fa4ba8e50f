# SPDX-License-Identifier: GPL-3.0-or-later
"""The vocabulary that add-on and engine share. Standard library and numpy only."""
