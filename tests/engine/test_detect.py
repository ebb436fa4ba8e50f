# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at people: at any angle, in the mirror, and again where the body does not cover them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recover_body.engine import detect, second_look
from recover_body.engine.backends.landmarks import LandmarksBackend
from recover_body.engine.cameras import initial_camera
from recover_body.engine.frames import read
from recover_body.engine.mediapipe_graphs import Details, Landmarks
from recover_body.wire.messages import CameraHint, RecoverRequest

pytest.importorskip("mediapipe")


@pytest.fixture
def photograph(shared):
    """(H, W, 3) uint8 RGB, small: one person who leans to the left."""
    image = cv2.imread(str(shared("fixtures/images/barbell_lunge.jpg")))
    return cv2.cvtColor(cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_regions_of_a_turned_picture_lie_where_the_person_is(photograph, quarters):
    (upright, *_), (turned, *_) = detect.find_regions(photograph), detect._in_turned(photograph, quarters)
    assert np.linalg.norm(turned.centre_px - upright.centre_px) < 0.1 * upright.side_px
    assert np.cos(turned.angle_rad - upright.angle_rad) > 0.97


def test_the_mirror_shows_the_same_person(photograph):
    (person,) = detect.find_people(photograph, closer=False)
    size_px = np.linalg.norm(person.box_px[2:] - person.box_px[:2])
    looks = second_look.other_looks(photograph, person)
    assert len(looks) >= 2
    for look in looks:
        seen = np.minimum(look.visibility, person.visibility) > 0.8
        assert np.linalg.norm(look.points_px - person.points_px, axis=1)[seen].mean() < 0.05 * size_px
        assert abs(look.metric_points - person.metric_points)[seen].mean() < 0.1


def test_somebody_who_was_misread_is_looked_at_again(photograph, tmp_path, monkeypatch):
    """The arms and legs of the first look point elsewhere; the body is found on the person all the same."""
    (person,) = detect.find_people(photograph)
    points_px, metric = person.points_px.copy(), person.metric_points.copy()
    hips = slice(23, 25)
    points_px[25:] = 2 * points_px[hips].mean(0) - points_px[25:]
    metric[25:] *= -1
    monkeypatch.setattr(
        detect, "find_people", lambda *_, **__: [replace(person, points_px=points_px, metric_points=metric)]
    )
    path = tmp_path / "photograph.png"
    cv2.imwrite(str(path), cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
    footage = read(str(path))
    camera = initial_camera(footage.width, footage.height, CameraHint(), None)
    request = RecoverRequest("1", str(path), want_rigs=False)
    bodies = LandmarksBackend().recover(footage, camera, request, lambda *_: None)
    knees_px = bodies.people[0].reprojected_px[0, 25:27]
    assert np.linalg.norm(knees_px - person.points_px[25:27], axis=1).max() < 0.1 * np.ptp(person.box_px[1::2])


def test_a_pixel_is_the_likeliest_person_s():
    likely = cv2.GaussianBlur(np.random.default_rng(0).random((3, 60, 80), np.float32).transpose(1, 2, 0), (0, 0), 4)
    likely = (likely - likely.mean()) * 8 + 0.5
    people = []
    for number in range(3):
        mask = likely[..., number] > 0.5
        points = np.zeros((33, 2)), np.ones(33), np.zeros((33, 3))
        person = detect.Detection(detect._box(mask, np.zeros((0, 2))), 1.0, *points, mask, Details(None, None, None))
        people.append((Landmarks(*points, likely[..., number], None, None, None, ""), person))
    owner = likely.argmax(-1)
    for number, person in enumerate(detect._share_pixels(people)):
        np.testing.assert_array_equal(person.mask, (likely[..., number] > 0.5) & (owner == number))
