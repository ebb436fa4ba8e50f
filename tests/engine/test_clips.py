# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips made here, frame by frame, come out of the reader as they went in, whatever was done to the file."""

from __future__ import annotations

import csv
import io
import struct
import threading
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import clips, errors, footage
from recover_body.engine.__main__ import main
from recover_body.wire.messages import FrameRange
from recover_body.wire.take import read_take

av = pytest.importorskip("av", reason="the package av reads movies: pip install av==18.1.0")

WIDTH, HEIGHT, COUNT = 96, 64, 20


def level(number: int) -> int:
    """Grey level of a frame: each has its own."""
    return 20 + 10 * number


def movie(times=range(COUNT), fps=25, format="mp4", to=None, **options) -> bytes:
    """Frame i is shown at times[i] / fps; its left half is grey, level(i), its right half black."""
    file = io.BytesIO()
    with av.open(str(to) if to else file, "w", format=format, options=options) as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        stream.codec_context.time_base = Fraction(1, fps)
        for number, time in enumerate(times):
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            pixels[:, : WIDTH // 2] = level(number)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def numbers_seen(read) -> list[int | None]:
    """Which of the frames made above the pictures are."""
    return [None if image is None else round((image.max(-1).max() - 20) / 10) for image in read.images]


def test_frames_come_in_order_and_as_often_as_asked() -> None:
    read = clips.read("a.mp4", movie())
    assert (read.fps, read.width, read.height, len(read.images)) == (25, WIDTH, HEIGHT, COUNT)
    assert read.frame_numbers.tolist() == list(range(1, COUNT + 1))
    assert numbers_seen(read) == numbers_seen(read) == list(range(COUNT))
    assert read.notes == ()


@pytest.mark.parametrize("first, last, step", [(1, None, 1), (5, 12, 1), (3, None, 4), (20, 20, 1), (7, 99, 2)])
def test_range_and_step(first, last, step) -> None:
    read = clips.read("a.mp4", movie(), FrameRange(first, last, step))
    expected = [n for n in range(1, COUNT + 1) if first <= n <= (last or COUNT)][::step]
    assert read.frame_numbers.tolist() == expected
    assert numbers_seen(read) == [n - 1 for n in expected]


def test_a_range_without_frames_says_which_there_are() -> None:
    with pytest.raises(errors.BadRequest, match="1 to 20"):
        clips.read("a.mp4", movie(), FrameRange(30, 40))


def test_variable_frame_rate_skips_numbers_and_does_not_drift() -> None:
    times = [0, 1, 2, 5, 6, 7, 8, 12, 13, 14]
    read = clips.read("a.mp4", movie(times))
    at_s = (read.frame_numbers - 1) / read.fps
    assert np.allclose(at_s, np.array(times) / 25, atol=0.5 / read.fps)
    assert numbers_seen(read) == list(range(len(times)))


@pytest.mark.parametrize("turns, matrix", [(1, (0, -1, 1, 0)), (2, (-1, 0, 0, -1)), (3, (0, 1, -1, 0))])
def test_rotation_is_applied(turns, matrix) -> None:
    """A phone writes what its sensor saw, and how to turn it, into the track's header."""
    data = bytearray(movie())
    header = data.index(b"tkhd")
    a, b, c, d = (value * 65536 for value in matrix)
    data[header + 44 : header + 80] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    read = clips.read("a.mp4", bytes(data))
    upright = np.rot90(next(iter(clips.read("a.mp4", movie(), FrameRange(10, 10)).images)), turns)
    shown = next(iter(clips.read("a.mp4", bytes(data), FrameRange(10, 10)).images))
    assert shown.shape == upright.shape == (read.height, read.width, 3)
    assert np.abs(shown.astype(int) - upright).mean() < 1


def test_sound_is_no_picture() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(errors.UnreadableClip, match="no moving picture"):
        clips.read("a.mp4", file.getvalue())


def test_what_is_left_of_a_truncated_file_is_read() -> None:
    whole = movie(format="matroska")
    read = clips.read("a.mp4", whole[: int(0.6 * len(whole))])
    seen = numbers_seen(read)
    assert 3 < len(seen) < COUNT and seen[:-1] == list(range(len(seen) - 1))


def test_a_truncated_file_says_so_where_its_header_tells_more(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    movie(to=path, movflags="faststart")
    read = clips.read("a.mp4", path.read_bytes()[: int(0.6 * path.stat().st_size)])
    assert len(read.images) < COUNT and "of 20 frames" in read.notes[0]
    assert numbers_seen(read)[:-1] == list(range(len(read.images) - 1))


def test_damaged_frames_are_none_and_the_others_stay_in_step() -> None:
    data = bytearray(movie(g="1"))
    third = len(data) // 3
    data[third : third + 150] = b"\xff" * 150
    seen = numbers_seen(clips.read("a.mp4", bytes(data)))
    assert len(seen) == COUNT
    assert sum(found == expected for expected, found in enumerate(seen)) >= COUNT // 2


@pytest.mark.parametrize("data, kind", [(b"", errors.EmptyFile), (b"not a movie" * 99, errors.UnreadableClip)])
def test_what_is_no_movie_is_named(data, kind, tmp_path) -> None:
    with pytest.raises(kind, match=r"a\.mp4"):
        clips.read("a.mp4", data)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(kind, match=r"a\.mp4"):
        footage.open_footage(str(path))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(errors.UnreadableClip, match="no file"):
        footage.open_footage("nothing/there.mov")


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    images = iter(clips.read("a.mp4", movie()).images)
    next(images)
    images.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "decoder"]


# ---------------------------------------------------------------------------------------------- from end to end


def test_a_clip_becomes_a_take_an_overlay_movie_and_a_table(tmp_path) -> None:
    source, out = tmp_path / "shot.mp4", tmp_path / "out"
    movie(to=source)
    arguments = ["recover", str(source), "--out", str(out), "--backend", "fake", "--frames", "3:14:2", "--overlay"]
    assert main([*arguments, "--json"]) == 0
    take = read_take(out / "shot.take.npz")
    assert take.frame_numbers.tolist() == [3, 5, 7, 9, 11, 13] and take.fps == 25
    assert take.people[0].present.all() and take.camera.is_static
    with av.open(str(out / "shot.overlay.mp4")) as container:
        shown = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert np.allclose(np.array(shown, float) * 25, [0, 2, 4, 6, 8, 10])
    with open(out / "shot.verdict.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["frame"]) for row in rows] == take.frame_numbers.tolist()
    assert all(float(row["overlay_iou"]) > 0.95 for row in rows)
    assert (out / "shot.verdict.png").stat().st_size > 1000


def test_one_frame_of_a_clip_is_a_still(tmp_path) -> None:
    source, out = tmp_path / "shot.mp4", tmp_path / "out"
    movie(to=source)
    assert main(["recover", str(source), "--out", str(out), "--backend", "fake", "--frames", "4:4", "--overlay"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["shot.overlay.png", "shot.report.json", "shot.take.npz"]


@pytest.mark.parametrize("frames", ["5", "9:3", "a:b", "1:9:0"])
def test_a_range_that_is_none(frames, tmp_path) -> None:
    with pytest.raises(SystemExit):
        main(["recover", "shot.mp4", "--out", str(tmp_path), "--frames", frames])


# ---------------------------------------------------------------------------------------------- sequences


@pytest.fixture
def folder(tmp_path):
    """Pictures 8 to 12 of a sequence, the tenth one damaged, and one that does not belong to it."""
    for number in range(8, 13):
        Image.new("L", (WIDTH, HEIGHT), level(number)).save(tmp_path / f"shot_{number:04}.png")
    (tmp_path / "shot_0010.png").write_bytes(b"damaged")
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "poster2.png")
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "shot_%04d.png", "shot_####.png"])
def test_numbered_pictures_are_a_clip(folder, pattern) -> None:
    read = footage.open_footage(str(folder / pattern))
    assert read.frame_numbers.tolist() == [8, 9, 10, 11, 12]
    assert numbers_seen(read) == [8, 9, None, 11, 12]
    read = footage.open_footage(str(folder / pattern), None, FrameRange(9, 12, 2))
    assert read.frame_numbers.tolist() == [9, 11]


def test_a_sequence_may_begin_with_a_damaged_picture(folder) -> None:
    assert numbers_seen(footage.open_footage(str(folder), None, FrameRange(10, 12))) == [None, 11, 12]
    for path in folder.glob("shot_*.png"):
        path.write_bytes(b"damaged")
    with pytest.raises(errors.UnreadableImage, match="shot_0008"):
        footage.open_footage(str(folder))


def test_one_of_them_alone_is_a_still(folder) -> None:
    read = footage.open_footage(str(folder / "shot_0009.png"))
    assert len(read.images) == 1 and read.frame_numbers.tolist() == [1]


def test_a_pattern_that_nothing_matches(tmp_path) -> None:
    with pytest.raises(errors.UnreadableImage, match="no pictures"):
        footage.open_footage(str(tmp_path / "shot_%04d.png"))
