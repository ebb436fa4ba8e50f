# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who: real clips keep their people, a cut ends them, and masks survive packing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from recover_body.engine import clips, track
from recover_body.engine.follow import Sighting
from recover_body.engine.follow_clip import follow_people
from recover_body.engine.masks import PackedMask
from recover_body.engine.mediapipe_graphs import Details, Region
from recover_body.engine.track import Track, Tracker, look_apart
from recover_body.wire.messages import FrameRange

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "video"


def clip(name: str) -> str:
    path = VIDEOS / name
    if not path.is_file():
        if os.environ.get("CI") == "true" and VIDEOS.parents[1].is_dir():
            pytest.fail(f"{name} is missing in ../shared/fixtures/video")
        pytest.skip(f"needs ../shared/fixtures/video/{name}, beside the repository")
    return str(path)


# ---------------------------------------------------------------------------------------------- real people


def test_everybody_is_followed_through_a_real_clip() -> None:
    footage = clips.read(clip("two_people_cam01.mp4"), None, FrameRange(1, 40, 2))
    followed = follow_people(footage.images, 30.0)
    long = [t for t in followed.tracks if len(t.sightings) >= 19]
    assert len(long) >= 2 and followed.cuts == followed.unreadable == []
    sizes = [t.area_px for t in followed.tracks]
    assert sizes == sorted(sizes, reverse=True)
    for person in long[:2]:
        centres = np.array([s.centre_px for s in person.sightings.values()])
        assert np.linalg.norm(np.diff(centres, axis=0), axis=1).max() < 120  # nobody jumps over to somebody else


def test_two_people_who_cross_keep_their_ids() -> None:
    """The player, cut out, walks before a mirrored copy in other colours, who comes from the other side."""
    player = [image for image in clips.read(clip("tennis.mp4"), None, FrameRange(1, 90)).images][:40]
    seen = next(iter(follow_people(player, 30.0, limit=1).tracks))
    cut = [(image, seen.sightings[i].mask.whole()) for i, image in enumerate(player)]
    height, width = player[0].shape[:2]
    noise = np.random.default_rng(0).normal(128, 20, (height, 2 * width, 3))
    frames, centres = [], []
    for index, (image, mask) in enumerate(cut):
        canvas, at = noise.copy(), []
        for other in (True, False):  # the nearer one last
            person, shape = (image[:, ::-1, ::-1], mask[:, ::-1]) if other else (image, mask)
            share = index / (len(cut) - 1)
            columns = np.flatnonzero(shape.any(0))
            middle = width * (0.4 + 1.2 * (1 - share if other else share))
            shift = round(middle - columns.mean())
            rows, columns = np.nonzero(shape)
            kept = (columns + shift >= 0) & (columns + shift < 2 * width)
            canvas[rows[kept] - 20 * other, columns[kept] + shift] = person[rows[kept], columns[kept]]
            at.append(middle)
        frames.append(canvas.clip(0, 255).astype(np.uint8))
        centres.append(at)
    followed = follow_people(frames, 30.0, limit=2)
    assert len(followed.tracks) == 2
    for person, who in zip(followed.tracks, (1, 0), strict=True):  # whoever is in front is seen longer
        for index, sighting in person.sightings.items():
            away = np.abs(np.array(centres[index]) - sighting.centre_px[0])
            assert away[who] < away[1 - who] + 0.1 * width
        assert min(person.sightings) < 5 and max(person.sightings) > 34  # before and after


def test_a_cut_ends_all_tracks_and_a_frame_that_cannot_be_read_none() -> None:
    tennis = [image for image in clips.read(clip("tennis.mp4"), None, FrameRange(1, 24)).images]
    street = [
        image[200:920, 100:912] for image in clips.read(clip("two_people_cam01.mp4"), None, FrameRange(1, 12)).images
    ]
    followed = follow_people([*tennis[:6], None, *tennis[7:], *street], 30.0, limit=1)
    assert followed.unreadable == [6] and followed.cuts == [len(tennis)]
    for person in followed.tracks:
        assert (min(person.sightings) >= len(tennis)) or (max(person.sightings) < len(tennis))
    assert set(followed.tracks[0].sightings) in (
        set(range(len(tennis))) - {6},
        set(range(len(tennis), len(tennis) + 12)),
    )


# ---------------------------------------------------------------------------------------------- who is who


def sighting(x: float, colour: int, y: float = 300.0, size: float = 200.0) -> Sighting:
    points = np.tile([x, y], (33, 1)) + np.linspace(-size / 4, size / 4, 33)[:, None]
    look = np.full(78, 1e-6)
    look[colour] = 1
    box = np.array([x - size / 4, y - size / 2, x + size / 4, y + size / 2])
    region = Region(np.array([x, y]), size, 0.0, 1.0)
    mask = PackedMask.of(np.ones((4, 4), bool), 0, 0, 1.0, 640, 480)
    return Sighting(
        box, 1.0, points, np.ones(33), np.zeros((33, 3)), mask, Details(None, None, None), region, look / look.sum()
    )


def seen(colour: int, xs) -> Track:
    made = Track()
    for index, x in enumerate(xs):
        made.add(index, sighting(x, colour))
    return made


def test_of_two_tracks_on_one_person_the_one_keeps_it_that_fits() -> None:
    """Two people cross; the region that follows the hidden one has slipped onto the other."""
    right, left = seen(3, range(100, 200, 10)), seen(9, range(300, 200, -10))
    tracker = Tracker(30.0)
    accepted = tracker._resolve(10, [right, left], [sighting(201, 9), sighting(199, 9)])
    assert list(accepted) == [left]


def test_motion_tells_people_of_one_colour_apart() -> None:
    right, left = seen(3, range(100, 200, 10)), seen(3, range(400, 300, -10))
    assert right.surprise(sighting(205, 3), 10) < left.surprise(sighting(205, 3), 10)


def test_who_comes_back_is_recognised_and_a_stranger_is_not() -> None:
    person = seen(3, range(100, 200, 10))
    assert np.isfinite(person.surprise(sighting(250, 3), 20))
    assert not np.isfinite(person.surprise(sighting(250, 9), 20))


def test_looks() -> None:
    one, other = sighting(0, 1).look, sighting(0, 2).look
    assert look_apart(one, one) < 1e-6 < 0.99 < look_apart(one, other)


def test_forgotten_after_a_while() -> None:
    tracker, gone = Tracker(10.0), seen(3, range(100, 200, 10))
    tracker.tracks.append(gone)
    tracker.searched = 10**9  # no network in this test
    tracker.see(9 + int(track.REMEMBERED_S * 10) + 1, np.zeros((48, 64, 3), np.uint8))
    assert gone.is_ended


# ---------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_a_packed_mask_is_the_mask(scale) -> None:
    whole = np.zeros((400, 300), bool)
    rows, columns = np.mgrid[:400, :300]
    whole[((rows - 180) / 120) ** 2 + ((columns - 140) / 50) ** 2 < 1] = True
    import cv2

    small = cv2.resize(
        whole[50:310, 80:200].astype(np.uint8) * 255, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    packed = PackedMask.of(small > 127, 80, 50, scale, 300, 400)
    again = packed.whole()
    assert again.shape == whole.shape
    assert np.count_nonzero(again & whole) / np.count_nonzero(again | whole) > (0.999 if scale == 1 else 0.97)
    drawn = cv2.resize(whole.astype(np.uint8) * 255, packed.reduced_size, interpolation=cv2.INTER_AREA) > 127
    assert packed.overlap(drawn) > 0.97
