# SPDX-License-Identifier: GPL-3.0-or-later
"""People the user points at: found by a quick look, then the ones who are recovered, by the names they were given."""

import cv2
import numpy as np
import pytest

from recover_body.engine import chosen
from recover_body.engine.errors import NobodyFound
from recover_body.engine.people_finder import find_people
from recover_body.engine.pipeline import recover
from recover_body.wire.messages import ChosenPerson, FindPeopleRequest, RecoverRequest

LEFT, RIGHT = (100.0, 50.0, 200.0, 400.0), (300.0, 60.0, 420.0, 420.0)


def still(*boxes):
    return [(np.array([1]), np.array([box])) for box in boxes]


def test_boxes_find_their_people_whatever_the_order():
    wanted = (ChosenPerson(RIGHT, name="Ben"), ChosenPerson(LEFT, name="Anna"))
    assert chosen.assign(still(LEFT, RIGHT), wanted) == [1, 0]
    moved = tuple(np.array(RIGHT) + 12)
    assert chosen.assign(still(LEFT, moved), wanted) == [1, 0]


def test_nobody_is_meant_twice_and_strangers_are_not_meant():
    twice = (ChosenPerson(LEFT), ChosenPerson(tuple(np.array(LEFT) + 8)))
    assert chosen.assign(still(LEFT), twice) == [0, None]
    assert chosen.assign(still(LEFT), (ChosenPerson(RIGHT),)) == [None]
    assert chosen.assign([], (ChosenPerson(RIGHT),)) == [None]


def test_in_a_clip_the_box_counts_in_its_own_frame():
    frames = np.arange(1, 101)
    walk = np.linspace(0, 400, 100)[:, None] * [1, 0, 1, 0]
    away_later = (frames[:30], (np.array(LEFT) + walk)[:30])
    comes_there = (frames, np.array(LEFT)[None] + walk[::-1])
    people = [away_later, comes_there]
    assert chosen.assign(people, (ChosenPerson(LEFT, frame=1),)) == [0]
    assert chosen.assign(people, (ChosenPerson(LEFT, frame=100),)) == [1]
    at_35 = tuple((np.array(LEFT) + walk)[29])
    assert chosen.assign(people, (ChosenPerson(at_35, frame=35),)) == [0], "lost shortly before"
    assert chosen.assign(people, (ChosenPerson(at_35, frame=90),)) == [None]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((480, 640, 3), 128, np.uint8))
    return str(path)


def test_names_reach_the_take_and_the_rigs(picture):
    wanted = (ChosenPerson(LEFT, name="Änne"), ChosenPerson(RIGHT))
    recovery = recover(RecoverRequest("1", picture, backend="fake", chosen=wanted))
    assert [person.name for person in recovery.take.people] == ["Änne", "Person 2"]
    assert recovery.rigs[0].name.startswith("Änne")
    left, right = (person.boxes_px[0] for person in recovery.take.people)
    for made, asked in ((left, LEFT), (right, RIGHT)):
        assert chosen.overlap(made, np.array(asked)) > chosen.SAME_BOX


def two_people(shared, tmp_path):
    """The fixture's person, and the same one mirrored beside."""
    one = cv2.imread(str(shared("fixtures/images/barbell_lunge.jpg")))
    one = cv2.resize(one, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), np.hstack([one, one[:, ::-1]]))
    return str(path), one.shape[1]


def test_who_is_chosen_in_a_photo_is_who_is_recovered(shared, tmp_path):
    picture, half = two_people(shared, tmp_path)
    found = find_people(FindPeopleRequest("1", picture))
    assert len(found.boxes_px) == 2 and (found.scores > 0.4).all() and found.width == 2 * half
    sides = [box[[0, 2]].mean() > half for box in found.boxes_px]
    assert sorted(sides) == [False, True]
    for side, box_px in zip(sides, found.boxes_px, strict=True):
        wanted = (ChosenPerson(tuple(box_px), name="Cho"),)
        recovery = recover(RecoverRequest("2", picture, backend="landmarks", chosen=wanted))
        (person,) = recovery.take.people
        assert person.name == "Cho" and (person.boxes_px[0, [0, 2]].mean() > half) == side


def test_who_is_not_there_any_more_is_told(shared, tmp_path):
    picture, half = two_people(shared, tmp_path)
    nowhere = ChosenPerson((half - 20.0, 0.0, half + 20.0, 40.0), name="Nobody")
    with pytest.raises(NobodyFound, match="chosen"):
        recover(RecoverRequest("1", picture, backend="landmarks", chosen=(nowhere,)))


def test_looking_at_a_picture_without_people_finds_none(picture):
    found = find_people(FindPeopleRequest("1", picture))
    assert found.boxes_px.shape == (0, 4) and (found.width, found.height) == (640, 480)
