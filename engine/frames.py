# SPDX-License-Identifier: GPL-3.0-or-later
"""Files to pictures: decoding, EXIF orientation and EXIF focal length. Pictures stay full size."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ..wire.frames import FULL_FRAME_MM
from .errors import AnimatedImage, BadRequest, EmptyFile, ImageTooLarge, ImageTooSmall, UnreadableImage

MIN_SIDE_PX = 32
MAX_SIDE_PX = 19_999
MAX_PIXELS = 150_000_000
"""450 MB as 8-bit RGB; every camera but the 200-megapixel phones is below."""

STILL_FPS = 24.0

# Named, because Pillow knows some fifty formats and a few of them run other programs (EPS) or are rarely tested.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "AVIF", "HEIF")
_HEIC_SUFFIXES = (".heic", ".heif", ".hif")
# A camera's MPO holds a preview or a second eye beside the picture, a phone's HEIF depth maps: still one photograph.
_EXTRAS_ARE_NOT_ANIMATION = ("MPO", "HEIF")

# Transparent places become middle grey: dark and light hair both keep their outline against it.
_BEHIND_ALPHA = (128, 128, 128)


class Images(Protocol):
    """Pictures, one after the other, as often as they are asked for; None for one that cannot be decoded.

    A tuple or list of arrays is such a thing too.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray | None]: ...

    def __getitem__(self, rows: slice, /) -> Images:
        """Some of them."""
        ...


@dataclass(frozen=True)
class Footage:
    """Decoded pictures, upright, full size."""

    name: str
    """File name without its folders, for messages."""
    images: Images
    """F pictures, each (H, W, 3) uint8 sRGB; a clip's are decoded while they are iterated over."""
    frame_numbers: np.ndarray
    """(F,) int, numbers in the source, from 1."""
    fps: float
    """Frames per second; 24 for a still."""
    exif_focal_36mm: float | None
    """Focal length in mm for a picture whose longer side is 36 mm; None where EXIF does not tell it."""
    width: int
    height: int
    notes: tuple[str, ...] = ()
    """Sentences on what of the file could not be read."""
    upright: bytes = b""
    """A still as a JPEG, where its file has it turned; empty elsewhere."""
    keep_in: Path | None = None
    """Folder in which a clip's unfinished work is kept for the next run; None keeps nothing."""

    @property
    def times_s(self) -> np.ndarray:
        """(F,) seconds after frame 1."""
        return (self.frame_numbers - 1) / self.fps


def read(source: str, data: bytes | None = None) -> Footage:
    """Decode the still at the path `source`, or in `data` (then `source` is only its name).

    Raises errors.UnreadableImage or one of its kinds, BadRequest for an empty name.
    """
    name = Path(source).name or source or "the picture"
    stream = io.BytesIO(_bytes_of(source, name) if data is None else data)
    if not stream.getbuffer().nbytes:
        raise EmptyFile(f"{name} is empty: it has no bytes.")
    with _decoding(name), Image.open(stream, formats=_known_formats(name)) as image:
        check_size(name, *image.size)
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format not in _EXTRAS_ARE_NOT_ANIMATION:
            raise AnimatedImage(f"{name} holds {count} pictures; a still is needed.")
        focal_36mm = focal_from_exif(image.getexif(), image.width, image.height)
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        pixels = _rgb8(ImageOps.exif_transpose(image))
    height, width = pixels.shape[:2]
    upright = _jpeg(pixels) if is_turned else b""
    return Footage(name, (pixels,), np.array([1]), STILL_FPS, focal_36mm, width, height, upright=upright)


