# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the synthetic pictures of people that other benchmarks measure on, and shows them.

    python dev.py bench synthetic -- --count 60 --sheet out/people.png

Random bodies (shapes beyond the shape space that is fitted, clothes, hair), poses from ../shared/data/mocap, lenses
from 18 to 85 mm, 0.6 to 6 m, one or two people, with exact labels; see tests/synthetic. Cached in .cache/synthetic.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from recover_body.tests.synthetic.pictures import Picture, folder_of, pictures

DEFAULT_COUNT, DEFAULT_SIZE_PX = 60, 448


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=DEFAULT_COUNT, help="how many pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--size", type=int, default=DEFAULT_SIZE_PX, help="longer side in pixels (default: %(default)s)"
    )


def contact_sheet(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """(H, W, 3) from pictures of one size, row by row."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[row : row + columns]) for row in range(0, len(tiles), columns)])


def squared(picture: np.ndarray, side_px: int) -> np.ndarray:
    """(side, side, 3) with the picture fitted in at the top left."""
    scale = side_px / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:side_px, :side_px]
    square = np.full((side_px, side_px, 3), 32, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square


def labelled(picture: Picture) -> np.ndarray:
    """The picture with outlines of the true masks and the true joints."""
    image = picture.image.copy()
    truth = picture.truth
    for mask, joints in zip(truth["masks"], truth["joints_cam"], strict=True):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outlines, -1, (255, 230, 0), 1)
        points = joints[:22] @ truth["intrinsics"].T
        for x, y in points[:, :2] / points[:, 2:]:
            cv2.circle(image, (round(x), round(y)), 2, (0, 255, 255), -1)
    return image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write a contact sheet with the labels drawn")
    options = parser.parse_args()
    started = time.perf_counter()
    made = pictures(options.count, options.seed, options.size)
    print(f"{len(made)} pictures in {folder_of(options.seed, options.size)} ({time.perf_counter() - started:.0f} s)")
    if options.sheet:
        sheet = contact_sheet([squared(labelled(picture), 240) for picture in made[:48]], columns=8)
        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(options.sheet), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return 0


if __name__ == "__main__":
    sys.exit(main())
