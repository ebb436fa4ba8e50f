# SPDX-License-Identifier: GPL-3.0-or-later
"""What `recover-body bench` measures; a module each, with `add_parsers(names)`."""
