# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of picture is read rightly, and every kind of broken file gets an error that says what to do."""

import io
import os
import random
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import errors, frames

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def ramp():
    """(H, W, 3) uint8, red grows to the right, green downwards."""
    ramp = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, WIDTH)[None]
    ramp[..., 1] = np.linspace(0, 255, HEIGHT)[:, None]
    return ramp


def encoded(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def read(data, name="photo"):
    return frames.read(name, data)


# ---------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("format, options, off", [
    ("PNG", {}, 0), ("TIFF", {}, 0), ("TIFF", {"compression": "tiff_lzw"}, 0), ("BMP", {}, 0),
    ("WEBP", {"lossless": True}, 0), ("JPEG", {"quality": 95}, 12), ("JPEG", {"quality": 95, "progressive": True}, 12),
])  # fmt: skip
def test_formats(ramp, format, options, off):
    footage = read(encoded(Image.fromarray(ramp), format, **options))
    assert np.abs(footage.images[0].astype(int) - ramp).max() <= off
    assert (footage.width, footage.height, len(footage.images)) == (WIDTH, HEIGHT, 1)
    assert footage.frame_numbers.tolist() == [1] and footage.exif_focal_36mm is None


def test_a_path_with_spaces_and_letters_of_other_scripts(ramp, tmp_path):
    path = tmp_path / "mein Foto – 写真.png"
    Image.fromarray(ramp).save(path)
    footage = frames.read(str(path))
    assert footage.name == path.name
    assert np.array_equal(footage.images[0], ramp)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(ramp, orientation):
    """A picture stored turned or mirrored, with the tag that says so, comes out upright."""
    stored = {
        1: ramp, 2: ramp[:, ::-1], 3: ramp[::-1, ::-1], 4: ramp[::-1], 5: ramp.swapaxes(0, 1),
        6: np.rot90(ramp, 1), 7: np.rot90(ramp, 2).swapaxes(0, 1), 8: np.rot90(ramp, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    footage = read(encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif))
    assert np.array_equal(footage.images[0], ramp)
    assert (footage.width, footage.height) == (WIDTH, HEIGHT)
    assert bool(footage.upright) == (orientation > 1), "what lies upright in its file needs no copy"
    if footage.upright:
        shown = np.asarray(Image.open(io.BytesIO(footage.upright)), int)
        assert shown.shape == ramp.shape and np.abs(shown - ramp).mean() < 3


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(format):
    grey = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    pixels = read(encoded(Image.fromarray(grey), format)).images[0]
    assert np.abs(pixels[..., 0].astype(int) - grey // 257).max() <= 1
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_sixteen_bit_colour_keeps_the_high_byte(ramp):
    """Pillow cannot write such a PNG, so it is put together here."""
    rows = b"".join(b"\0" + (row.astype(np.uint16) * 257).astype(">u2").tobytes() for row in ramp)
    assert np.array_equal(read(png(WIDTH, HEIGHT, rows, depth=16, colour=2)).images[0], ramp)


def test_floating_point_grey():
    grey = np.linspace(0, 1, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    pixels = read(encoded(Image.fromarray(grey), "TIFF")).images[0]
    assert pixels.min() == 0 and pixels.max() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_other_colour_modes(ramp, mode):
    image = Image.fromarray(ramp)
    if mode == "LAB":
        data = encoded(Image.new("LAB", (WIDTH, HEIGHT), (128, 128, 128)), "TIFF")
        assert read(data).images[0].shape == ramp.shape
        return
    format = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    pixels = read(encoded(image.convert(mode), format)).images[0]
    assert pixels.shape == ramp.shape and pixels.dtype == np.uint8
    if mode in ("CMYK", "YCbCr"):
        assert np.abs(pixels.astype(int) - ramp).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_places_become_grey(ramp, mode):
    image = Image.fromarray(ramp).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 10, 10))
    if mode == "P":
        image = image.convert("RGB").quantize(16)
        corner = image.getpixel((0, 0))
        data = encoded(image, "PNG", transparency=corner)
    else:
        data = encoded(image.convert(mode), "PNG")
    assert read(data).images[0][0, 0].tolist() == [128, 128, 128]


def test_a_gif_of_one_picture_is_a_still(ramp):
    assert read(encoded(Image.fromarray(ramp), "GIF")).width == WIDTH


def test_a_camera_file_with_a_preview_is_a_still(ramp):
    main = Image.fromarray(ramp)
    data = encoded(main, "MPO", save_all=True, append_images=[main.resize((32, 24))], quality=95)
    assert read(data).width == WIDTH


# ---------------------------------------------------------------------------------------------- focal length


def with_exif(size, **tags):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({getattr(Image.ExifTags.Base, name).value: value for name, value in tags.items()})
    return read(encoded(Image.new("RGB", size), "JPEG", exif=exif)).exif_focal_36mm


def test_35mm_equivalent_on_the_film_format_is_itself():
    assert with_exif((960, 640), FocalLengthIn35mmFilm=50) == pytest.approx(50, rel=1e-6)
    assert with_exif((640, 960), FocalLengthIn35mmFilm=50) == pytest.approx(50, rel=1e-6)


def test_35mm_equivalent_counts_over_the_diagonal():
    focal = with_exif((400, 300), FocalLengthIn35mmFilm=26)
    diagonal_fov = 2 * np.arctan(500 / 2 / (focal / 36 * 400))
    assert diagonal_fov == pytest.approx(2 * np.arctan(np.hypot(36, 24) / 2 / 26), rel=1e-6)


def test_focal_length_with_pixel_pitch():
    # Canon APS-C: 22.3 mm wide, 5184 pixels; the file here was scaled down but still tells the original width.
    tags = dict(FocalLength=35.0, FocalPlaneXResolution=5184 / (22.3 / 25.4), FocalPlaneResolutionUnit=2)
    tags["ExifImageWidth"], tags["ExifImageHeight"] = 5184, 3456
    assert with_exif((648, 432), **tags) == pytest.approx(35 / 22.3 * 36, rel=1e-3)


@pytest.mark.parametrize("tags", [
    {}, {"FocalLength": 35.0}, {"FocalLengthIn35mmFilm": 0}, {"FocalLengthIn35mmFilm": 65535},
    {"FocalLength": 35.0, "FocalPlaneXResolution": 0.0, "FocalPlaneResolutionUnit": 2},
    {"FocalLength": 35.0, "FocalPlaneXResolution": 3.0, "FocalPlaneResolutionUnit": 9},
])  # fmt: skip
def test_no_focal_length_is_better_than_a_wrong_one(tags):
    assert with_exif((640, 480), **tags) is None


# ---------------------------------------------------------------------------------------------- what is refused


def png(width, height, rows, depth=8, colour=0):
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animation(format):
    pictures = [Image.new("RGB", (WIDTH, HEIGHT), (40 * i, 0, 0)) for i in range(3)]
    return encoded(pictures[0], format, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_many_pages(format):
    refused(errors.AnimatedImage, "3 pictures", data=animation(format))


def test_empty_file(tmp_path):
    refused(errors.EmptyFile, "empty", data=b"")
    (tmp_path / "a.jpg").touch()
    refused(errors.EmptyFile, "a.jpg", source=str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_truncated(ramp, format, part):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    data = encoded(Image.fromarray(noise), format)
    refused(errors.UnreadableImage, "photo", data=data[: int(len(data) * part)])


@pytest.mark.parametrize("data", [b"hello", b"\0" * 5000, b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_no_picture(data):
    refused(errors.UnreadableImage, "not a picture", data=data)


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (400, 31)])
def test_too_small(size):
    refused(errors.ImageTooSmall, f"{size[0]} x {size[1]}", data=encoded(Image.new("RGB", size), "PNG"))


def test_twenty_thousand_pixels_wide():
    refused(errors.ImageTooLarge, "20000 x 40", data=encoded(Image.new("L", (20_000, 40)), "PNG"))


@pytest.mark.parametrize("side", [13_000, 19_000, 60_000])
def test_decompression_bomb_is_refused_before_it_is_unpacked(side):
    refused(errors.ImageTooLarge, "million", data=png(side, side, b"\0" * 1000))


def test_missing_file_and_folder(tmp_path):
    refused(errors.UnreadableImage, "no file", source=str(tmp_path / "nothing.jpg"))
    refused(errors.UnreadableImage, "folder", source=str(tmp_path))
    refused(errors.UnreadableImage, "cannot be read", source="a\0b.jpg")
    refused(errors.BadRequest, "No picture", source="")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_forbidden_file(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(errors.UnreadableImage, "may not be read", source=str(path))


def test_forbidden_file_said_by_the_system(tmp_path, monkeypatch):
    """The same for those whom permissions do not bind (root in a container)."""

    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(frames.Path, "read_bytes", forbidden)
    refused(errors.UnreadableImage, "may not be read", source=str(tmp_path / "secret.jpg"))


def test_heic_without_a_decoder(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refused(errors.UnreadableImage, "HEIC", source="IMG_1.HEIC", data=b"\0\0\0\x18ftypheic")
    assert "pillow-heif" in error.remedy


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_damaged_bytes_never_escape_as_another_error(ramp, format):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 28
    data = encoded(Image.fromarray(ramp), format, **({} if format == "GIF" else {"exif": exif}))
    random_ = random.Random(0)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(random_.choice((1, 4, 20))):
            damaged[random_.randrange(len(damaged))] = random_.randrange(256)
        try:
            read(bytes(damaged))
        except errors.UnreadableImage as error:
            assert error.sentence and error.remedy


def refused(kind, words, source="photo", data=None):
    with pytest.raises(kind) as caught:
        frames.read(source, data)
    error = caught.value
    assert words in error.sentence and error.remedy and error.exit_code == 2
    return error
