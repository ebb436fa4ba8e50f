# SPDX-License-Identifier: GPL-3.0-or-later
"""What the signs of `trust.py` weigh. Written by the command below, not by hand."""

from __future__ import annotations

from typing import NamedTuple


class Sign(NamedTuple):
    """How a sign is counted."""

    usual: float
    """Its mean over the people it was learned from."""
    spread: float
    """Their standard deviation."""
    weight: float
    """What a spread more adds to ln(error)."""


COMMAND = "python -m recover_body.tests.benchmarks.trust --seeds 11 12 13 --write"
LN_ERROR_MM = 4.5856
"""ln of the error where everything is as usual."""
SIGNS = {
    "lifter_sigma": Sign(-3.0953, 0.403, 0.1353),
    "off_lifter": Sign(-2.9978, 0.5285, 0.1058),
    "off_lifter_in_sigmas": Sign(1.0943, 0.4367, 0.0238),
    "off_landmarks": Sign(-4.5278, 0.3088, 0.0379),
    "off_metric_landmarks": Sign(-2.5081, 0.3615, 0.0501),
    "outside": Sign(0.0411, 0.0907, 0.0388),
    "hidden": Sign(0.2338, 0.1627, 0.0),
    "to_camera": Sign(0.686, 0.1698, 0.0332),
    "unlikely_pose": Sign(3.2466, 0.5801, 0.0),
    "uncertain_joints": Sign(0.385, 0.061, 0.009),
    "not_upright": Sign(0.1129, 0.2396, 0.0209),
    "uncovered": Sign(0.1318, 0.0702, 0.1514),
}
