# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything after the network, done again from a take: nothing changes unasked, and every choice can be taken back."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from recover_body.engine.__main__ import main
from recover_body.engine.errors import BadRequest, Cancelled
from recover_body.engine.pipeline import recover
from recover_body.engine.rerun import EARLIER_NOTE, rerun
from recover_body.models.body_model import load_body
from recover_body.wire.frames import project
from recover_body.wire.messages import CameraHint, MotionOptions, RecoverRequest, RerunRequest
from recover_body.wire.motion import AS_SEEN
from recover_body.wire.take import Take, read_take, write_take

RAW = replace(AS_SEEN, ground=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("frames")
    for number in range(1, 9):
        Image.new("RGB", (160, 120), (90, 120, 90)).save(folder / f"shot_{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def take(pictures) -> Take:
    """Two people, seen with some jitter, one of them with a gap; nothing done to the motion yet."""
    seen = recover(RecoverRequest("1", str(pictures), backend="fake", motion=RAW, want_rigs=False)).take
    rng = np.random.default_rng(3)
    (first,) = seen.seen
    shaken = first.translation + rng.normal(0, 0.01, first.translation.shape)
    aside = first.translation + rng.normal(0, 0.01, first.translation.shape) + np.array([0.3, 0, 0.5])
    present = np.ones(8, bool)
    present[4:6] = False
    people = (
        replace(first, translation=shaken),
        replace(first, id=1, name="Person 2", translation=aside, present=present),
    )
    return replace(seen, seen=people, people=people)


def again(take: Take, **asked) -> Take:
    return rerun(RerunRequest("2", take, **asked)).take


def assert_same_people(one: Take, other: Take) -> None:
    assert [p.id for p in one.people] == [p.id for p in other.people]
    for a, b in zip(one.people, other.people, strict=True):
        for f in fields(a):
            left, right = getattr(a, f.name), getattr(b, f.name)
            if isinstance(left, np.ndarray):
                np.testing.assert_array_equal(left, right, err_msg=f.name)
            elif f.name != "masks":
                assert left == right, f.name
    np.testing.assert_array_equal(one.camera.T_world_camera, other.camera.T_world_camera)
    np.testing.assert_array_equal(one.camera.fx_px, other.camera.fx_px)
    assert one.notes == other.notes and one.motion == other.motion


def test_the_same_options_give_the_same_take(take, tmp_path):
    once = again(take, motion=MotionOptions())
    assert_same_people(again(once), once)
    read = read_take(write_take(tmp_path / "a.take.npz", once))
    assert_same_people(again(read), once)
    assert_same_people(again(again(once, motion=MotionOptions(smoothing_s=0.3)), motion=MotionOptions()), once)


def test_recovering_with_options_is_rerunning_with_them(pictures):
    asked = MotionOptions(smoothing_s=0.2)
    at_once = recover(RecoverRequest("1", str(pictures), backend="fake", motion=asked, want_rigs=False)).take
    later = again(recover(RecoverRequest("1", str(pictures), backend="fake", want_rigs=False)).take, motion=asked)
    assert_same_people(at_once, later)


def test_nothing_asked_is_what_was_seen(take):
    untouched = again(take, motion=AS_SEEN)
    for seen, person in zip(take.seen, untouched.people, strict=True):
        for name in ("pose", "translation", "present", "expression", "score"):
            np.testing.assert_array_equal(getattr(person, name), getattr(seen, name))


def test_smoothing_takes_jitter_and_gaps_are_filled_and_marked(take):
    moved = again(take, motion=MotionOptions())
    jitter = lambda person: np.abs(np.diff(person.translation, 2, axis=0)).mean()  # noqa: E731
    assert jitter(moved.people[0]) < 0.6 * jitter(take.seen[0])
    assert moved.people[1].present.all() and moved.people[1].joint_inferred[4:6].all()
    assert not again(take, motion=MotionOptions(fill_gaps=False)).people[1].present[4:6].any()


def test_people_and_names_stay_through_later_reruns_and_can_come_back(take):
    one = again(take, people=(1,), names={"1": "Ada"})
    assert [(p.id, p.name) for p in one.people] == [(1, "Ada")]
    smoother = again(one, motion=MotionOptions(smoothing_s=0.3))
    assert [(p.id, p.name) for p in smoother.people] == [(1, "Ada")]
    both = again(smoother, people=(1, 0))
    assert [(p.id, p.name) for p in both.people] == [(0, "Person 1"), (1, "Ada")]


@pytest.mark.parametrize("asked", [{"people": (7,)}, {"people": ()}, {"names": {"7": "Ada"}}, {"names": {"x": "Ada"}}])
def test_people_who_are_not_there_are_named(take, asked):
    with pytest.raises(BadRequest) as caught:
        again(take, **asked)
    assert "0 (Person 1), 1 (Person 2)" in caught.value.remedy


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.6, 4.0])
def test_another_lens_keeps_people_on_their_pixels(take, factor):
    before = again(take, motion=AS_SEEN)
    after = again(take, motion=AS_SEEN, camera=CameraHint(fx_px=factor * take.camera.fx_px[0]))
    size_px = np.ptp(before.people[0].boxes_px[0, 1::2])
    for old, new in zip(before.people, after.people, strict=True):
        apart = np.linalg.norm(_joints_px(new, after) - _joints_px(old, before), axis=-1)
        assert apart.mean() < 0.015 * size_px
        depth = lambda person: person.translation[person.present, 2]  # noqa: E731
        np.testing.assert_allclose(depth(new) / depth(old), factor, rtol=0.12)
    assert after.camera.source == "given" and after.camera.fx_px[0] == factor * take.camera.fx_px[0]


