# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops: the exact pixels of the published programs, and points that find their way back."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from recover_body.engine.crop import (
    CROP_FOCAL_PX,
    Crop,
    EmptyBox,
    cut,
    imagined_focal_px,
    network_input,
    normalised,
)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (260, 340, 3), dtype=np.uint8)


def sampled_by_the_rule(image: np.ndarray, crop: Crop) -> np.ndarray:
    """OpenCV 4's bilinear sampling in whole numbers: 1/32 pixel steps, 15-bit weights. RGB."""
    scale = crop.side_px / 256
    start = crop.center_px.astype(np.float64) - 128 * scale
    steps = np.rint(np.arange(256) * scale * 1024).astype(np.int64)
    x = (steps + int(np.rint(start[0] * 1024)) + 16) >> 5
    y = (steps + int(np.rint(start[1] * 1024)) + 16) >> 5
    total = np.zeros((256, 256, 3), np.int64)
    for dy, weight_y in ((0, 32 - (y & 31)), (1, y & 31)):
        for dx, weight_x in ((0, 32 - (x & 31)), (1, x & 31)):
            rows, columns = (y >> 5) + dy, (x >> 5) + dx
            inside = ((rows >= 0) & (rows < image.shape[0]))[:, None] & ((columns >= 0) & (columns < image.shape[1]))
            pixels = image[np.clip(rows, 0, image.shape[0] - 1)][:, np.clip(columns, 0, image.shape[1] - 1)]
            total += (32 * weight_y[:, None] * weight_x * inside)[..., None] * pixels.astype(np.int64)
    return ((total + 2**14) >> 15).astype(np.uint8)[..., ::-1]


@pytest.mark.parametrize(
    "box", [(40, 30, 190, 250), (100.3, 20.8, 170.2, 201.4), (-60, 150, 120, 400), (300.5, 5.25, 420, 90)]
)
def test_the_pixels_are_those_of_the_rule(image, box):
    crop = Crop.around(box)
    ours, rule = cut(image, crop), sampled_by_the_rule(image, crop)
    # The rule is exact in exact arithmetic; the affine map is solved from single-precision corners, as published.
    assert (ours != rule).mean() < 1e-3
    assert np.abs(ours.astype(int) - rule).max() <= 8


def test_blurring_only_the_neighbourhood_is_the_same_as_blurring_everything():
    image = np.random.default_rng(4).integers(0, 256, (900, 1400, 3), dtype=np.uint8)
    crop = Crop.around((500, 100, 900, 820))
    sigma_px = (crop.side_px / 512 - 1) / 2
    everything = scipy.ndimage.gaussian_filter(image.astype(np.float64), (sigma_px, sigma_px, 0), mode="nearest")
    x = np.arange(256) * crop.scale + crop.center_px[0] - 128 * crop.scale
    y = np.arange(256) * crop.scale + crop.center_px[1] - 128 * crop.scale
    grid = np.meshgrid(y, x, indexing="ij")
    expected = np.stack(
        [scipy.ndimage.map_coordinates(everything[..., c], grid, order=1, cval=0) for c in (2, 1, 0)], -1
    )
    found = cut(image, crop)
    assert found.dtype == np.float64
    # OpenCV steps in 1/32 pixel.
    assert np.abs(found - expected).mean() < 0.3
    assert np.abs(found - expected).max() < 5


def test_training_crops_are_never_blurred():
    image = np.random.default_rng(5).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    assert cut(image, Crop.around((0, 0, 800, 900)), antialias=False).dtype == np.uint8


def test_a_point_goes_to_the_crop_and_back():
    crop = Crop.around((31.5, 12.25, 220, 300))
    points_px = np.random.default_rng(6).uniform(-50, 400, (20, 2))
    np.testing.assert_allclose(crop.to_image(crop.to_crop(points_px)), points_px, atol=1e-9)


def test_what_lies_under_a_crop_pixel_is_where_the_map_says():
    image = np.zeros((400, 400, 3), np.uint8)
    image[150:160, 220:230] = 255  # centred on (225, 155)
    crop = Crop.around((100, 50, 300, 350))
    rows, columns = np.nonzero(cut(image, crop)[..., 0] > 127)
    center_px = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    np.testing.assert_allclose(crop.to_image(center_px), (225, 155), atol=0.7)


@pytest.mark.parametrize("box", [(10, 10, 10, 50), (10, 50, 60, 50), (60, 10, 10, 50), (0, 0, np.nan, 5)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(EmptyBox, match="no area"):
        Crop.around(box)


def test_wide_and_tall_boxes_grow_to_portrait():
    assert Crop.around((0, 0, 90, 30)).side_px == pytest.approx(120)
    assert Crop.around((0, 0, 30, 200)).side_px == pytest.approx(200)


def test_the_full_camera_sees_the_body_where_the_crop_saw_it():
    crop, size = Crop.around((400, 90, 560, 420)), (800, 450)
    camera = np.array([0.9, 0.07, -0.12])
    point_cam = np.array([0.0, 0.0, 0.0])
    in_crop = camera[1:] / (2 * CROP_FOCAL_PX / (256 * camera[0])) * CROP_FOCAL_PX + 128
    for focal_px in (None, 700.0, 12000.0):
        translation = crop.full_image_translation(camera, size, focal_px)
        point = point_cam + translation
        in_image = point[:2] / point[2] * (focal_px or imagined_focal_px(size)) + np.array(size) / 2
        # The published formula and the published sampling differ by less than half a pixel.
        np.testing.assert_allclose(in_image, crop.to_image(in_crop), atol=0.5)


def test_a_vanishing_scale_gives_a_finite_camera():
    assert np.isfinite(Crop.around((0, 0, 50, 100)).full_image_translation(np.zeros(3), (100, 100))).all()


def test_the_network_input_is_one_batch(image):
    crops = [Crop.around((40, 30, 190, 250)), Crop.around((0, 0, 60, 120))]
    batch = network_input(image, crops)
    assert batch.shape == (2, 3, 256, 256) and batch.dtype == np.float32
    np.testing.assert_array_equal(batch[1], normalised(cut(image, crops[1])))
    assert network_input(image, []).shape == (0, 3, 256, 256)
