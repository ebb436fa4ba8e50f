# SPDX-License-Identifier: GPL-3.0-or-later
"""How good is it? Error measures of the literature, and the runs over data sets that report them."""
