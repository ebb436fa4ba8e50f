# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovered person knows how wrong it is, and each kind of failure says what was not trusted."""

import csv
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from recover_body.engine import doubts, trust, trust_table
from recover_body.engine.errors import NobodyFound
from recover_body.engine.pipeline import recover
from recover_body.engine.verdict_files import write_plot, write_table
from recover_body.models.body_model import load_body
from recover_body.tests.synthetic.pictures import ROOT
from recover_body.wire.messages import FrameRange, RecoverRequest

NAMES = load_body("neutral").joint_names


def test_more_of_a_sign_is_never_taken_for_a_better_fit():
    assert all(sign.weight >= 0 and sign.spread > 0 for sign in trust_table.SIGNS.values())


def test_whom_the_body_covers_less_is_farther_off():
    as_fitted = np.full((4, 22), 50.0)
    well, usual, badly, unknown = trust.with_overlap(as_fitted, np.array([0.95, 0.87, 0.5, np.nan])).mean(1)
    assert well < usual < badly and unknown == 50
    assert badly == trust.with_overlap(as_fitted[:1], np.array([0.1])).mean()  # nobody has measured what lies beyond


def test_a_bone_along_the_ray_points_at_the_camera():
    joints = np.zeros((2, 22, 3))
    joints[:, NAMES.index("left_elbow")] = (0.5, 0.2, 2.0)
    joints[:, NAMES.index("left_wrist")] = joints[0, NAMES.index("left_elbow")] * 0.9, (0.5, 0.5, 2.0)
    cosines = trust.to_camera(SimpleNamespace(joints=joints), ("left_elbow", "left_wrist"), NAMES)
    assert cosines[0] == pytest.approx(1) and cosines[1] < 0.3


@pytest.mark.parametrize("found, words", [
    ([("the left leg", "points at the camera")], ("the left leg points at the camera",)),
    (
        [("the left leg", "is outside the picture"), ("", "it is dark"), ("the right leg", "is outside the picture")],
        ("both legs are outside the picture", "it is dark"),
    ),
    (
        [("the head", "is outside the picture"), ("the left hand", "is outside the picture")],
        ("the head and the left hand are outside the picture",),
    ),
])  # fmt: skip
def test_words(found, words):
    assert doubts._in_words(found) == words


@pytest.mark.parametrize("error_mm, said, expected", [
    ([87.0], (), "Expected error about 9 cm."),
    ([123.0], ("it may be nobody", "the person is upside down"),
     "Expected error about 12 cm: it may be nobody; the person is upside down."),
    ([50.0, np.nan, 50.0, 180.0], (), "Expected error about 5 cm, 17 cm in the worst frames."),
    ([np.nan], ("it may be nobody",), ""),
])  # fmt: skip
def test_sentence(error_mm, said, expected):
    assert doubts.sentence(np.array(error_mm), said) == expected


# ---- kinds of failure, on a photograph ----


@pytest.fixture(scope="module")
def dancer():
    path = ROOT.parent / "shared" / "fixtures" / "images" / "dancing.jpg"
    if not path.exists():
        pytest.skip(f"This test needs {path.relative_to(ROOT.parent)} next to the repository.")
    return cv2.imread(str(path))


def recovered(picture, tmp_path):
    """The largest person."""
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    request = RecoverRequest("1", str(tmp_path / "picture.png"), backend="landmarks", people="largest", want_rigs=False)
    return recover(request).take.people[0]


@pytest.fixture(scope="module")
def as_it_is(dancer, tmp_path_factory):
    return recovered(dancer, tmp_path_factory.mktemp("dancer"))


def scaled(picture):
    factor = 40 / 900
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def hidden_legs(picture):
    picture = picture.copy()
    picture[420:, 450:1050] = (60, 90, 120)
    return picture


KINDS = {  # how it comes about, what is said, and what the expected error is at least, as a multiple
    "too small": (scaled, "the person is less than 100 pixels large", 0.9),
    "cut off at the chest": (lambda picture: picture[:480], "outside the picture", 1.3),
    "half hidden": (hidden_legs, "could not be seen", 1.3),
    "on the head": (lambda picture: picture[::-1, ::-1].copy(), "the person is upside down", 0.9),
}


@pytest.mark.parametrize("kind", KINDS)
def test_failures_say_what_was_not_trusted(kind, dancer, as_it_is, tmp_path):
    change, words, least = KINDS[kind]
    person = recovered(change(dancer), tmp_path)
    assert words in " ".join(person.notes)
    assert person.expected_error_mm[0] > least * as_it_is.expected_error_mm[0]


def test_a_tree_taken_for_a_person_may_be_nobody(dancer, tmp_path):
    person = recovered(dancer[:, 1000:], tmp_path)
    assert "it may be nobody" in person.doubts and person.expected_error_mm[0] > 150


def test_every_joint_has_its_share(as_it_is):
    errors_mm = as_it_is.joint_error_mm
    assert errors_mm.shape == (1, 22) and errors_mm[0, 0] == 0 and (errors_mm[0, 1:] > 0).all()
    assert errors_mm.mean() == pytest.approx(as_it_is.expected_error_mm[0])
    assert errors_mm[0, NAMES.index("left_foot")] > errors_mm[0, NAMES.index("left_hip")]


def test_clips_know_it_in_every_frame(shared, tmp_path):
    source = str(shared("fixtures/video/tennis.mp4"))
    request = RecoverRequest(
        "1", source, backend="landmarks", people="largest", frames=FrameRange(1, 8), want_rigs=False
    )
    take = recover(request).take
    (person,) = take.people
    seen = person.present & (person.score > 0)
    assert np.isfinite(person.expected_error_mm[seen]).all() and seen.sum() > 2
    assert (person.expected_error_mm[seen] > 20).all() and (person.expected_error_mm[seen] < 200).all()
    assert person.notes[-1].startswith("Expected error about")
    write_table(tmp_path / "verdict.csv", take)
    write_plot(tmp_path / "verdict.png", take)
    with open(tmp_path / "verdict.csv", newline="") as stream:
        told = [float(row["expected_error_mm"]) for row in csv.DictReader(stream)]
    assert told == pytest.approx(person.expected_error_mm.tolist(), rel=1e-3, nan_ok=True)


def test_nobody_is_an_error_with_a_remedy(tmp_path):
    cv2.imwrite(str(tmp_path / "sea.png"), np.full((480, 640, 3), (180, 120, 60), np.uint8))
    with pytest.raises(NobodyFound, match=r"Nobody was found in sea\.png") as caught:
        recover(RecoverRequest("1", str(tmp_path / "sea.png"), backend="landmarks"))
    assert "larger" in caught.value.remedy