def _jpeg(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a file's bytes, in which nobody sees a difference."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92, subsampling=0)
    return stream.getvalue()


def focal_from_exif(exif: Image.Exif, width: int, height: int) -> float | None:
    """Focal length in mm for a longer side of 36 mm, or None where EXIF does not tell it or cannot be true.

    FocalLengthIn35mmFilm comes first. It is an equivalent in the angle of view over the *diagonal* (CIPA DCG-001), and
    only for pictures of 3:2 is that the same as over the longer side: a phone's 4:3 picture needs 4 % more.
    Without it, FocalLength and the sensor's pixel pitch (FocalPlaneXResolution) are used.
    """
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    longer, diagonal = max(width, height), math.hypot(width, height)
    focal_35mm = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if focal_35mm:
        focal = focal_35mm * (diagonal / math.hypot(36, 24)) / (longer / FULL_FRAME_MM)
    else:
        focal_mm = _number(tags.get(ExifTags.Base.FocalLength))
        per_unit = _number(tags.get(ExifTags.Base.FocalPlaneXResolution))
        unit_mm = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
        if not (focal_mm and per_unit and unit_mm):
            return None
        # The pitch belongs to the picture as the camera wrote it, which may have been scaled since.
        taken_px = max(_number(tags.get(tag)) or 0 for tag in (40962, 40963)) or longer
        sensor_mm = taken_px / per_unit * unit_mm
        if not 2 < sensor_mm < 80:  # a telephone's front camera .. medium format
            return None
        focal = focal_mm / sensor_mm * FULL_FRAME_MM
    return focal if 4 < focal < 2000 else None


def _bytes_of(source: str, name: str) -> bytes:
    if not source:
        raise BadRequest("No picture was named.")
    path = Path(source)
    try:
        if path.is_dir():
            raise UnreadableImage(f"{source} is a folder, not a picture.", "Name the picture inside it.")
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableImage(f"There is no file {source}.", "Check the spelling and the folder.") from None
    except PermissionError:
        raise UnreadableImage(
            f"{source} may not be read.", "Give yourself permission to read it, or copy it elsewhere."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UnreadableImage(f"{name} cannot be read ({error}).", "Copy it to a local disk and try again.") from None


def _known_formats(name: str) -> list[str]:
    """The formats that this machine decodes. HEIC comes from the optional package pillow-heif."""
    heic = name.lower().endswith(_HEIC_SUFFIXES)
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        if heic:
            raise UnreadableImage(
                f"{name} is a HEIC picture, and no decoder for those is installed.",
                "Save it as JPEG, or install the package pillow-heif into the engine's environment.",
            ) from None
    Image.init()
    return [format for format in _FORMATS if format in Image.OPEN]


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn what Pillow raises into our errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own bomb warning (ours comes first), odd metadata
            yield
    except (MemoryError, UnreadableImage):
        raise
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels.") from None
    except Image.UnidentifiedImageError:
        raise UnreadableImage(f"{name} is not a picture in a known format (JPEG, PNG, WebP, TIFF).") from None
    except Exception as error:  # damaged files make the decoders raise nearly everything: struct.error, SyntaxError …
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise UnreadableImage(
                f"{name} is cut short: its last part is missing.", "Copy or download it again."
            ) from None
        raise UnreadableImage(f"{name} is damaged and cannot be decoded ({error}).") from None


def check_size(name: str, width: int, height: int) -> None:
    """Raises ImageTooLarge or ImageTooSmall."""
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise ImageTooLarge(
            f"{name} has {width} x {height} pixels; at most {MAX_SIDE_PX} a side and "
            f"{MAX_PIXELS // 1_000_000} million in all can be read."
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageTooSmall(f"{name} has only {width} x {height} pixels.")


def _rgb8(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of a picture in any of Pillow's modes."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_grey8(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, (*_BEHIND_ALPHA, 255))
        image = Image.alpha_composite(behind, image)
    return np.array(image.convert("RGB"))


def _grey8(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit or floating point grey to 8 bits. Pillow's own conversion clips at 255 instead."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)
        return (values / max(1.0, float(values.max())) * 255).clip(0, 255).round().astype(np.uint8)
    # 255 * 257 = 65535. Integers of 32 bits hold 16 in practice; larger ones are scaled by what they reach.
    full = 65535 if values.max() <= 65535 else int(values.max())
    return (values.clip(0, None) * (255.0 / full)).round().astype(np.uint8)


def _number(value: object) -> float | None:
    """An EXIF value as a positive number; None for what is absent, zero, 0/0 or no number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < math.inf else None
