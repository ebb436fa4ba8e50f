# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay picture: the photo, the recovered bodies over it through the recovered camera, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..models.body_model import load_body
from ..wire.frames import project
from ..wire.take import PersonTrack, Take
from .raster import NEAR_M, Look, shade

LONGEST_SIDE_PX = 1600
SMALLEST_SIDE_PX = 640
"""Smaller pictures are enlarged, so that lines and words stay fine."""

SUPERSAMPLING = 2
"""Bodies are drawn so many times finer; in a movie nobody sees the difference."""
_BODY_OPACITY = 0.8
_WORDS_SHARE, _SMALLEST_WORDS_PX = 0.0145, 13
_CAPTION_COLOUR, _WORDS_COLOUR, _QUIET_COLOUR = (24, 27, 32), (236, 239, 243), (158, 166, 178)

# One per person; sRGB. Apart also for people who see few colours: they differ in lightness too.
PALETTE = ((92, 176, 232), (245, 169, 80), (140, 205, 120), (226, 120, 165), (186, 150, 240), (120, 210, 200))
# The body's materials that keep their own colour; the others get the person's.
_MATERIALS = {"eye_white": (247, 247, 244), "iris": (86, 104, 120), "pupil": (20, 22, 26), "tongue": (196, 110, 112)}

