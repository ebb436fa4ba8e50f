# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's box becomes the square picture that the crop networks expect, and answers find their way back.

The arithmetic follows the released TokenHMR / HMR2.0 preprocessing to the last bit (with OpenCV 4.x), because those
networks have seen nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .errors import BadInput

CROP_SIDE_PX = 256
# Boxes grow to this shape (width : height), the portrait part of the crop that the networks really look at.
PORTRAIT = (192, 256)
# Above this shrinking the picture is blurred before it is sampled, so that fine texture does not flicker.
BLUR_ABOVE = 1.1
IMAGE_MEAN = 255 * np.array([0.485, 0.456, 0.406])
IMAGE_STD = 255 * np.array([0.229, 0.224, 0.225])
# The focal length, in pixels of the crop, that the networks were trained to imagine.
CROP_FOCAL_PX = 5000.0


class EmptyBox(BadInput):
    """A person box without an area cannot be cropped."""

    remedy = "Draw the box again, or let the detector find the people."


@dataclass(frozen=True)
class Crop:
    """The map between the full image and one square network input, both ways.

    Points are corner-origin pixels: (0, 0) is the upper left corner of the upper left pixel, (0.5, 0.5) its centre.
    """

    center_px: np.ndarray  # (2,) float32, middle of the box in the full image
    side_px: float  # side of the square in the full image

    @classmethod
    def around(cls, box_px: Sequence[float]) -> Crop:
        """The square that holds a person box (x1, y1, x2, y2), grown to portrait shape. Raises `EmptyBox`."""
        x1, y1, x2, y2 = np.asarray(box_px, dtype=np.float32)
        width_px, height_px = x2 - x1, y2 - y1
        if not (width_px > 0 and height_px > 0 and np.isfinite([x1, y1, x2, y2]).all()):
            raise EmptyBox(f"The person box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) has no area.")
        center_px = np.array([(x1 + x2) / 2, (y1 + y2) / 2], dtype=np.float32)
        # Data sets store sizes in units of 200 px. The detour through that unit costs a rounding in the last bit, and
        # the released programs take it.
        unit = np.float32(200)
        width_px, height_px = width_px / unit * unit, height_px / unit * unit
        return cls(center_px, float(max(height_px, width_px * np.float32(PORTRAIT[1]) / np.float32(PORTRAIT[0]))))

    @property
    def scale(self) -> float:
        """Pixels of the full image per pixel of the crop."""
        return self.side_px / CROP_SIDE_PX

    def to_image(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) points of the crop -> the same points in the full image."""
        return self._origin_px + np.asarray(points_px) * self.scale

    def to_crop(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) points of the full image -> the same points in the crop."""
        return (np.asarray(points_px) - self._origin_px) / self.scale

    @property
    def _origin_px(self) -> np.ndarray:
        # The released sampler takes the box centre for a pixel index, so crop index 128 lies on it. In corner-origin
        # pixels that is half a pixel of either image further on; kept, because the networks were trained that way.
        return self.center_px.astype(np.float64) + 0.5 - (CROP_SIDE_PX / 2 + 0.5) * self.scale

    def full_image_translation(
        self, crop_camera: np.ndarray, image_size_px: tuple[float, float], focal_px: float | None = None
    ) -> np.ndarray:
        """The networks' (scale, tx, ty), one (3,) or a batch (B, 3) -> metres (..., 3) before the full image's camera.

        That camera looks through the middle of the image (width, height) with `focal_px`, or else with the focal
        length that the networks imagine (`imagined_focal_px`). Only the depth depends on it.
        """
        scale, tx, ty = np.moveaxis(np.asarray(crop_camera), -1, 0)
        focal_px = imagined_focal_px(image_size_px) if focal_px is None else focal_px
        # Rubbish in the picture can make the scale vanish or turn negative; then the depth is nonsense, not infinite.
        image_per_metre = scale * self.side_px + 1e-9
        off_center_px = self.center_px - np.asarray(image_size_px, dtype=np.float32) / 2
        return np.stack(
            [
                tx + 2 * off_center_px[0] / image_per_metre,
                ty + 2 * off_center_px[1] / image_per_metre,
                2 * focal_px / image_per_metre,
            ],
            axis=-1,
        )


def imagined_focal_px(image_size_px: tuple[float, float]) -> float:
    """The very long lens of the training, brought from the crop to an image of (width, height) pixels."""
    return CROP_FOCAL_PX / CROP_SIDE_PX * max(image_size_px)


