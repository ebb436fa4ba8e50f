# SPDX-License-Identifier: GPL-3.0-or-later
"""AiOS and BLADE from the imported file to the take, on generated weights; and BLADE's camera for other backends."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from recover_body.engine import camera_depth, camera_published_people, errors
from recover_body.engine.__main__ import main
from recover_body.engine.backends import aios_clip, automatic, blade_input, blade_networks, clip_path, neural, registry
from recover_body.engine.backends.aios import AiosBackend
from recover_body.engine.backends.aios_answer import Answer, believed, place_by_landmarks, with_own_hands_and_jaw
from recover_body.engine.backends.blade import BladeBackend
from recover_body.engine.backends.landmarks import LandmarksBackend
from recover_body.engine.camera_refine import Believed
from recover_body.engine.cameras import FilmedCamera
from recover_body.engine.fit.close_ups import CloseUps
from recover_body.engine.follow import Sighting
from recover_body.engine.follow_clip import Followed
from recover_body.engine.masks import PackedMask
from recover_body.engine.mediapipe_graphs import Region
from recover_body.engine.raster import silhouette
from recover_body.engine.track import Track
from recover_body.models import weights
from recover_body.models.body_model import load_body
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.tests.engine.test_fit import FOCAL_PX, HEIGHT, WIDTH, observations, people
from recover_body.tests.engine.test_neural_backends import CAMERA, recover, scene  # noqa: F401 - a fixture
from recover_body.wire.messages import RecoverRequest
from recover_body.wire.take import CameraTrack

BACKENDS = {"aios": AiosBackend, "blade": BladeBackend}
UNKNOWN = replace(CAMERA, fx_px=1300.0, fy_px=1300.0, source="assumed", fx_sigma=0.45)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """The networks see a tenth of the pixels and unfold fewer people; nothing else is reduced."""
    sizes = {"WORKING_PX": 320, "POSE_PX": 128, "DEPTH_PX": 112, "AIOS_LONGER_PX": 160}
    for name, side_px in sizes.items():
        monkeypatch.setattr(blade_input, name, side_px)
    monkeypatch.setattr(blade_networks, "CANDIDATES", 64)
    monkeypatch.setattr(blade_networks, "GROUPS", 8)


# ---- what is missing, and which is taken ----


@pytest.mark.parametrize("name", BACKENDS)
def test_without_weights_it_says_what_and_where(tmp_path, monkeypatch, name, capsys):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    (entry,) = map(weights.find, BACKENDS[name].entries)
    with pytest.raises(errors.BackendNotReady, match="has not been imported") as caught:
        registry.choose(name)
    assert caught.value.exit_code == 3
    assert entry.files[0] in caught.value.remedy and entry.where.split()[0] in caught.value.remedy


def test_the_camera_alone_also_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    with pytest.raises(errors.BackendNotReady, match="camera blade is not ready") as caught:
        camera_depth.check(RecoverRequest("1", "photo.jpg", camera_from="blade"))
    assert "epoch_2.pth" in caught.value.remedy


@pytest.mark.parametrize("field", ["camera_from", "camera_solver"])
def test_words_that_mean_nothing_are_refused(field):
    with pytest.raises(errors.BadRequest, match="'guess'; it can be"):
        camera_depth.check(RecoverRequest("1", "photo.jpg", **{field: "guess"}))


def test_the_published_solver_is_refused_for_a_clip_before_work_begins():
    request = RecoverRequest("1", "clip.mp4", camera_solver="published")
    camera_depth.check(request)
    with pytest.raises(errors.BadRequest, match="stills only"):
        camera_depth.check(request, is_clip=True)


def test_the_shell_knows_the_choices(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["recover", "photo.jpg", "--out", "x", "--camera-solver", "guess"])
    assert "published" in capsys.readouterr().err


@pytest.mark.parametrize(("side_px", "taken"), [(1500.0, "blade"), (300.0, "landmarks")])
def test_close_ups_go_to_blade(monkeypatch, scene, side_px, taken):  # noqa: F811
    monkeypatch.setattr(registry, "is_ready", lambda name: name in ("blade", "landmarks"))
    monkeypatch.setattr(registry, "_BACKENDS", {n: registry._BACKENDS[n] for n in ("tokenhmr", "landmarks", "blade")})
    monkeypatch.setattr(BladeBackend, "missing", lambda self: ())
    monkeypatch.setattr(automatic.detect, "missing", lambda: ())
    region = Region(np.array([400.0, 500.0]), side_px, 0.0, 1.0)
    monkeypatch.setattr(automatic, "find_regions", lambda image: [region])
    backend, (why,) = automatic.choose("auto", scene, CAMERA)
    assert backend.name == taken and why.startswith(f"auto took {backend.title}")
    assert ("m away" in why) == (taken == "blade")
    assert automatic.choose("landmarks", scene, CAMERA)[1] == ()


# ---- from the picture to the take ----


@pytest.mark.parametrize("name", BACKENDS)
def test_everybody_becomes_a_body_in_one_camera(blade_imported, scene, name):  # noqa: F811
    answers, ask = [], BACKENDS[name].ask
    backend = BACKENDS[name]()
    backend.ask = lambda prepared: answers.extend(ask(backend, prepared)) or answers
    bodies = recover(backend, scene)
    (answer,) = answers
    assert len(bodies.people) == 3 and bodies.camera == CAMERA
    notes = " ".join(bodies.notes)
    assert "no SMPL-X body is imported" in notes and "no commercial use" in notes
    assert ("depth network" in notes) == (name == "blade")
    assert f"{name} (sha256)" in bodies.versions
    body = load_body("neutral")
    for row, person in enumerate(bodies.people):
        assert np.isfinite(person.pose).all() and person.translation[0, 2] > 0
        assert not person.joint_inferred[0, 22] and not person.joint_inferred[0, 25:].any()
        # Fingers and jaw are the network's own.
        fingers = rotvec_to_matrix(person.pose[0, 25:40].astype(float) - body.hands_mean_left)
        np.testing.assert_allclose(fingers, answer.left_hand[row], atol=1e-3)
        np.testing.assert_allclose(rotvec_to_matrix(person.pose[0, 22].astype(float)), answer.jaw[row], atol=1e-4)
        assert "SMPL-X: betas" in person.notes[-1] and "expression" in person.notes[-1]
    assert len(recover(BACKENDS[name](), scene, people="largest").people) == 1


def test_a_pose_that_makes_no_sense_is_not_brought_into_the_lens(drawn):
    seen, _, truth, pelvis = drawn
    np.testing.assert_allclose(place_by_landmarks(truth, seen, CAMERA, "neutral"), pelvis, atol=0.02)
    upside_down = truth.rotations.copy()
    upside_down[:, 0] = upside_down[:, 0] @ rotvec_to_matrix(np.array([0, 0, np.pi]))
    place = place_by_landmarks(replace(truth, rotations=upside_down), seen, CAMERA, "neutral")
    assert (np.abs(np.log(place[:, 2] / pelvis[:, 2])) < np.log(4)).all()


def test_smplx_itself_takes_shape_hands_and_expression_as_they_are(drawn):
    seen, _, true, _ = drawn
    rng, smplx = np.random.default_rng(0), load_body("neutral")  # a body of SMPL-X's layout
    few = lambda *shape: rotvec_to_matrix(rng.normal(0, 0.2, (3, *shape, 3)))  # noqa: E731 - three times
    numbers = rng.normal(0, 0.5, (2, 3, 10))
    answer = Answer(true.rotations, few(15), few(15), few(), *numbers, np.ones(3), np.full(3, np.nan), np.zeros((3, 2)))
    close_ups = CloseUps(np.zeros((3, 55, 3)), np.zeros((3, 55), bool), np.zeros((3, 10)))
    itself = with_own_hands_and_jaw(close_ups, answer, "neutral", smplx)
    np.testing.assert_array_equal(itself.expression, answer.expression)
    np.testing.assert_array_equal(believed(answer, seen, CAMERA, "neutral", smplx).betas, answer.betas)
    other = with_own_hands_and_jaw(close_ups, answer, "female", smplx)
    np.testing.assert_array_equal(other.expression, close_ups.expression)
    assert not np.array_equal(believed(answer, seen, CAMERA, "female", smplx).betas, answer.betas)
    np.testing.assert_allclose(itself.pose[:, 40:], other.pose[:, 40:])
    assert itself.seen[:, 25:].all() and not itself.seen[:, 23:25].any()


@pytest.fixture
def clip(scene, monkeypatch):  # noqa: F811
    """Three frames of the first two people; the second is away in the last."""
    tracks = []
    for number, person in enumerate(neural.detect.find_people(None)[:2]):
        known = {each.name: getattr(person, each.name) for each in fields(Sighting) if hasattr(person, each.name)}
        known |= {"next_region": None, "look": np.zeros(1)}
        known["mask"] = PackedMask.of(person.mask, 0, 0, 1.0, WIDTH, HEIGHT)
        tracks.append(Track({index: Sighting(**known) for index in range(3) if (number, index) != (1, 2)}))
    monkeypatch.setattr(clip_path, "follow_footage", lambda *_: Followed(tracks, [], [], np.zeros(3)))
    return replace(scene, images=scene.images * 3, frame_numbers=np.arange(1, 4))


def test_a_clip_is_looked_at_in_batches_over_people_and_frames(blade_imported, clip, monkeypatch):
    asked, ask = [], BladeBackend.ask
    monkeypatch.setattr(BladeBackend, "ask", lambda self, p: asked.append(len(p)) or ask(self, p))
    monkeypatch.setattr(aios_clip, "TOGETHER", 4)
    bodies = recover(BladeBackend(), clip, UNKNOWN)
    assert asked == [2, 1]
    assert [list(person.present) for person in bodies.people] == [[True] * 3, [True, True, False]]
    assert bodies.camera.source == "estimated" and bodies.camera.evidence.startswith("BLADE")
    for person in bodies.people:
        assert np.isfinite(person.pose).all() and not person.joint_inferred[:, 25:].any()
        # The frames are alike, so the body is.
        assert np.ptp(person.translation[person.present], axis=0).max() < 0.05


def zooming(focals_px, centre_px=(WIDTH / 2, HEIGHT / 2), dolly_m=0.0):
    """A given camera whose lens changes in every frame, and which moves back."""
    count = len(focals_px)
    places = np.tile(np.eye(4), (count, 1, 1))
    places[:, 2, 3] = -dolly_m * np.arange(count)
    middle = [np.full(count, float(at)) for at in centre_px]
    return FilmedCamera.of(CameraTrack(focals_px, focals_px, *middle, WIDTH, HEIGHT, places, "given"))


def test_a_given_camera_is_followed_through_a_clip(blade_imported, clip):
    """The picture stays the same while the lens is told to zoom in: people are ever farther away."""
    camera = zooming(FOCAL_PX * np.array([1.0, 1.1, 1.2]), dolly_m=0.3)
    bodies = recover(AiosBackend(), clip, camera, people="largest")
    (person,) = bodies.people
    assert np.isfinite(person.pose).all() and (np.diff(person.translation[:, 2]) > 0.1).all()
    assert bodies.camera is camera and bodies.drift_px is None
    assert "The camera moves as it was given." in bodies.notes


def test_bodies_are_placed_through_the_lens_of_their_own_frame(drawn):
    seen, _, truth, pelvis = drawn
    zoom, centre_px = np.array([1.0, 1.3, 0.8]), np.array([CAMERA.cx_px, CAMERA.cy_px])
    zoomed = replace(
        seen, points_px=centre_px + zoom[:, None, None] * (seen.points_px - centre_px), size_px=seen.size_px * zoom
    )
    place = place_by_landmarks(truth, zoomed, zooming(FOCAL_PX * zoom, centre_px), "neutral")
    np.testing.assert_allclose(place, pelvis, atol=0.02)


# ---- BLADE's camera, with other backends' bodies ----


def test_the_camera_serves_the_built_in_backend(blade_imported, scene, monkeypatch):  # noqa: F811
    (one, *_) = neural.detect.find_people(None)
    monkeypatch.setattr(neural.detect, "find_people", lambda *_, **__: [one])
    depths, depths_of = [], camera_depth.depths_of
    monkeypatch.setattr(camera_depth, "depths_of", lambda *given: depths.append(depths_of(*given)) or depths[-1])
    bodies = recover(LandmarksBackend(), scene, UNKNOWN, camera_from="blade")
    (person,), ((depth,),) = bodies.people, depths
    assert bodies.camera.evidence.startswith("BLADE's depth")
    assert f"at {depth:.2f} m" in " ".join(bodies.notes)
    pelvis = person.translation[0] + load_body("neutral").rest_joints(person.betas[None])[0, 0]
    assert abs(np.log(pelvis[2] / depth)) < 3 * camera_depth.DEPTH_SIGMA


@pytest.fixture
def drawn():
    """Three people, exactly known: observations through a camera of unknown focal length, masks, what is true."""
    pose, betas, _, out, marks = people(3, seed=4)
    seen = observations(marks, focal_sigma=0.45, focal_px=1.4 * FOCAL_PX)
    faces = load_body("neutral").faces
    masks = [silhouette(vertices, faces, CAMERA.matrix, WIDTH, HEIGHT) for vertices in out.vertices]
    pelvis = out.joints[:, 0].astype(float)
    believed = Believed(rotvec_to_matrix(pose[:, :22]), pelvis, betas)
    return seen, masks, believed, pelvis


def test_true_depths_and_bodies_give_the_true_camera(drawn):
    seen, masks, truth, pelvis = drawn
    views = camera_depth.Views(seen, masks, "neutral", one_picture=False)
    unplaced = replace(truth, pelvis=np.tile([0, 0, 2.0], (3, 1)))
    solved = camera_depth.solve(views, unplaced, UNKNOWN, pelvis[:, 2])
    assert solved.camera.fx_px == pytest.approx(FOCAL_PX, rel=0.01)
    np.testing.assert_allclose(solved.pelvis[:, :2], pelvis[:, :2], atol=0.01)
    np.testing.assert_allclose(solved.pelvis[:, 2], pelvis[:, 2], rtol=0.02)


def test_people_beyond_the_networks_reach_have_no_vote(drawn):
    seen, masks, truth, pelvis = drawn
    views = camera_depth.Views(seen, masks, "neutral", one_picture=False)
    depths_m = pelvis[:, 2].copy()
    depths_m[1] = 9.9
    solved = camera_depth.solve(views, truth, UNKNOWN, depths_m)
    assert solved.camera.fx_px == pytest.approx(FOCAL_PX, rel=0.02)
    assert solved.pelvis[1, 2] == pytest.approx(pelvis[1, 2], rel=0.05)
    assert "Person 2: near or beyond the depth network's end" in camera_depth.depth_notes(depths_m)[1]
    nobody = camera_depth.solve(views, truth, UNKNOWN, np.full(3, 9.9))
    assert nobody.camera == UNKNOWN


def test_a_known_camera_stays(drawn):
    seen, masks, truth, pelvis = drawn
    views = camera_depth.Views(seen, masks, "neutral", one_picture=False)
    solved = camera_depth.solve(views, truth, CAMERA, 1.1 * pelvis[:, 2])
    assert solved.camera == CAMERA
    np.testing.assert_allclose(solved.pelvis[:, 2], pelvis[:, 2], rtol=0.04)  # size tells more than the network


def test_the_published_solver_is_there_for_comparison(drawn, monkeypatch):
    seen, masks, truth, pelvis = drawn
    monkeypatch.setattr(camera_published_people, "WORKING_PX", 96)
    monkeypatch.setattr(camera_published_people, "ITERATIONS", 6)
    request = RecoverRequest("1", "photo.jpg", camera_from="blade", camera_solver="published")
    one = replace(seen, **{each.name: getattr(seen, each.name)[:1] for each in fields(seen)})
    refined = camera_depth.placed(
        request,
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        one,
        lambda camera: Believed(truth.rotations[:1], truth.pelvis[:1], truth.betas[:1]),
        masks[:1],
        np.zeros((1, 4)),
        UNKNOWN,
        pelvis[:1, 2],
    )
    assert "published procedure" in refined.notes[-1]
    assert refined.camera.fx_px == pytest.approx(FOCAL_PX, rel=0.25)
    assert refined.camera.evidence.endswith("as published")


# ---- what the networks see ----


def test_the_whole_picture_stands_in_the_middle_of_its_square():
    image = np.arange(4 * 7 * 3, dtype=np.uint8).reshape(4, 7, 3) + 1
    square = blade_input.Square.whole(7, 4)
    cut = square.cut(image)
    assert cut.shape == (7, 7, 3) and (square.left_px, square.top_px) == (0, -1)
    np.testing.assert_array_equal(cut[1:5], image)
    assert not cut[0].any() and not cut[5:].any()
    np.testing.assert_allclose(square.centre_px, [3.5, 2.5])


def test_a_square_around_somebody_at_the_rim_goes_on_in_black():
    image = np.full((40, 40, 3), 9, np.uint8)
    square = blade_input.Square.around(np.array([30.0, 10.0, 40.0, 30.0]))
    cut = square.cut(image)
    assert square.side_px == 25 and cut.shape == (25, 25, 3)
    assert np.count_nonzero(cut[..., 0]) == 25 * (40 - square.left_px)
    box = square.to_square(np.array([30.0, 10.0, 40.0, 30.0]))
    assert (box > 0).all() and (box < 1).all() and box[3] - box[1] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ((20, 30), (60, 70), (15.0, 25.0, 50.0)),  # in the middle
        ((0, 10), (40, 30), (0.0, -5.0 + 5.0, 50.0)),  # pushed back into the frame
    ],
)
def test_the_depth_network_sees_the_mask_with_a_margin(low, high, expected):
    mask = np.zeros((100, 100), bool)
    mask[low[1] : high[1] + 1, low[0] : high[0] + 1] = True
    assert blade_input.mask_square(mask) == pytest.approx(expected)
    ramp = blade_input.torch.arange(100.0).expand(3, 100, 100)
    seen = blade_input.depth_pictures(ramp, [mask])[0, 0]
    left, _, side = expected
    across = left + np.arange(blade_input.DEPTH_PX) * side / (blade_input.DEPTH_PX - 1)
    np.testing.assert_allclose(seen[3], across, atol=1e-3)


def test_without_a_mask_the_whole_frame_is_seen():
    assert blade_input.mask_square(np.zeros((100, 100), bool)) == (0.0, 0.0, 99.0)


def test_black_is_what_the_published_program_makes_of_it():
    np.testing.assert_allclose(
        blade_input.normalised(np.zeros((1, 1, 3), np.uint8)).flatten(), (-2.1179, -2.0357, -1.8044), atol=1e-4
    )
