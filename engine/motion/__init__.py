# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to motion once it is recovered: sides put right, gaps filled, jitter smoothed. No network is needed."""
