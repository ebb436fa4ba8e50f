# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading training data: labelled people in pictures, whatever files they lie in, and what to do about bad ones."""