def test_a_lens_stays_through_later_reruns_and_can_be_taken_back(take):
    first = again(take, motion=AS_SEEN)
    longer = again(first, camera=CameraHint(focal_mm=85, sensor_mm=36))
    assert longer.camera.fx_px[0] == pytest.approx(85 / 36 * 160)
    assert_same_people(again(longer), longer)
    back = again(longer, camera=CameraHint(fx_px=float(first.camera.fx_px[0])))
    np.testing.assert_array_equal(back.people[0].pose, first.people[0].pose)


def test_a_take_without_what_was_seen_is_worked_on_as_it_is(take):
    finished = again(take, motion=MotionOptions())
    old = replace(finished, seen=(), seen_camera=None, seen_notes=())
    after = again(old, motion=MotionOptions())
    assert EARLIER_NOTE in after.notes
    assert after.people[1].present.all() and after.people[1].score[4:6].max() == 0
    assert_same_people(again(after), after)


def test_a_cancelled_rerun_stops(take):
    def stop(_):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        rerun(RerunRequest("2", take), stop)


def test_the_engine_answers_a_rerun(take):
    import sys

    from recover_body.addon.client import EngineClient
    from recover_body.wire.messages import Recovery

    with EngineClient([sys.executable, "-m", "recover_body.engine", "serve"]) as client:
        client.submit(RerunRequest("r", take, motion=AS_SEEN, people=(1,)))
        answer = client.wait("r", timeout_s=60)
        assert isinstance(answer, Recovery) and len(answer.rigs) == 1
        assert_same_people(answer.take, again(take, motion=AS_SEEN, people=(1,)))
        client.submit(RerunRequest("s", take, people=(9,)))
        assert client.wait("s", timeout_s=60).code == "bad_request"


def test_the_command_line_reruns(take, tmp_path, capfd):
    path = write_take(tmp_path / "in" / "shot.take.npz", take)
    options = ["--out", str(tmp_path / "out"), "--smooth", "0.2", "--people", "2", "--name", "2=Ada", "--overlay"]
    assert main(["rerun", str(path), *options, "--no-foot-lock", "--json"]) == 0
    done = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert done[-1] == {"event": "end", "exit_code": 0}
    after = read_take(tmp_path / "out" / "shot.take.npz")
    assert [p.name for p in after.people] == ["Ada"]
    assert after.motion == MotionOptions(smoothing_s=0.2, foot_lock=False, fill_gaps=False, ground=False)
    assert (tmp_path / "out" / "shot.overlay.mp4").stat().st_size > 1000
    assert main(["rerun", str(path), "--out", str(tmp_path / "in"), "--smooth", "auto"]) == 0  # in its own place
    assert len(read_take(path).seen) == 2
    (tmp_path / "bad.take.npz").write_text("no")
    assert main(["rerun", str(tmp_path / "bad.take.npz"), "--out", str(tmp_path / "out")]) == 2
    assert "not a readable take" in capfd.readouterr().err


def _joints_px(person, take: Take) -> np.ndarray:
    """(F, 22, 2) of the frames in which the person is present."""
    out = load_body(person.body).forward(
        person.pose[person.present], person.betas[None], None, person.translation[person.present]
    )
    return project(out.joints[:, :22], take.camera.intrinsics())