# Drawn as limbs, in pairs of joints; the hands and the face are left out because they would only be clutter.
_BONES = (
    ("pelvis", "spine1"), ("spine1", "spine2"), ("spine2", "spine3"), ("spine3", "neck"), ("neck", "head"),
    *(pair for side in ("left", "right") for pair in (
        ("pelvis", f"{side}_hip"), (f"{side}_hip", f"{side}_knee"), (f"{side}_knee", f"{side}_ankle"),
        (f"{side}_ankle", f"{side}_foot"), ("spine3", f"{side}_collar"), (f"{side}_collar", f"{side}_shoulder"),
        (f"{side}_shoulder", f"{side}_elbow"), (f"{side}_elbow", f"{side}_wrist"),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class _Posed:
    """One person in one frame, in the camera frame."""

    person: PersonTrack
    colour: tuple[int, int, int]
    vertices_cam: np.ndarray
    joints_cam: np.ndarray


def write_overlay(path: Path, source: str, take: Take, data: bytes | None = None) -> None:
    """Draw the first frame of `take` over its picture `source` (or `data`) and write a PNG."""
    from .overlay_movie import pictures

    frame, picture = next(pictures(source, data, take))
    Image.fromarray(draw_overlay(picture, take, frame)).save(path, format="PNG", compress_level=6)


def draw_overlay(
    picture: np.ndarray,
    take: Take,
    frame: int = 0,
    longest_side_px: int = LONGEST_SIDE_PX,
    supersampling: int = SUPERSAMPLING,
) -> np.ndarray:
    """(H', W', 3) uint8: the (H, W, 3) picture at a handy size, everybody drawn in, and a strip with the verdict."""
    scale = _display_scale(picture.shape[0], picture.shape[1], longest_side_px)
    canvas = _resized(picture, scale)
    intrinsics = np.diag([scale, scale, 1.0]) @ take.camera.intrinsics(frame)
    posed = [_pose(person, frame, number) for number, person in enumerate(take.people) if person.present[frame]]
    for one in sorted(posed, key=lambda p: -p.joints_cam[0, 2]):  # whoever is farther is drawn first
        _draw_body(canvas, one, intrinsics, supersampling)
    for one in posed:
        _draw_skeleton(canvas, one, frame, intrinsics)
    return np.concatenate([canvas, _caption(canvas.shape[1], canvas.shape[0], take, posed, frame)])


def overlay_size(take: Take, longest_side_px: int) -> tuple[int, int]:
    """Height and width of overlays with everybody in the picture, and so with the longest caption."""
    scale = _display_scale(take.camera.height, take.camera.width, longest_side_px)
    height, width = (max(1, round(side * scale)) for side in (take.camera.height, take.camera.width))
    nobody = np.zeros((0, 3))
    everybody = [_Posed(person, PALETTE[0], nobody, nobody) for person in take.people]
    return height + len(_caption(width, height, take, everybody, _most_told(take))), width


def _most_told(take: Take) -> int:
    """The frame with the most to be said of people."""
    told = [np.isfinite(p.overlay_iou) + 1 * np.isfinite(p.reprojection_percent) for p in take.people]
    return int(np.sum(told, 0).argmax()) if told else 0


def _display_scale(height: int, width: int, longest_side_px: int) -> float:
    longer = max(height, width)
    return min(1.0, longest_side_px / longer) if longer >= SMALLEST_SIDE_PX else SMALLEST_SIDE_PX / longer


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=interpolation) if scale != 1 else picture.copy()


def _pose(person: PersonTrack, frame: int, number: int) -> _Posed:
    row = slice(frame, frame + 1)
    out = load_body(person.body).forward(
        person.pose[row], person.betas, person.expression[row], person.translation[row]
    )
    return _Posed(person, PALETTE[number % len(PALETTE)], out.vertices[0], out.joints[0])


def _draw_body(canvas: np.ndarray, one: _Posed, intrinsics: np.ndarray, finer: int) -> None:
    """Blend the shaded body in, and put a fine line around it; in place."""
    left, top, right, bottom = _part_around(canvas, one, intrinsics)
    if left >= right or top >= bottom:
        return
    part = canvas[top:bottom, left:right]
    height, width = part.shape[:2]
    to_part = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
    body, fine = load_body(one.person.body), np.diag([finer, finer, 1.0]) @ to_part @ intrinsics
    look = Look(colours=tuple(_MATERIALS.get(name, one.colour) for name in body.material_names))
    size = (width * finer, height * finer)
    shaded = shade(one.vertices_cam, body.faces, fine, *size, body.face_materials, look)
    contours, _ = cv2.findContours(shaded[..., 3], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # Where there is no body, colours are black: their mean is that of the body times its coverage.
    small = cv2.resize(shaded, (width, height), interpolation=cv2.INTER_AREA)
    kept = 1 - small[..., 3:] * np.float32(_BODY_OPACITY / 255)
    drawn = part * kept + small[..., :3] * np.float32(_BODY_OPACITY) + np.float32(0.5)
    part[:] = drawn.astype(np.uint8)
    # The contour is in fine pixels; half a one is the shift between the two pictures' pixel centres.
    bits, line_px = 4, _line_width(canvas)
    for contour in contours:
        if len(contour) > 2 * line_px * finer:
            points = ((contour + 0.5) / finer - 0.5 + (left, top)) * (1 << bits)
            outline = [np.round(points).astype(np.int32)]
            cv2.polylines(canvas, outline, True, _lighter(one.colour), line_px, cv2.LINE_AA, bits)


def _part_around(canvas: np.ndarray, one: _Posed, intrinsics: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom pixels of the part of the canvas that the body covers."""
    size = np.array(canvas.shape[1::-1])
    if (one.vertices_cam[:, 2] < NEAR_M).any():
        return 0, 0, int(size[0]), int(size[1])
    points_px = project(one.vertices_cam, intrinsics)
    low = np.floor(points_px.min(0) - 1).clip(0, size).astype(int)
    high = np.ceil(points_px.max(0) + 1).clip(0, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _draw_skeleton(canvas: np.ndarray, one: _Posed, frame: int, intrinsics: np.ndarray) -> None:
    """Limbs as white lines with a dark edge; those that nothing in the picture told are dashed and thin."""
    names = load_body(one.person.body).joint_names
    points_px = project(one.joints_cam, intrinsics)
    inferred = one.person.joint_inferred[frame]
    width = _line_width(canvas)
    for start, end in ((names.index(a), names.index(b)) for a, b in _BONES):
        if not np.isfinite(points_px[[start, end]]).all():
            continue
        if inferred[start]:  # a joint's rotation turns the bone that starts at it
            _line(canvas, _dashes(points_px[start], points_px[end], 5 * width), (210, 214, 220), width)
        else:
            _line(canvas, [(points_px[start], points_px[end])], (20, 24, 30), width + 2)
            _line(canvas, [(points_px[start], points_px[end])], (255, 255, 255), width)
    for joint in {names.index(name) for bone in _BONES for name in bone}:
        if np.isfinite(points_px[joint]).all() and not inferred[joint]:
            centre = _fixed(points_px[joint])
            cv2.circle(canvas, centre, int((width + 2.0) * 16), (20, 24, 30), -1, cv2.LINE_AA, 4)
            cv2.circle(canvas, centre, int((width + 0.8) * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)


def _line(canvas: np.ndarray, pieces: list, colour: tuple[int, int, int], width: int) -> None:
    for start, end in pieces:
        cv2.line(canvas, _fixed(start), _fixed(end), colour, width, cv2.LINE_AA, 4)


def _fixed(point_px: np.ndarray) -> tuple[int, int]:
    """OpenCV's fixed point coordinates with 4 fractional bits, counted from the centre of the first pixel."""
    x, y = np.round((np.clip(point_px, -20_000, 20_000) - 0.5) * 16).astype(int)
    return int(x), int(y)


def _dashes(start: np.ndarray, end: np.ndarray, dash_px: float) -> list:
    count = max(1, round(float(np.linalg.norm(end - start)) / (2 * dash_px)))
    at = np.linspace(0, 1, 2 * count + 1)
    along = start + at[:, None] * (end - start)
    return [(along[2 * i], along[2 * i + 1]) for i in range(count)]


def _line_width(canvas: np.ndarray) -> int:
    return max(1, round(max(canvas.shape[:2]) / 700))


def _lighter(colour: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(round(c + 0.55 * (255 - c)) for c in colour)


# ---------------------------------------------------------------------------------------------- caption

_Entry = tuple[tuple[int, int, int] | None, str]
"""Colour of the dot before the words, or None, and the words."""


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _caption(width: int, height: int, take: Take, posed: list[_Posed], frame: int) -> np.ndarray:
    """(h, W, 3) strip below the picture: one entry per person, then the camera."""
    size = max(_SMALLEST_WORDS_PX, round(_WORDS_SHARE * max(width, height)))
    font = _font(size)
    entries: list[_Entry] = [(one.colour, _verdict_words(one.person, frame)) for one in posed]
    entries.append((None, _camera_words(take)))
    return np.asarray(_set_in_rows(entries, width, size, font))


def _set_in_rows(
    entries: list[_Entry], width: int, size: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> Image.Image:
    """Entries side by side, on as many rows as they need."""
    margin, gap, dot = float(size), 1.6 * size, 0.7 * size
    indent = dot + 0.6 * size
    places, x, row = [], margin, 0
    for colour, words in entries:
        length = font.getlength(words) + (indent if colour else 0)
        if x > margin and x + length > width - margin:
            x, row = margin, row + 1
        places.append((x, row))
        x += length + gap
    line_height = round(1.7 * size)
    strip = Image.new("RGB", (width, (row + 1) * line_height + size), _CAPTION_COLOUR)
    pen = ImageDraw.Draw(strip)
    for (colour, words), (x, row) in zip(entries, places, strict=True):
        middle = row * line_height + (line_height + size) / 2
        if colour:
            pen.ellipse((x, middle - dot / 2, x + dot, middle + dot / 2), fill=colour)
            pen.text((x + indent, middle), words, fill=_WORDS_COLOUR, font=font, anchor="lm")
        else:
            pen.text((x, middle), words, fill=_QUIET_COLOUR, font=font, anchor="lm")
    return strip


def _verdict_words(person: PersonTrack, frame: int) -> str:
    words = [person.name]
    if np.isfinite(person.overlay_iou[frame]):
        words.append(f"overlap {person.overlay_iou[frame]:.0%}")
    if np.isfinite(person.reprojection_percent[frame]):
        words.append(f"landmarks within {person.reprojection_percent[frame]:.1f} %")
    return "  ".join(words)


def _camera_words(take: Take) -> str:
    camera = take.camera
    focal_mm = float(camera.fx_px[0]) / max(camera.width, camera.height) * 36
    spread = f" ± {100 * camera.fx_sigma:.0f} %" if camera.fx_sigma else ""
    return f"lens {focal_mm:.0f} mm{spread}, {camera.source}"
