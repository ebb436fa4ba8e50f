# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay picture shows the body where it is, leaves the rest of the photo alone, and carries the verdict."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import overlay
from recover_body.engine.pipeline import recover
from recover_body.engine.raster import silhouette
from recover_body.engine.verdict import intersection_over_union
from recover_body.models.body_model import load_body
from recover_body.wire.messages import CameraHint, RecoverRequest


def recovered(tmp_path, width, height):
    photo = np.full((height, width, 3), (30, 120, 60), np.uint8)
    path = tmp_path / f"{width}x{height}.png"
    Image.fromarray(photo).save(path)
    request = RecoverRequest("1", str(path), backend="fake", camera=CameraHint(cx_px=0.4 * width))
    return photo, path, recover(request).take


@pytest.mark.parametrize("size", [(800, 600), (600, 800), (200, 300), (3000, 2000)])
def test_the_body_is_where_it_is_and_the_photo_elsewhere(tmp_path, size):
    photo, _, take = recovered(tmp_path, *size)
    drawn = overlay.draw_overlay(photo, take)
    scale = drawn.shape[1] / size[0]
    rows = round(size[1] * scale)
    assert 640 <= max(rows, drawn.shape[1]) <= 1600
    person = take.people[0]
    body = load_body("neutral")
    posed = body.forward(person.pose, person.betas, person.expression, person.translation)
    intrinsics = np.diag([scale, scale, 1]) @ take.camera.intrinsics()
    mask = silhouette(posed.vertices[0], body.faces, intrinsics, drawn.shape[1], rows)
    touched = np.abs(drawn[:rows].astype(int) - (30, 120, 60)).max(2) > 12
    assert intersection_over_union(mask, touched) > 0.9  # the line around the body adds a few pixels
    assert not touched[:, : int(0.05 * drawn.shape[1])].any()


def test_inferred_limbs_look_different(tmp_path):
    photo, _, take = recovered(tmp_path, 400, 600)
    inferred = take.people[0].joint_inferred.copy()
    inferred[0, load_body("neutral").joint_names.index("left_shoulder")] = True
    guessed = replace(take, people=(replace(take.people[0], joint_inferred=inferred),))
    one, other = overlay.draw_overlay(photo, take), overlay.draw_overlay(photo, guessed)
    changed = np.abs(one.astype(int) - other).max(2) > 30
    assert 20 < changed.sum() < 0.02 * changed.size


def test_somebody_behind_the_camera_and_somebody_absent_do_no_harm(tmp_path):
    photo, _, take = recovered(tmp_path, 400, 600)
    behind = replace(take.people[0], translation=take.people[0].translation * -1)
    absent = replace(take.people[0], present=np.array([False]))
    drawn = overlay.draw_overlay(photo, replace(take, people=(behind, absent)))
    assert (drawn[: -drawn.shape[0] // 4] == (30, 120, 60)).all()


def test_many_people_make_the_caption_grow(tmp_path):
    photo, _, take = recovered(tmp_path, 400, 600)
    crowd = replace(take, people=take.people * 9)
    assert overlay.draw_overlay(photo, crowd).shape[0] > overlay.draw_overlay(photo, take).shape[0]


def test_the_file_is_a_png(tmp_path):
    _, path, take = recovered(tmp_path, 400, 600)
    overlay.write_overlay(tmp_path / "hidden.part", str(path), take)
    assert Image.open(tmp_path / "hidden.part").format == "PNG"
