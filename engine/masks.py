# SPDX-License-Identifier: GPL-3.0-or-later
"""Person masks of a clip: cut out, no finer than the network that made them, and packed. A minute takes a few MB."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..wire.take import MaskTrack


@dataclass(frozen=True)
class PackedMask:
    """A person's pixels in one frame."""

    packed: bytes
    """Bits of the cut, row after row, compressed."""
    left: int
    """Pixels of the *reduced* full image left of the cut."""
    top: int
    """… and above it."""
    width: int
    """Of the cut, reduced pixels."""
    height: int
    scale: float
    """Reduced pixels per pixel of the full image, at most 1."""
    image_width: int
    """Of the full image."""
    image_height: int

    @classmethod
    def of(
        cls, cut: np.ndarray, left_px: float, top_px: float, scale: float, image_width: int, image_height: int
    ) -> PackedMask:
        """From a cut (h, w) bool whose corner lies at (left_px, top_px) of the full image, reduced by `scale`."""
        height, width = cut.shape
        packed = zlib.compress(np.packbits(cut).tobytes(), 1)
        return cls(
            packed, round(left_px * scale), round(top_px * scale), width, height, scale, image_width, image_height
        )

    @property
    def cut(self) -> np.ndarray:
        """(height, width) bool."""
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return np.unpackbits(bits, count=self.width * self.height).reshape(self.height, self.width).astype(bool)

    @property
    def reduced_size(self) -> tuple[int, int]:
        """Width and height of the whole picture, reduced."""
        return round(self.image_width * self.scale), round(self.image_height * self.scale)

    def whole(self) -> np.ndarray:
        """(H, W) bool in the full image."""
        whole = np.zeros((self.image_height, self.image_width), bool)
        left, top = round(self.left / self.scale), round(self.top / self.scale)
        right = min(round((self.left + self.width) / self.scale), self.image_width)
        bottom = min(round((self.top + self.height) / self.scale), self.image_height)
        cut = self.cut.astype(np.uint8)
        if self.scale != 1:
            enlarged = cv2.resize(cut * 255, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
            cut = enlarged > 127
        whole[top:bottom, left:right] = cut[: bottom - top, : right - left]
        return whole

    def overlap(self, drawn: np.ndarray) -> float:
        """Pixels in both / pixels in either, for a mask of the whole picture, reduced (h, w)."""
        cut = self.cut
        part = drawn[self.top : self.top + self.height, self.left : self.left + self.width]
        both = np.count_nonzero(part & cut[: part.shape[0], : part.shape[1]])
        either = np.count_nonzero(drawn) + np.count_nonzero(cut) - both
        return both / either if either else 0.0

    def shared(self, other: PackedMask) -> float:
        """Pixels in both / pixels of the smaller; both in one picture. Counted on a grid."""
        cuts, corners = (self.cut, other.cut), [np.array([m.left, m.top]) / m.scale for m in (self, other)]
        ends = [corner + np.array(cut.shape[::-1]) / m.scale for corner, cut, m in self._with(other, corners, cuts)]
        low, high = np.maximum(*corners), np.minimum(*ends)
        if (high <= low).any():
            return 0.0
        across, down = ((high - low) * (np.arange(_CELLS)[:, None] + 0.5) / _CELLS + low).T
        both = np.ones((_CELLS, _CELLS), bool)
        for corner, cut, mask in self._with(other, corners, cuts):
            columns = ((across - corner[0]) * mask.scale).astype(int).clip(0, mask.width - 1)
            rows = ((down - corner[1]) * mask.scale).astype(int).clip(0, mask.height - 1)
            both &= cut[np.ix_(rows, columns)]
        smaller = min(np.count_nonzero(cut) / m.scale**2 for _, cut, m in self._with(other, corners, cuts))
        return float(both.mean() * np.prod(high - low) / max(smaller, 1e-9))

    def _with(self, other: PackedMask, *of_both):
        return zip(*of_both, (self, other), strict=True)


_CELLS = 48

Mask = np.ndarray | PackedMask
"""A person's pixels in one frame: (H, W) bool, or packed."""


def to_mask_track(masks: Sequence[Mask | None]) -> MaskTrack | None:
    """F masks as a take keeps them; None where nobody has one. Masks that are not packed keep every pixel."""
    packed = [_packed(mask) for mask in masks]
    if not any(packed):
        return None
    sizes = np.array([len(mask.packed) if mask else 0 for mask in packed], np.int32)
    return MaskTrack(
        packed=np.frombuffer(b"".join(mask.packed for mask in packed if mask), np.uint8),
        sizes=sizes,
        cuts=np.array([(m.left, m.top, m.width, m.height) if m else (0, 0, 0, 0) for m in packed], np.int32),
        scale=np.array([mask.scale if mask else 1.0 for mask in packed]),
    )


def from_mask_track(track: MaskTrack | None, frames: int, width: int, height: int) -> tuple[PackedMask | None, ...]:
    """The F masks of a person in pictures of the given size."""
    if track is None:
        return (None,) * frames
    ends = np.cumsum(track.sizes)
    data = track.packed.tobytes()
    return tuple(
        PackedMask(data[end - size : end], left, top, across, down, scale, width, height) if size else None
        for end, size, (left, top, across, down), scale in zip(
            ends.tolist(), track.sizes.tolist(), track.cuts.tolist(), track.scale.tolist(), strict=True
        )
    )


def _packed(mask: Mask | None) -> PackedMask | None:
    if mask is None or isinstance(mask, PackedMask):
        return mask
    height, width = mask.shape
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(rows):  # the person is there, and nothing of the person is seen
        return PackedMask.of(np.zeros((1, 1), bool), 0, 0, 1.0, width, height)
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return PackedMask.of(cut, float(columns[0]), float(rows[0]), 1.0, width, height)
