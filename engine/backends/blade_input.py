# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as BLADE's and AiOS' networks expect them: squares, scaled and normalised as published.

Paper: Wang et al., "BLADE" (CVPR 2025), whose program this follows: pad to a square, scale to 1280 (Lanczos),
normalise; the pose network sees that at 400, the depth network a square around the person's mask at 518. (The program
ignores EXIF orientation; here pictures are upright before they arrive.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

WORKING_PX, POSE_PX, DEPTH_PX = 1280, 400, 518
"""Sides of the square that both networks' pictures are made from, and of those pictures."""
AIOS_LONGER_PX = 800
"""Longer side of a whole picture in which AiOS looks for everybody at once."""
MASK_MARGIN = 1.25
IMAGE_MEAN, IMAGE_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Square:
    """A square of the full image, in whole pixels; beyond the image it is black."""

    left_px: int
    top_px: int
    side_px: int

    @classmethod
    def whole(cls, width: int, height: int) -> Square:
        """The whole image in the middle."""
        side = max(width, height)
        return cls(-((side - width) // 2), -((side - height) // 2), side)

    @classmethod
    def around(cls, box_px: np.ndarray, margin: float = MASK_MARGIN) -> Square:
        """The square about a box (4,), `margin` times as large."""
        side = max(int(np.ceil(margin * (box_px[2:] - box_px[:2]).max())), 16)
        left, top = np.round((box_px[:2] + box_px[2:]) / 2 - side / 2).astype(int)
        return cls(int(left), int(top), side)

    @property
    def centre_px(self) -> np.ndarray:
        """(2,) its middle in the full image, pixels from the top left corner."""
        return np.array([self.left_px, self.top_px]) + self.side_px / 2

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The square out of an (H, W, …) image."""
        made = np.zeros((self.side_px, self.side_px, *image.shape[2:]), image.dtype)
        height, width = image.shape[:2]
        rows = slice(max(self.top_px, 0), min(self.top_px + self.side_px, height))
        columns = slice(max(self.left_px, 0), min(self.left_px + self.side_px, width))
        if rows.start < rows.stop and columns.start < columns.stop:
            down, right = rows.start - self.top_px, columns.start - self.left_px
            part = image[rows, columns]
            made[down : down + part.shape[0], right : right + part.shape[1]] = part
        return made

    def to_square(self, boxes: np.ndarray) -> np.ndarray:
        """(…, 4) corners in the full image -> in sides of the square."""
        return (boxes - np.tile([self.left_px, self.top_px], 2)) / self.side_px


def working_picture(image: np.ndarray, square: Square) -> Tensor:
    """(3, 1280, 1280) float32, normalised, of an (H, W, 3) uint8 RGB image."""
    scaled = Image.fromarray(square.cut(image)).resize((WORKING_PX, WORKING_PX), Image.Resampling.LANCZOS)
    return normalised(np.asarray(scaled))


def working_mask(mask: np.ndarray, square: Square) -> np.ndarray:
    """(1280, 1280) bool of an (H, W) bool mask."""
    cut = square.cut(mask.astype(np.uint8) * 255)
    return cv2.resize(cut, (WORKING_PX, WORKING_PX), interpolation=cv2.INTER_LINEAR) > 127


def pose_picture(working: Tensor) -> Tensor:
    """(3, 400, 400) out of a working picture."""
    return F.interpolate(working[None], (POSE_PX, POSE_PX), mode="bilinear", antialias=True)[0]


def everybodys_picture(image: np.ndarray) -> Tensor:
    """(3, h, w) of the whole image, the longer side 800, for AiOS alone."""
    height, width = image.shape[:2]
    scale = AIOS_LONGER_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return normalised(cv2.resize(image, size, interpolation=way))


def depth_pictures(working: Tensor, masks: Sequence[np.ndarray]) -> Tensor:
    """(B, 3, 518, 518): the squares around B masks (1280, 1280) of one working picture."""
    side = working.shape[-1]
    grids = []
    for mask in masks:
        x, y, reach = mask_square(mask)
        steps = torch.arange(DEPTH_PX, dtype=torch.float32) * (reach / (DEPTH_PX - 1))
        # First and last samples lie exactly on the borders; grid_sample counts from -1 to 1 between pixel centres.
        across, down = (2 * (start + steps) / (side - 1) - 1 for start in (x, y))
        grids.append(torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], -1))
    many = working.expand(len(grids), -1, -1, -1)
    return F.grid_sample(many, torch.stack(grids), "bilinear", "zeros", align_corners=True)


def mask_square(mask: np.ndarray) -> tuple[float, float, float]:
    """Left, top and side, in pixel indices, of the square in which the depth network sees a mask (S, S)."""
    side = mask.shape[0]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0, 0.0, side - 1.0
    low, high = np.array([columns[0], rows[0]], float), np.array([columns[-1], rows[-1]], float)
    reach = float((MASK_MARGIN * (high - low)).max())
    start = (low + high) / 2 - reach / 2
    # Back into the frame; where it is larger than the frame, both ends pull.
    start = start + np.maximum(-start, 0) - np.maximum(start + reach - (side - 1), 0)
    return float(start[0]), float(start[1]), max(reach, 1.0)


def normalised(rgb: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float()
    return (planes - torch.tensor(IMAGE_MEAN)[:, None, None]) / torch.tensor(IMAGE_STD)[:, None, None]
