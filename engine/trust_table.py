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
LN_ERROR_MM = 4.5147
"""ln of the error where everything is as usual."""
SIGNS = {
    "lifter_sigma": Sign(-3.1525, 0.4121, 0.1844),
    "off_lifter": Sign(-3.0563, 0.5325, 0.0882),
    "off_lifter_in_sigmas": Sign(1.0752, 0.4034, 0.0339),
    "off_landmarks": Sign(-4.3946, 0.3321, 0.0),
    "off_metric_landmarks": Sign(-2.4467, 0.3408, 0.0442),
    "outside": Sign(0.0473, 0.0986, 0.071),
    "hidden": Sign(0.2315, 0.1585, 0.0),
    "to_camera": Sign(0.6914, 0.1678, 0.0331),
    "unlikely_pose": Sign(3.3374, 0.598, 0.0025),
    "uncertain_joints": Sign(0.3741, 0.0623, 0.0202),
    "not_upright": Sign(0.1319, 0.2717, 0.0432),
    "uncovered": Sign(0.1249, 0.0696, 0.1569),
}
