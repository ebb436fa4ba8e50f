# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that was given: its files, its frames, and people through it in the world. And one that drifts unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import clips, drift, given_camera
from recover_body.engine.__main__ import main
from recover_body.engine.drift import Drift
from recover_body.engine.errors import BadRequest, UnreadableCamera
from recover_body.engine.frames import Footage
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.wire.messages import FrameRange, GivenCamera, MotionOptions, RecoverRequest
from recover_body.wire.take import CameraTrack, read_take

WIDTH, HEIGHT = 640, 360


def footage(numbers) -> Footage:
    return Footage("shot.mp4", (None,) * len(numbers), np.asarray(numbers), 25.0, None, WIDTH, HEIGHT)


def turning(numbers, width: int = WIDTH, height: int = HEIGHT) -> GivenCamera:
    """Turns by 0.01 rad and moves by 0.1 m a frame, and zooms in."""
    numbers = np.asarray(numbers)
    places = np.tile(np.eye(4), (len(numbers), 1, 1))
    places[:, :3, :3] = rotvec_to_matrix(np.outer(numbers, [0, 0.01, 0]))
    places[:, 0, 3] = 0.1 * numbers
    focal_px = (600.0 + numbers) * width / WIDTH
    middle = [np.full(len(numbers), side / 2) for side in (width, height)]
    return GivenCamera(numbers, CameraTrack(focal_px, focal_px, *middle, width, height, places))


def test_frames_between_two_rows_move_evenly() -> None:
    wanted = [2, 3, 4, 7, 10]
    camera = given_camera.filmed(turning([1, 5, 11]), footage(wanted))
    assert camera.is_known and camera.track.is_placed and camera.track.source == "given"
    expected = turning(wanted).track
    np.testing.assert_allclose(camera.track.T_world_camera, expected.T_world_camera, atol=1e-6)
    np.testing.assert_allclose(camera.focals_px(5), expected.fx_px)
    part = camera.rows(np.array([1, 3]))
    np.testing.assert_allclose(part.focals_px(2), [603, 607])
    assert part.places(2).shape == (2, 4, 4)


