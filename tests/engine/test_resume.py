# SPDX-License-Identifier: GPL-3.0-or-later
"""An interrupted clip goes on where it stopped, and its take is the one that an uninterrupted run gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recover_body.engine import checkpoints, clips, follow_clip
from recover_body.engine.checkpoints import Checkpoints, key_of
from recover_body.engine.follow_clip import follow_people
from recover_body.wire.messages import FrameRange, RecoverRequest

pytestmark = pytest.mark.usefixtures("short_chunks")


class Interrupted(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(follow_clip, "CHUNK", 6)


@pytest.fixture
def footage(shared):
    return clips.read(str(shared("fixtures/video/tennis.mp4")), None, FrameRange(1, 40))  # 19 frames


def same(a, b) -> None:
    """Everything that was seen of everybody, to the last bit."""
    assert [list(t.sightings) for t in a.tracks] == [list(t.sightings) for t in b.tracks]
    for one, other in zip(a.tracks, b.tracks, strict=True):
        for seen, again in zip(one.sightings.values(), other.sightings.values(), strict=True):
            for name in ("box_px", "points_px", "visibility", "metric_points", "look"):
                np.testing.assert_array_equal(getattr(seen, name), getattr(again, name))
            assert seen.mask == again.mask and seen.score == again.score
            assert seen.next_region.side_px == again.next_region.side_px
            for name in ("left_hand", "right_hand", "face"):
                np.testing.assert_array_equal(getattr(seen.details, name), getattr(again.details, name))
    assert (a.unreadable, a.cuts) == (b.unreadable, b.cuts)
    np.testing.assert_array_equal(a.drift_px, b.drift_px)


def interrupt_at(frame: int):
    def tell(index: int) -> None:
        if index == frame:
            raise Interrupted

    return tell


def test_an_interrupted_run_goes_on_and_gives_the_same(footage, tmp_path) -> None:
    kept, done = Checkpoints(tmp_path / "unfinished", "key"), []
    with pytest.raises(Interrupted):
        follow_people(footage.images, 30.0, 1, interrupt_at(15), kept)
    assert len(list(kept.folder.glob("*.npz"))) == 2
    resumed = follow_people(footage.images, 30.0, 1, done.append, Checkpoints(kept.folder, "key"))
    assert done[0] == 12 and len(done) == len(footage.images) - 12
    same(resumed, follow_people(footage.images, 30.0, 1))
    # A file that something has damaged is done again, and so is what came after it.
    kept.folder.joinpath("00000012.npz").write_bytes(b"PK no archive")
    done.clear()
    follow_people(footage.images, 30.0, 1, done.append, Checkpoints(kept.folder, "key"))
    assert done[0] == 6


def test_other_footage_options_or_versions_are_not_believed(footage, tmp_path, monkeypatch) -> None:
    with pytest.raises(Interrupted):
        follow_people(footage.images, 30.0, 1, interrupt_at(7), Checkpoints(tmp_path / "unfinished", "key"))
    done = []
    with pytest.raises(Interrupted):
        follow_people(
            footage.images,
            30.0,
            1,
            lambda i: (done.append(i), interrupt_at(3)(i)),
            Checkpoints(tmp_path / "unfinished", "other"),
        )
    assert done[0] == 0
    film = tmp_path / "film.mp4"
    film.write_bytes(b"one")
    request, numbers = RecoverRequest("1", str(film)), np.arange(1, 5)
    keys = {key_of(request, numbers, None), key_of(request, numbers, 1), key_of(request, numbers[::2], None)}
    film.write_bytes(b"two")
    keys.add(key_of(request, numbers, None))
    monkeypatch.setattr(checkpoints, "__version__", "0")
    keys.add(key_of(request, numbers, None))
    assert len(keys) == 5
    assert key_of(request, numbers, None) == key_of(replace(request, height_m=1.8, want_rigs=False), numbers, None)
