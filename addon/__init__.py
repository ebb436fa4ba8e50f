# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything Blender: buttons, jobs, and the drawing of takes. Never imports the engine, the models or torch."""
