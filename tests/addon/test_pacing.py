# SPDX-License-Identifier: GPL-3.0-or-later
"""Redraws by how long they take: all where they are quick, a fifth of the time where they are slow."""

import pytest

from recover_body.addon.pacing import Pace


def share_of(redraw_s, steps=1000):
    """Redraws of a main loop whose timer comes a tenth of a second after the last step, later by a redraw that was
    asked for: (how many, their share of the time)."""
    pace, now, redraws = Pace(0.1), 0.0, 0
    for _ in range(steps):
        pace.step(now)
        asks = pace.allows(now)
        if asks:
            pace.asked(now)
            redraws += 1
        now += 0.1 + redraw_s * asks
    return redraws, redraws * redraw_s / now


@pytest.mark.parametrize("redraw_s", [0.0, 0.005, 0.02])
def test_quick_redraws_are_all_asked_for(redraw_s):
    assert share_of(redraw_s)[0] == 1000


@pytest.mark.parametrize("redraw_s", [0.1, 0.5, 2.0])
def test_slow_ones_take_a_fifth_of_the_time(redraw_s):
    assert 0.15 < share_of(redraw_s)[1] < 0.21
