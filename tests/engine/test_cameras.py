# SPDX-License-Identifier: GPL-3.0-or-later
"""The best source of the focal length wins, and says what it is."""

import numpy as np
import pytest

from recover_body.engine import cameras
from recover_body.engine.cameras import initial_camera
from recover_body.wire.frames import project, rays
from recover_body.wire.messages import CameraHint


@pytest.mark.parametrize("size", [(1500, 1000), (1000, 1500), (1200, 1200)])
@pytest.mark.parametrize("hint, exif, source, focal_px", [
    (CameraHint(fx_px=900.0, focal_mm=50.0), 35.0, "given", lambda longer: 900.0),
    (CameraHint(focal_mm=50.0), 35.0, "given", lambda longer: 50 / 36 * longer),
    (CameraHint(focal_mm=25.0, sensor_mm=18.0), None, "given", lambda longer: 50 / 36 * longer),
    (CameraHint(), 35.0, "exif", lambda longer: 35 / 36 * longer),
])  # fmt: skip
def test_order_of_sources(size, hint, exif, source, focal_px):
    camera = initial_camera(*size, hint, exif)
    assert camera.source == source and camera.is_known
    assert camera.fx_px == camera.fy_px == pytest.approx(focal_px(max(size)))
    assert (camera.width, camera.height, camera.cx_px, camera.cy_px) == (*size, size[0] / 2, size[1] / 2)
    assert (camera.fx_sigma == 0) == (source == "given")


def test_nothing_known_is_an_assumption_that_says_so():
    camera = initial_camera(1500, 1000, CameraHint(), None)
    assert camera.source == "assumed" and not camera.is_known
    assert camera.fx_sigma == cameras.ASSUMED_SIGMA
    diagonal_fov = 2 * np.arctan(np.hypot(1500, 1000) / 2 / camera.fx_px)
    assert diagonal_fov == pytest.approx(cameras.ASSUMED_DIAGONAL_FOV_RAD)


def test_the_same_lens_turned_on_its_side_has_the_same_focal_length():
    for hint, exif in ((CameraHint(), None), (CameraHint(focal_mm=35.0), None), (CameraHint(), 28.0)):
        assert initial_camera(1500, 1000, hint, exif).fx_px == initial_camera(1000, 1500, hint, exif).fx_px


def test_principal_point_may_be_off_centre():
    camera = initial_camera(1500, 1000, CameraHint(cx_px=700.0, cy_px=0.0), None)
    assert (camera.cx_px, camera.cy_px) == (700, 0)
    assert project(np.array([0, 0, 2.0]), camera.matrix) == pytest.approx([700, 0])


def test_pixel_to_ray_to_pixel():
    camera = initial_camera(640, 480, CameraHint(cx_px=300.0), 28.0)
    points_px = np.random.default_rng(0).uniform(-100, 700, (50, 2))
    assert project(3.7 * rays(points_px, camera.matrix), camera.matrix) == pytest.approx(points_px)


@pytest.mark.parametrize("values", [
    {"focal_mm": 0.0}, {"focal_mm": -5.0}, {"sensor_mm": 0.0}, {"fx_px": float("nan")}, {"fx_px": float("inf")},
])  # fmt: skip
def test_nonsense_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        CameraHint(**values)
