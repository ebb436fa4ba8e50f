# SPDX-License-Identifier: GPL-3.0-or-later
"""TokenHMR and HMR2.0 from the imported file to the take, on generated weights in the released layout."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from recover_body.engine import camera_depth, crop_torch, errors, network_runner
from recover_body.engine.backends import clip_path, neural, neural_clip, registry
from recover_body.engine.backends.hmr2 import Hmr2Backend
from recover_body.engine.backends.neural import translation_before
from recover_body.engine.backends.tokenhmr import TokenHmrBackend
from recover_body.engine.cameras import FilmedCamera, Pinhole
from recover_body.engine.crop import CROP_FOCAL_PX, CROP_SIDE_PX, Crop
from recover_body.engine.detect import Detection
from recover_body.engine.follow import Sighting
from recover_body.engine.follow_clip import Followed
from recover_body.engine.frames import Footage
from recover_body.engine.importer import import_files
from recover_body.engine.mediapipe_graphs import Details
from recover_body.engine.raster import silhouette
from recover_body.engine.track import Track
from recover_body.models import tensor_file, weights
from recover_body.models.body_model import load_body
from recover_body.models.errors import DamagedFile
from recover_body.models.state import IncompleteWeights
from recover_body.tests import fill_weights
from recover_body.tests.engine.test_fit import observations, people
from recover_body.tests.models.smplx_files import smplx_npz
from recover_body.tests.models.weight_files import checkpoint, smpl_pickle
from recover_body.wire.frames import project
from recover_body.wire.messages import RecoverRequest
from recover_body.wire.take import CameraTrack, read_take

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FOCAL_PX = 800, 1000, 900.0
CAMERA = Pinhole(FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT, "given", 0.0)
BACKENDS = {"tokenhmr": TokenHmrBackend, "hmr2": Hmr2Backend}


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    """A data folder into which all networks were imported, and SMPL was not."""
    files, data = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOVER_BODY_DATA", str(data))
        import_files(
            [
                checkpoint(files / "m.ckpt"),
                checkpoint(files / "tokenizer.pth", "tokenizer"),
                checkpoint(files / "h.ckpt", "hmr2"),
            ]
        )
    return data


@pytest.fixture
def imported(everything, monkeypatch) -> Path:
    monkeypatch.setenv("RECOVER_BODY_DATA", str(everything))
    return everything


@pytest.fixture
def nothing_imported(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def scene(monkeypatch):
    """Three drawn people, as detection would have them; no MediaPipe takes part."""
    *_, out, marks = people(3, seed=11)
    seen = observations(marks)
    faces, found = load_body("neutral").faces, []
    for row, vertices in enumerate(out.vertices):
        mask = silhouette(vertices, faces, CAMERA.matrix, WIDTH, HEIGHT)
        rows, columns = np.nonzero(mask)
        box_px = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
        parts = (seen.points_px[row], seen.visibility[row], seen.metric_points[row])
        found.append(Detection(box_px, 1.0, *parts, mask, Details(None, None, None)))
    monkeypatch.setattr(neural.detect, "find_people", lambda image, only_largest=False: list(found))
    image = fill_weights.standin_image(5, "scene", HEIGHT, WIDTH)
    return Footage("scene.png", (image,), np.array([1]), 24.0, None, WIDTH, HEIGHT)


def recover(backend, footage, camera=CAMERA, **options):
    return backend.recover(footage, camera, RecoverRequest("1", footage.name, **options), lambda *_: None)


def run(*arguments: object, data: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "engine" / "launch.py", *arguments]
    environment = os.environ | {"RECOVER_BODY_DATA": str(data), "OMP_NUM_THREADS": "2"}
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=240, env=environment)


# ---- what is missing, and what is ready ----


@pytest.mark.parametrize("name", BACKENDS)
def test_without_weights_it_says_what_and_where(nothing_imported, name):
    backend = BACKENDS[name]()
    told = " ".join(backend.missing())
    for entry in map(weights.find, backend.entries):
        assert entry.id in told and entry.where.split()[0].rstrip(",") in told and "models import" in told
    with pytest.raises(errors.BackendNotReady, match="has not been imported") as caught:
        registry.choose(name)
    assert caught.value.exit_code == 3


def test_the_tokenizer_alone_is_not_enough(nothing_imported, tmp_path):
    import_files([checkpoint(tmp_path / "tokenizer.pth", "tokenizer")])
    (told,) = (sentence for sentence in TokenHmrBackend().missing() if "imported" in sentence)
    assert "tokenhmr_model_latest" in told


def test_asking_for_the_state_loads_no_torch(imported):
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1])['load_package']();"
        "from recover_body.engine.backends import registry;"
        "print([s.name for s in registry.status()], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(ROOT / "engine" / "launch.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['tokenhmr', 'hmr2', 'blade', 'aios', 'landmarks', 'fake'] False", done.stderr


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="needs mediapipe: run `python dev.py setup`")
def test_auto_prefers_what_is_imported(imported, monkeypatch, tmp_path):
    assert registry.choose().name == "tokenhmr"
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    assert registry.choose().name == "landmarks"


@pytest.mark.parametrize("backend", BACKENDS.values())
def test_terms_are_told(backend):
    assert weights.find(backend.entries[0]).licence in backend().licence
    assert "no commercial use" in backend().licence


@pytest.mark.parametrize("error", [IncompleteWeights("HMR2.0", "1 tensor is missing"), DamagedFile("Cut short.")])
def test_weights_that_went_bad_are_something_missing(error):
    told = errors.as_expected(error, "photo.jpg")
    assert told.exit_code == 3 and told.sentence == str(error) and told.remedy == error.remedy


def test_altered_weights_are_refused(everything, nothing_imported, scene):
    entry = weights.find("hmr2")
    state = dict(np.load(_as_npz(everything, nothing_imported)))
    del state["smpl_head.deccam.bias"]
    folder = nothing_imported / "models" / "hmr2"
    folder.mkdir(parents=True)
    path = folder / "weights.safetensors"
    shapes = {name: values.shape for name, values in state.items()}
    digest = tensor_file.write(path, shapes, state.__getitem__)
    manifest = json.loads((everything / "models" / "hmr2" / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"sha256": digest, "bytes": path.stat().st_size, "tensors": len(state)})
    )
    assert weights.require(entry).tensors == len(state)
    with pytest.raises(IncompleteWeights, match=r"deccam\.bias"):
        recover(Hmr2Backend(), scene)


def _as_npz(data: Path, folder: Path) -> Path:
    from safetensors.numpy import load_file

    folder.mkdir()
    np.savez(folder / "state.npz", **load_file(data / "models" / "hmr2" / "weights.safetensors"))
    return folder / "state.npz"


# ---- what the network says, and where it puts people ----


@pytest.mark.parametrize("backend", BACKENDS.values())
def test_the_same_picture_gives_the_same_answer_one_by_one_or_together(imported, backend, monkeypatch):
    image = fill_weights.standin_image(3, "people", 300, 400)
    crops = [Crop.around(box) for box in ((10, 20, 110, 280), (150, 40, 260, 290), (200, 0, 390, 299))]
    together = backend().predict(image, crops)
    again = backend().predict(image, crops)
    for name in ("rotations", "betas", "crop_camera"):
        np.testing.assert_array_equal(getattr(again, name), getattr(together, name))
        alone = np.concatenate([getattr(backend().predict(image, [crop]), name) for crop in crops])
        np.testing.assert_allclose(alone, getattr(together, name), atol=1e-4)
    monkeypatch.setitem(neural.BATCH, network_runner.torch_device().type, 2)
    np.testing.assert_allclose(backend().predict(image, crops).rotations, together.rotations, atol=1e-4)
    assert together.rotations.shape == (3, 24, 3, 3)
    assert np.abs(together.rotations[0] - together.rotations[1]).max() > 1e-3  # it did look


@pytest.mark.parametrize("focal_px", [300.0, 900.0, 20000.0])
@pytest.mark.parametrize("centre_px", [(400.0, 500.0), (310.0, 555.5)])
def test_the_full_camera_sees_what_the_crop_camera_saw(focal_px, centre_px):
    camera = Pinhole(focal_px, focal_px, *centre_px, WIDTH, HEIGHT, "given", 0.0)
    box_px, crop_camera = np.array([520.0, 90.0, 700.0, 610.0]), np.array([0.8, 0.07, -0.12])
    crop = Crop.around(box_px)
    # Points of SMPL abreast of its origin, where both cameras magnify alike whatever their lenses.
    points = np.array([[0, 0, 0], [0.3, -0.8, 0], [-0.4, 0.6, 0]])
    in_crop_cam = points + np.append(crop_camera[1:], 2 * CROP_FOCAL_PX / (CROP_SIDE_PX * crop_camera[0]))
    # The crop's camera looks through pixel index 128, whose middle is 128.5 from the corner.
    in_crop_px = in_crop_cam[:, :2] / in_crop_cam[:, 2:] * CROP_FOCAL_PX + CROP_SIDE_PX / 2 + 0.5
    seen = points + translation_before(camera, crop_camera, crop, box_px)
    in_image_px = seen[:, :2] / seen[:, 2:] * focal_px + centre_px
    np.testing.assert_allclose(in_image_px, crop.to_image(in_crop_px), atol=1e-3)


@pytest.mark.parametrize("crop_camera", [(0, 0, 0), (-0.7, 0, 0), (1e-4, 0, 0), (900, 0, 0), (np.nan, 0, 0)])
def test_a_crop_camera_without_sense_is_replaced(crop_camera):
    box_px = np.array([500.0, 100.0, 700.0, 700.0])
    x, y, z = translation_before(CAMERA, np.array(crop_camera, float), Crop.around(box_px), box_px)
    assert 0.3 < z < 10
    pelvis_px = np.array([x, y + neural.SMPL_PELVIS_M[1]]) / z * FOCAL_PX + [WIDTH / 2, HEIGHT / 2]
    np.testing.assert_allclose(pelvis_px, [600, 400], atol=2)


# ---- from the picture to the take ----


@pytest.mark.parametrize("backend", BACKENDS.values())
def test_everybody_becomes_a_body_in_one_camera(imported, scene, backend):
    bodies = recover(backend(), scene)
    assert len(bodies.people) == 3 and bodies.camera == CAMERA
    assert "no SMPL body is imported" in bodies.notes[0] and "no commercial use" in bodies.notes[1]
    assert bodies.device == network_runner.device_in_words()
    assert {"network", *(f"{entry} (sha256)" for entry in backend.entries)} == set(bodies.versions)
    for person in bodies.people:
        assert np.isfinite(person.pose).all() and np.isfinite(person.translation).all()
        assert person.translation[0, 2] > 0
        assert person.joint_confidence[0, :22] == pytest.approx(neural.NETWORK_CONFIDENCE)
        assert person.joint_inferred[0, 22:].all() and not person.joint_inferred[0, :22].any()
        np.testing.assert_allclose(person.pose[0, 25:40], load_body("neutral").hands_mean_left, atol=1e-6)
        assert "own camera: scale" in person.notes[-1]
    sizes = [np.prod(np.ptp(person.boxes_px[0].reshape(2, 2), axis=0)) for person in bodies.people]
    assert sizes == sorted(sizes, reverse=True)
    assert len(recover(backend(), scene, people="largest").people) == 1


def test_in_16_bits_it_goes_the_same_way(imported, scene, monkeypatch):
    exact = recover(Hmr2Backend(), scene)
    monkeypatch.setenv("RECOVER_BODY_DTYPE", "bf16")
    bodies = recover(Hmr2Backend(), scene)
    assert "bf16" in bodies.versions["network"] and "fp32" in exact.versions["network"]
    for ours, theirs in zip(bodies.people, exact.people, strict=True):
        assert np.abs(ours.pose - theirs.pose).max() > 0 and np.median(np.abs(ours.pose - theirs.pose)) < 0.02


def test_limbs_that_were_not_seen_are_the_networks_guess(imported, scene, monkeypatch):
    (whole, *_) = neural.detect.find_people(None)
    whole.visibility[25:] = 0  # from the knees down
    monkeypatch.setattr(neural.detect, "find_people", lambda *_, **__: [whole])
    (person,) = recover(Hmr2Backend(), scene).people
    names = load_body("neutral").joint_names
    inferred = {name for name, is_inferred in zip(names[:22], person.joint_inferred[0], strict=False) if is_inferred}
    assert inferred == {f"{s}_{part}" for s in ("left", "right") for part in ("hip", "knee", "ankle", "foot")}
    assert "could not be seen" in person.notes[0]


def test_nobody_is_nobody(imported, scene, monkeypatch):
    monkeypatch.setattr(neural.detect, "find_people", lambda *_, **__: [])
    assert recover(TokenHmrBackend(), scene).people == ()


def test_with_smpl_the_shape_is_carried_over(everything, scene, tmp_path, monkeypatch):
    shutil.copytree(everything, tmp_path / "data")
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    import_files([smpl_pickle(tmp_path / "SMPL_NEUTRAL.pkl")])
    bodies = recover(TokenHmrBackend(), scene)
    assert "carried over from SMPL" in bodies.notes[0]
    assert all(np.isfinite(person.betas).all() for person in bodies.people)


def test_a_users_own_smplx_carries_the_pose(imported, scene, tmp_path):
    path, _ = smplx_npz(tmp_path / "SMPLX_NEUTRAL.npz", "neutral")
    for person in recover(TokenHmrBackend(), scene, body=str(path)).people:
        assert np.isfinite(person.pose).all() and np.abs(person.betas).max() < 5
        pelvis = load_body(path).rest_joints(person.betas[None])[0, 0] + person.translation[0]
        low, high = person.boxes_px[0].reshape(2, 2)
        assert (low < project(pelvis[None], CAMERA.matrix)[0]).all()
        assert (project(pelvis[None], CAMERA.matrix)[0] < high).all()


@pytest.fixture
def clip(scene, monkeypatch):
    """Four frames of the scene; the second person is away in the third. Nobody needs to be followed."""
    tracks = []
    for number, person in enumerate(neural.detect.find_people(None)):
        known = {each.name: getattr(person, each.name) for each in fields(Sighting) if hasattr(person, each.name)}
        known |= {"next_region": None, "look": np.zeros(1)}  # nobody is followed here
        here = [index for index in range(4) if (number, index) != (1, 2)]
        tracks.append(Track({index: Sighting(**known) for index in here}))
    monkeypatch.setattr(clip_path, "follow_footage", lambda *_: Followed(tracks, [], [], np.zeros(4)))
    return Footage("clip.mp4", scene.images * 4, np.arange(1, 5), 24.0, None, WIDTH, HEIGHT)


@pytest.mark.parametrize("backend", BACKENDS.values())
def test_a_clip_is_looked_at_in_batches_over_people_and_frames(imported, clip, backend, monkeypatch):
    sizes, answer = [], backend.answer
    monkeypatch.setattr(backend, "answer", lambda self, inputs: sizes.append(len(inputs)) or answer(self, inputs))
    monkeypatch.setitem(neural.BATCH, network_runner.torch_device().type, 5)
    bodies = recover(backend(), clip)
    assert sizes == [5, 5, 1] and bodies.camera == CAMERA
    assert [list(person.present) for person in bodies.people] == [[True] * 4, [True, True, False, True], [True] * 4]
    for person in bodies.people:
        assert person.pose.shape == (4, 55, 3) and np.isfinite(person.pose).all()
        # The frames are alike, so the clip is its own reverse: whichever batch a crop was in.
        np.testing.assert_allclose(person.translation, person.translation[::-1], atol=1e-3)
        # Frames at the ends are held from one side only, and a fit of random poses stops on its way.
        assert np.ptp(person.translation[person.present], axis=0).max() < 0.03
        assert person.joint_confidence[0, :22] == pytest.approx(neural.NETWORK_CONFIDENCE)
        assert "In frame 1: " in person.notes[-1]
    assert len(recover(backend(), clip, people="2").people) == 2


def test_crops_made_on_the_device_serve_as_well(imported, clip, monkeypatch):
    """What a graphics card does, on the processor: the network answers the same."""
    answers, answer = [], Hmr2Backend.answer

    def kept(self, inputs):
        answers.append(answer(self, inputs))
        return answers[-1]

    monkeypatch.setattr(Hmr2Backend, "answer", kept)
    people = recover(Hmr2Backend(), clip).people
    usual, where = neural.Prediction.joined(answers), network_runner.torch_device()
    answers.clear()
    prepared = lambda self, image, crops: crop_torch.network_input(image, crops, where)  # noqa: E731
    monkeypatch.setattr(Hmr2Backend, "prepared", prepared)
    assert len(recover(Hmr2Backend(), clip).people) == len(people)
    on_device = neural.Prediction.joined(answers)
    for name in ("rotations", "betas", "crop_camera"):
        np.testing.assert_allclose(getattr(on_device, name), getattr(usual, name), atol=0.01)


def test_stopping_in_the_middle_of_a_clip_leaves_no_thread_behind(imported, clip):
    def stop(stage: str, *_: object) -> None:
        if stage == "network":
            raise errors.Cancelled("Stopped.")

    with pytest.raises(errors.Cancelled):
        Hmr2Backend().recover(clip, CAMERA, RecoverRequest("1", clip.name), stop)
    assert not [thread for thread in threading.enumerate() if thread.name == "decoder"]


def test_an_interrupted_clip_asks_the_network_only_for_the_rest(imported, clip, tmp_path, monkeypatch):
    asked, answer = [], Hmr2Backend.answer
    monkeypatch.setattr(Hmr2Backend, "answer", lambda self, inputs: asked.append(len(inputs)) or answer(self, inputs))
    monkeypatch.setitem(neural.BATCH, network_runner.torch_device().type, 4)
    monkeypatch.setattr(neural_clip, "KEPT_TOGETHER", 4)

    def stop(stage: str, *_: object) -> None:
        if stage == "network" and sum(asked) >= 8:
            raise errors.Cancelled("Stopped.")

    kept = replace(clip, keep_in=tmp_path / "kept")
    with pytest.raises(errors.Cancelled):
        Hmr2Backend().recover(kept, CAMERA, RecoverRequest("1", clip.name), stop)
    asked.clear()
    resumed = recover(Hmr2Backend(), kept)
    assert asked == [4, 3]  # of eleven crops
    for one, other in zip(resumed.people, recover(Hmr2Backend(), clip).people, strict=True):
        np.testing.assert_array_equal(one.pose, other.pose)


@pytest.mark.parametrize("footage", ["scene", "clip"])
def test_blades_depth_and_camera_serve_their_bodies(imported, footage, monkeypatch, request):
    monkeypatch.setattr(camera_depth, "depths_of", lambda image, masks: np.full(len(masks), 3.5))
    assumed = replace(CAMERA, fx_px=1300.0, fy_px=1300.0, source="assumed", fx_sigma=0.45)
    options = {"people": "largest", "camera_from": "blade"}
    bodies = recover(Hmr2Backend(), request.getfixturevalue(footage), assumed, **options)
    assert bodies.camera.evidence.startswith("BLADE's depth") and bodies.camera.source == "estimated"
    assert "3.50" in " ".join(bodies.notes)
    (person,) = bodies.people
    pelvis = person.translation + load_body("neutral").rest_joints(person.betas[None])[0, 0]
    np.testing.assert_allclose(pelvis[:, 2], 3.5, rtol=3 * camera_depth.DEPTH_SIGMA)


def test_a_given_camera_is_followed_through_a_clip(imported, clip):
    """The picture stays the same while the lens is told to zoom in and the camera to back off: people get farther."""
    zoom = CAMERA.fx_px * np.array([1.0, 1.1, 1.2, 1.3])
    places, middle = np.tile(np.eye(4), (4, 1, 1)), (np.full(4, WIDTH / 2), np.full(4, HEIGHT / 2))
    places[:, 2, 3] = -0.3 * np.arange(4)
    camera = FilmedCamera.of(CameraTrack(zoom, zoom, *middle, WIDTH, HEIGHT, places, "given"))
    bodies = recover(Hmr2Backend(), clip, camera, people="largest")
    assert bodies.camera is camera and bodies.drift_px is None
    (person,) = bodies.people
    assert np.isfinite(person.pose).all() and (np.diff(person.translation[:, 2]) > 0.1).all()


def test_a_clip_of_nobody_is_nobody(imported, clip, monkeypatch):
    monkeypatch.setattr(clip_path, "follow_footage", lambda *_: Followed([], [], []))
    assert recover(Hmr2Backend(), clip).people == ()


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="needs mediapipe: run `python dev.py setup`")
def test_a_photo_becomes_a_take(everything, tmp_path, shared):
    photo = shared("fixtures/images/dancing.jpg")
    done = run("recover", photo, "--out", tmp_path, "--backend", "tokenhmr", "--overlay", "--json", data=everything)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "dancing.report.json").read_text())
    assert report["backend"] == "tokenhmr" and "tokenhmr (sha256)" in report["versions"]
    assert report["people"][0]["overlay_iou"] > 0
    take = read_take(tmp_path / "dancing.take.npz")
    assert np.isfinite(take.people[0].pose).all() and (tmp_path / "dancing.overlay.png").stat().st_size > 10_000


def test_the_command_without_weights_ends_with_3(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    done = run("recover", tmp_path / "photo.png", "--out", tmp_path, "--backend", "hmr2", data=tmp_path / "data")
    assert done.returncode == 3
    assert "hmr2_data.tar.gz" in done.stderr and "4dhumans" in done.stderr and "models import" in done.stderr
