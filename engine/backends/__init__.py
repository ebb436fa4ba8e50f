# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways of recovering bodies; each backend is one module."""