def test_the_same_picture_at_another_size_and_one_row_for_all_frames() -> None:
    small = given_camera.filmed(turning([1, 9], WIDTH // 2, HEIGHT // 2), footage([1, 5, 9]))
    full = given_camera.filmed(turning([1, 9]), footage([1, 5, 9]))
    np.testing.assert_allclose(small.intrinsics(1), full.intrinsics(1))
    standing = given_camera.filmed(turning([1]), footage([1, 5, 9]))
    assert standing.places(3) is None and standing.focals_px(3) == pytest.approx(601)


@pytest.mark.parametrize(
    ("given", "frames"),
    [(turning([1, 9]), [1, 10]), (turning([5, 9]), [1, 9]), (turning([1, 9], WIDTH, 2 * HEIGHT), [1, 9])],
    ids=["ends too early", "begins too late", "another shape"],
)
def test_a_camera_of_other_footage_is_refused(given, frames) -> None:
    with pytest.raises(BadRequest):
        given_camera.filmed(given, footage(frames))


def test_files(tmp_path) -> None:
    given = turning([1, 2, 3])
    track = given.track
    np.savez(
        tmp_path / "a.npz", frames=given.frame_numbers, fx_px=track.fx_px, T_world_camera=track.T_world_camera,
        width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    rows = zip(given.frame_numbers.tolist(), track.fx_px.tolist(), track.T_world_camera.tolist(), strict=True)
    frames = [{"frame": n, "fx_px": fx, "T_world_camera": T} for n, fx, T in rows]
    (tmp_path / "a.json").write_text(json.dumps({"width": WIDTH, "height": HEIGHT, "frames": frames}))
    for name in ("a.npz", "a.json"):
        read = given_camera.read(tmp_path / name)
        np.testing.assert_array_equal(read.frame_numbers, given.frame_numbers)
        for field in ("fx_px", "cx_px", "cy_px", "T_world_camera"):
            np.testing.assert_allclose(getattr(read.track, field), getattr(track, field))
    for name, text in (("b.json", "{}"), ("c.json", "[1]"), ("d.npz", "no zip"), ("e.json", '{"width": 1')):
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableCamera):
            given_camera.read(tmp_path / name)
    with pytest.raises(UnreadableCamera):
        given_camera.read(tmp_path / "none.npz")


# ---------------------------------------------------------------------------------------------- a real, moving picture

PAN_PX = 4


@pytest.fixture
def tennis(shared):
    return clips.read(str(shared("fixtures/video/tennis.mp4")), None, FrameRange(1, 24))  # 12 frames


def panned(still: Footage, width: int) -> Footage:
    """A window that slides over the clip: what a lens shifted by so many pixels a frame sees."""
    images = tuple(
        np.ascontiguousarray(image[:, PAN_PX * i : PAN_PX * i + width]) for i, image in enumerate(still.images)
    )
    return replace(still, images=images, width=width)


def test_people_stand_where_they_stood_through_a_camera_that_moves(tennis, monkeypatch) -> None:
    from recover_body.engine import pipeline

    width, count = tennis.width - PAN_PX * len(tennis.images), len(tennis.images)
    middle = tennis.width / 2
    moving = panned(tennis, width)
    asked = RecoverRequest("1", "tennis", people="largest", backend="landmarks", want_rigs=False)
    asked = replace(asked, motion=MotionOptions(False, 0.0, False, False))
    takes = []
    for clip, cx_px in ((tennis, np.full(count, middle)), (moving, middle - PAN_PX * np.arange(count))):
        focal_px, places = np.full(count, 1200.0), np.tile(np.diag([1.0, 1, 1, 1]), (count, 1, 1))
        places[:, 2, 3] = 0.01 * np.arange(count)  # and both dolly in, as far as anybody is told
        track = CameraTrack(focal_px, focal_px, cx_px, np.full(count, clip.height / 2), clip.width, clip.height, places)
        request = replace(asked, given_camera=GivenCamera(clip.frame_numbers, track))
        monkeypatch.setattr(pipeline, "open_footage", lambda *_, clip=clip: clip)
        takes.append(pipeline.recover(request).take)
    still, through = takes
    assert through.camera.is_placed and through.drift_px is None
    np.testing.assert_allclose(through.camera.cx_px, middle - PAN_PX * np.arange(count))
    apart_m = np.linalg.norm(still.people[0].translation - through.people[0].translation, axis=1)
    assert np.median(apart_m) < 0.05, apart_m
    assert np.nanmean(through.people[0].overlay_iou) > np.nanmean(still.people[0].overlay_iou) - 0.03


def test_the_drift_of_an_unknown_camera_is_measured(tennis) -> None:
    width, box = tennis.width - PAN_PX * len(tennis.images), np.array([250.0, 150, 520, 720])
    meter, steady = Drift(every=3), Drift(every=3)
    first = next(iter(tennis.images))
    frozen = replace(tennis, images=(first,) * len(tennis.images))  # the real camera is held by a hand
    for index, image in enumerate(panned(frozen, width).images):
        meter.see(index, image, [box])
        steady.see(index, first, [box])
    count = len(tennis.images)
    looked = np.arange(0, count, 3)
    expected = PAN_PX * np.arange(count)[: looked[-1] + 1]
    assert meter.per_frame_px(count, [])[: looked[-1] + 1] == pytest.approx(expected, abs=1.5)
    assert steady.per_frame_px(count, []).max() < 0.2
    assert "36 px" in drift.drift_in_words(np.array([0, 36.2]), width) and "drifts" not in drift.drift_in_words(
        steady.per_frame_px(count, []), width
    )


def test_drift_begins_anew_after_a_cut_and_owns_up_to_not_knowing() -> None:
    meter = Drift(every=1)
    flat = np.full((90, 160, 3), 128, np.uint8)
    meter.see(0, flat, [])
    meter.see(1, flat, [])
    assert np.isnan(meter.per_frame_px(2, [])[1])
    meter.cut()
    meter.see(2, flat, [])
    assert meter.per_frame_px(3, [2])[2] == 0


def test_from_the_command_line(tmp_path) -> None:
    for number in range(1, 5):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 100, 110)).save(tmp_path / f"shot_{number:03}.png")
    given, out = turning([1, 4]), tmp_path / "out"
    track = given.track
    np.savez(
        tmp_path / "a.npz", frames=given.frame_numbers, fx_px=track.fx_px, T_world_camera=track.T_world_camera,
        width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    asked = ["recover", str(tmp_path / "shot_%03d.png"), "--out", str(out), "--backend", "fake"]
    assert main([*asked, "--camera-track", str(tmp_path / "a.npz")]) == 0
    take = read_take(out / "shot_%03d.take.npz")
    np.testing.assert_allclose(take.camera.fx_px, [601, 602, 603, 604])
    np.testing.assert_allclose(take.camera.T_world_camera, turning([1, 2, 3, 4]).track.T_world_camera, atol=1e-6)
    assert main([*asked, "--camera-track", str(tmp_path / "none.npz")]) == 2
    with pytest.raises(SystemExit):
        main([*asked, "--camera-track", str(tmp_path / "a.npz"), "--focal-mm", "35"])
