# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops made where the network runs are those that `crop.py` makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recover_body.engine.crop import IMAGE_STD, Crop, blur_sigma_px, cut, network_input
from recover_body.engine.crop_torch import network_input as network_input_torch
from recover_body.tests import fill_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (1000, 800, 3), dtype=np.uint8)
    noise[600:] = fill_weights.standin_image(4, "crops", 400, 800)
    return noise


def levels_apart(picture: np.ndarray, crops: list[Crop], where: torch.device = CPU) -> np.ndarray:
    """(B, 3, 256, 256) brightness levels by which both ways differ."""
    exact = network_input(np.ascontiguousarray(picture[..., ::-1]), crops)
    ours = network_input_torch(picture, crops, where).cpu().numpy()
    assert ours.shape == exact.shape and ours.dtype == exact.dtype
    return np.abs(ours - exact) * IMAGE_STD[:, None, None]


def test_unblurred_crops_are_equal_bit_for_bit(picture):
    draw = np.random.default_rng(1)
    corners, sizes = draw.uniform(-80, 700, (16, 2)), draw.uniform(3, 420, (16, 2))
    crops = [Crop.around([*corner, *(corner + size)]) for corner, size in zip(corners, sizes, strict=True)]
    assert all(blur_sigma_px(crop) is None for crop in crops)
    assert levels_apart(picture, crops).max() < 1e-4  # float32 subtraction and division may round differently
    bgr = np.ascontiguousarray(picture[..., ::-1])
    assert any(not cut(bgr, crop).any(-1).all() for crop in crops)  # some reach beyond the picture


def test_blurred_crops_agree_far_within_one_level(picture):
    boxes = [(-300, 200, 900, 1300), (20, 30, 500, 595)]
    crops = [Crop.around(box) for box in boxes]
    assert all(blur_sigma_px(crop) is not None for crop in crops)
    assert levels_apart(picture, crops).max() < 0.01


def test_no_crops(picture):
    assert network_input_torch(picture, [], CPU).shape == (0, 3, 256, 256)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card and a CUDA build of torch")
def test_on_a_card(picture):
    crops = [Crop.around(box) for box in ((100, 50, 700, 990), (200, 300, 400, 700), (-50, -50, 100, 100))]
    assert levels_apart(picture, crops, torch.device("cuda")).max() < 1
