# SPDX-License-Identifier: GPL-3.0-or-later
"""An interrupted clip goes on where it stopped, and its take is the one that an uninterrupted run gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import checkpoints, clips, follow_clip, overlay_movie
from recover_body.engine.backends import clip_path
from recover_body.engine.backends.landmarks_clip import LandmarksWay
from recover_body.engine.cameras import initial_camera
from recover_body.engine.checkpoints import Checkpoints, key_of
from recover_body.engine.follow_clip import follow_people
from recover_body.engine.kept_steps import KeptSteps
from recover_body.engine.pipeline import recover
from recover_body.wire.messages import CameraHint, FrameRange, RecoverRequest

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


def test_a_step_is_done_again_only_for_other_inputs(tmp_path) -> None:
    made = []

    def step(number: float) -> float:
        def make() -> dict[str, np.ndarray]:
            made.append(number)
            return {"twice": np.array(2 * number)}

        return float(KeptSteps(tmp_path / "kept").arrays("step", [np.array([number]), "double"], make)["twice"])

    assert [step(1.0), step(1.0), step(2.0), step(2.0)] == [2.0, 2.0, 4.0, 4.0]
    assert made == [1.0, 2.0]
    (tmp_path / "kept" / "step.step.npz").write_bytes(b"PK no archive")
    assert step(2.0) == 4.0 and made == [1.0, 2.0, 2.0]


def test_a_fit_goes_on_where_it_stopped(footage, tmp_path, monkeypatch) -> None:
    followed = follow_people(footage.images, 30.0, 1)
    monkeypatch.setattr(clip_path, "follow_footage", lambda *_: followed)
    camera = initial_camera(footage.width, footage.height, CameraHint(focal_mm=40), None)
    request, fitted, fit_window = RecoverRequest("1", footage.name, people="largest"), [], LandmarksWay.fit_window

    def counted(self, people, *rest, **options):
        fitted.append(len(people))
        return fit_window(self, people, *rest, **options)

    monkeypatch.setattr(LandmarksWay, "fit_window", counted)

    def run(keep_in, stop_after=10):
        def report(stage: str, *_: object) -> None:
            if len(fitted) >= stop_after:
                raise Interrupted

        way = LandmarksWay(request, report)
        return clip_path.recover_clip(way, replace(footage, keep_in=keep_in), camera, request, report)

    whole = run(None).people[0]
    assert len(fitted) == 1
    with pytest.raises(Interrupted):
        run(tmp_path / "kept", stop_after=2)
    resumed = run(tmp_path / "kept").people[0]
    assert len(fitted) == 2  # the third run took what the second had fitted
    np.testing.assert_array_equal(resumed.pose, whole.pose)


def test_an_overlay_movie_in_parts_is_the_whole(tmp_path, monkeypatch) -> None:
    for number in range(1, 8):
        Image.new("RGB", (320, 240), (30 * number, 90, 60)).save(tmp_path / f"shot_{number:04}.png")
    source = str(tmp_path / "shot_%04d.png")
    take = recover(RecoverRequest("1", source, backend="fake")).take
    overlay_movie.write_overlay_movie(tmp_path / "whole.mp4", source, take)
    monkeypatch.setattr(overlay_movie, "PART", 3)
    drawn, draw = [], overlay_movie.draw_overlay
    monkeypatch.setattr(overlay_movie, "draw_overlay", lambda *a, **k: drawn.append(a[2]) or draw(*a, **k))

    def stop(done: int) -> None:
        if done == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        overlay_movie.write_overlay_movie(tmp_path / "parts.mp4", source, take, stop, tmp_path / "kept")
    drawn.clear()
    overlay_movie.write_overlay_movie(tmp_path / "parts.mp4", source, take, keep_in=tmp_path / "kept")
    assert sorted(drawn) == [3, 4, 5, 6]
    whole, parts = (clips.read(str(tmp_path / name)) for name in ("whole.mp4", "parts.mp4"))
    np.testing.assert_array_equal(whole.frame_numbers, parts.frame_numbers)
    assert len(whole.frame_numbers) == 7 and whole.fps == parts.fps
    for one, other in zip(whole.images, parts.images, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 2
    assert not list(tmp_path.glob(".overlay*"))
