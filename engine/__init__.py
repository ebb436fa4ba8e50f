# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything computed: the process that turns pictures into takes. Never imports bpy."""
