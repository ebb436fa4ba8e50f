# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a source on the timeline and back."""

import numpy as np
import pytest

from recover_body.addon.timeline import SAME_FRAMES, FrameMap

MAPS = [
    SAME_FRAMES,
    FrameMap.starting(11, 101),
    FrameMap.starting(1, 1, 24 / 25),
    FrameMap((1.0, 51.0, 101.0), (10.0, 35.0, 135.0), False),
    FrameMap((1.0, 100.0), (200.0, 101.0), False),
]


@pytest.mark.parametrize("timeline", MAPS)
def test_there_and_back(timeline):
    frames = np.linspace(-20, 180, 57)
    assert np.allclose(timeline.to_source(timeline.to_scene(frames)), frames)
    assert np.allclose(timeline.to_scene(timeline.source), timeline.scene)
    assert FrameMap.from_numbers(timeline.to_numbers()) == timeline


def test_what_is_one_to_one():
    assert [timeline.is_one_to_one for timeline in MAPS] == [True, True, False, False, False]
    assert not FrameMap.starting(1, 1.5).is_one_to_one


def test_retimed_pieces_keep_their_own_speed():
    timeline = MAPS[3]
    assert timeline.to_scene([26.0]) == pytest.approx(22.5) and timeline.to_scene([76.0]) == pytest.approx(85.0)
    assert timeline.to_scene([103.0]) == pytest.approx(139.0), "the last piece goes on"