def cut(image_bgr: np.ndarray, crop: Crop, *, antialias: bool = True) -> np.ndarray:
    """Sample one crop: (H, W, 3) uint8 BGR -> (256, 256, 3) RGB, black outside the image.

    uint8 where the image is not shrunk much, else float64 out of a blurred image. Training and evaluation of the
    networks never blur: `antialias=False`.
    """
    sigma_px = blur_sigma_px(crop) if antialias else None
    source, offset_px = (image_bgr, (0, 0)) if sigma_px is None else _blurred_neighbourhood(image_bgr, crop, sigma_px)
    sampled = cv2.warpAffine(
        source,
        crop_to_image(crop, offset_px),
        (CROP_SIDE_PX, CROP_SIDE_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return sampled[..., ::-1]


def normalised(crop_rgb: np.ndarray) -> np.ndarray:
    """(256, 256, 3) RGB in 0..255 -> (3, 256, 256) float32, centred and scaled as the backbone expects."""
    planes = crop_rgb.transpose(2, 0, 1).astype(np.float32)
    for plane, mean, std in zip(planes, IMAGE_MEAN, IMAGE_STD, strict=True):
        plane -= mean
        plane /= std
    return planes


def network_input(image_bgr: np.ndarray, crops: Sequence[Crop]) -> np.ndarray:
    """All crops of one image -> (B, 3, 256, 256) float32, ready for the network."""
    planes = [normalised(cut(image_bgr, crop)) for crop in crops]
    return np.stack(planes) if planes else np.zeros((0, 3, CROP_SIDE_PX, CROP_SIDE_PX), np.float32)


def crop_to_image(crop: Crop, offset_px: tuple[int, int]) -> np.ndarray:
    """(2, 3) pixel indices of the crop -> pixel indices of a part of the image that begins at `offset_px`."""
    half = CROP_SIDE_PX / 2
    (x, y), reach = crop.center_px, np.float32(crop.side_px * 0.5)
    in_image = np.array([(x, y), (x, y + reach), (x + reach, y)], dtype=np.float32)
    in_crop = np.array([(half, half), (half, CROP_SIDE_PX), (CROP_SIDE_PX, half)], dtype=np.float32)
    # Solved in this direction and then inverted, because a direct solution differs in the last bits.
    matrix = cv2.invertAffineTransform(cv2.getAffineTransform(in_image, in_crop))
    matrix[:, 2] -= offset_px
    return matrix


def blur_sigma_px(crop: Crop) -> float | None:
    """By how much the picture is blurred before this crop is sampled; None: not at all."""
    shrink = crop.side_px / CROP_SIDE_PX / 2
    return (shrink - 1) / 2 if shrink > BLUR_ABOVE else None


def blur_kernel(sigma_px: float) -> np.ndarray:
    """(odd number,) float64 weights along one axis, adding up to 1."""
    radius_px = _radius_px(sigma_px)
    if not radius_px:
        return np.ones(1)
    weights = np.exp(-0.5 * (np.arange(-radius_px, radius_px + 1) / sigma_px) ** 2)
    return weights / weights.sum()


def neighbourhood(crop: Crop, sigma_px: float, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The part of an image (width, height) that the crop can reach, blur included: (left, top), (right, bottom).

    Cut out before the blur with enough margin that no pixel of the crop knows the difference: a person in a 50
    megapixel photograph costs what the person costs.
    """
    margin_px = _radius_px(sigma_px) + 2
    low = np.floor(crop.center_px - crop.side_px / 2).astype(int) - margin_px
    high = np.ceil(crop.center_px + crop.side_px / 2).astype(int) + margin_px
    size = np.array(size_px)
    low, high = np.clip(low, 0, size - 1), np.clip(high, 1, size)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _radius_px(sigma_px: float) -> int:
    return int(4 * sigma_px + 0.5)


def _blurred_neighbourhood(image: np.ndarray, crop: Crop, sigma_px: float) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of the image that the crop can reach, blurred, and where its upper left pixel lies in the image."""
    (left, top), (right, bottom) = neighbourhood(crop, sigma_px, (image.shape[1], image.shape[0]))
    part = image[top:bottom, left:right].astype(np.float64)
    kernel = blur_kernel(sigma_px)
    if len(kernel) > 1:
        part = cv2.sepFilter2D(part, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return part, (left, top)
