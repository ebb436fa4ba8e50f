# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the free bodies that were drawn, so that everything about them is known."""
