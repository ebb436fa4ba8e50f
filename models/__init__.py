# SPDX-License-Identifier: GPL-3.0-or-later
"""Body models and networks, and the list of weight files."""
