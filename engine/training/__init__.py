# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses, vocabularies and augmentations with which the networks are trained."""
