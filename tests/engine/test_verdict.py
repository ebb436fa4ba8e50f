# SPDX-License-Identifier: GPL-3.0-or-later
"""A perfect recovery gets a perfect verdict, and each error shows in the number that is meant for it."""

import dataclasses

import numpy as np
import pytest

from recover_body.engine import verdict
from recover_body.engine.backends.fake import FakeBackend
from recover_body.engine.cameras import initial_camera
from recover_body.engine.frames import Footage
from recover_body.wire.messages import CameraHint, RecoverRequest

WIDTH, HEIGHT = 300, 400


@pytest.fixture(scope="module")
def camera():
    return initial_camera(WIDTH, HEIGHT, CameraHint(fx_px=500.0, cx_px=140.0), None)


@pytest.fixture(scope="module")
def track(camera):
    blank = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    footage = Footage("blank", (blank, blank), np.array([1, 2]), 24.0, None, WIDTH, HEIGHT)
    bodies = FakeBackend().recover(footage, camera, RecoverRequest("1", "blank"), lambda *_: None)
    return bodies.people[0]


def test_perfect(track, camera):
    judged = verdict.judge(track, camera, "neutral")
    assert judged.overlay_iou.tolist() == [1, 1]
    assert judged.reprojection_px.tolist() == [0, 0] and judged.reprojection_percent.tolist() == [0, 0]


def test_shifted_mask(track, camera):
    shifted = np.roll(track.masks[0], 20, axis=1)
    judged = verdict.judge(dataclasses.replace(track, masks=(track.masks[0], shifted)), camera, "neutral")
    both, either = (track.masks[0] & shifted).sum(), (track.masks[0] | shifted).sum()
    assert judged.overlay_iou == pytest.approx([1, both / either])


def test_shifted_keypoints_in_pixels_and_percent(track, camera):
    keypoints_px = track.keypoints_px + np.array([3.0, 4.0, 0.0])
    height_px = np.ptp(track.boxes_px[0, 1::2])
    judged = verdict.judge(dataclasses.replace(track, keypoints_px=keypoints_px), camera, "neutral")
    assert judged.reprojection_px == pytest.approx([5, 5])
    assert judged.reprojection_percent == pytest.approx([100 * 5 / height_px] * 2, rel=0.01)


def test_distrusted_and_unknown_keypoints_are_not_counted(track, camera):
    keypoints_px = track.keypoints_px.copy()
    keypoints_px[:, 3:] += [100, 100, 0]
    keypoints_px[:, 3:, 2] = 0.3
    reprojected_px = track.reprojected_px.copy()
    reprojected_px[:, 0] = np.nan
    changed = dataclasses.replace(track, keypoints_px=keypoints_px, reprojected_px=reprojected_px)
    assert verdict.judge(changed, camera, "neutral").reprojection_px.tolist() == [0, 0]


def test_what_cannot_be_judged_is_nan(track, camera):
    nothing = dataclasses.replace(
        track,
        present=np.array([True, False]),
        masks=(None, None),
        keypoints_px=track.keypoints_px * [1, 1, 0],
    )
    judged = verdict.judge(nothing, camera, "neutral")
    for values in (judged.overlay_iou, judged.reprojection_px, judged.reprojection_percent):
        assert np.isnan(values).all()


def test_size_in_picture_is_the_same_standing_lying_and_cut_off():
    box = np.array([[100.0, 50], [150, 250]])
    assert verdict.size_in_picture(box, 400, 300) == 200
    assert verdict.size_in_picture(box[:, ::-1], 400, 300) == 200
    assert verdict.size_in_picture(box + np.array([0, 100]), 400, 300) == 150
    assert np.isnan(verdict.size_in_picture(box - 1000, 400, 300))
    assert np.isnan(verdict.size_in_picture(np.full((4, 2), np.nan), 400, 300))


def test_empty_masks_have_no_overlap():
    assert verdict.intersection_over_union(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0
