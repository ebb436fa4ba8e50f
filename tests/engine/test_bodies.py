# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's own SMPL-X as the body that is recovered; the file is a generated stand-in."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import bodies, errors, rigging
from recover_body.engine.__main__ import main
from recover_body.engine.fit.points import LANDMARK_NAMES, face_points, landmark_points
from recover_body.engine.importer import import_files
from recover_body.engine.pipeline import recover
from recover_body.models.body_model import SHIPPED_BODIES, load_body
from recover_body.models.errors import NotImported
from recover_body.tests.models.smplx_files import smplx_npz
from recover_body.tests.models.weight_files import smpl_pickle
from recover_body.wire.messages import RecoverRequest
from recover_body.wire.take import read_take


@pytest.fixture(scope="module")
def smplx(tmp_path_factory):
    """The stand-in's path, and which vertex of the free female body each of its vertices is."""
    return smplx_npz(tmp_path_factory.mktemp("smplx") / "SMPLX_FEMALE.npz")


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (320, 400), (90, 120, 60)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_landmarks_are_found_on_a_mesh_of_another_order(smplx):
    path, order = smplx
    own, free = load_body(path), load_body("female")
    assert own.landmark_vertices.keys() == free.landmark_vertices.keys()
    for name, vertex in own.landmark_vertices.items():
        off_m = np.linalg.norm(own.v_template[vertex] - free.v_template[free.landmark_vertices[name]])
        assert off_m < 0.004, name
    assert (order[list(own.landmark_vertices.values())] == list(free.landmark_vertices.values())).mean() > 0.9
    np.testing.assert_allclose(face_points(str(path)).rest, face_points("female").rest, atol=0.002)
    np.testing.assert_allclose(landmark_points(str(path)).rest, landmark_points("female").rest, atol=0.004)
    assert len(landmark_points(str(path)).indices) < len(LANDMARK_NAMES)


def test_a_body_with_other_proportions_finds_them_too(tmp_path):
    """The stand-in is 8 % larger: nothing lies where it lies on the free body."""
    path, _ = smplx_npz(tmp_path / "large.npz")
    with np.load(path) as arrays:
        larger = {name: arrays[name] for name in arrays.files}
    larger |= {"v_template": 1.08 * larger["v_template"], "shapedirs": 1.08 * larger["shapedirs"]}
    np.savez(path, **larger)
    own, free = load_body(path), load_body("female")
    for name, vertex in own.landmark_vertices.items():
        off_m = np.linalg.norm(own.v_template[vertex] / 1.08 - free.v_template[free.landmark_vertices[name]])
        assert off_m < 0.012, name


def test_recovered_judged_and_rigged(smplx, picture):
    path, _ = smplx
    recovery = recover(RecoverRequest("1", str(picture), backend="fake", body=str(path)))
    (person,), (rig,) = recovery.take.people, recovery.rigs
    assert person.body == str(path) and person.overlay_iou[0] > 0.95
    assert any("SMPL-X (SMPLX_FEMALE)" in note and "do not pass on" in note for note in recovery.take.notes)
    own = load_body(path)
    np.testing.assert_array_equal(rig.vertices, own.v_template)
    heads = own.rest_joints(person.betas[None], person.expression[:1])[0]
    np.testing.assert_allclose(rig.bone_heads, heads, atol=1e-6)
    tips = rigging.plan_rig(person).bone_tails
    assert np.isfinite(tips).all()


def test_by_its_file_and_by_the_name_it_was_imported_under(smplx, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    command = ["recover", str(picture), "--backend", "fake", "--out", str(tmp_path / "out"), "--body"]
    assert main([*command, "smplx-female"]) == 3  # not imported yet
    assert bodies.ready() == SHIPPED_BODIES
    import_files([smplx[0]])
    assert bodies.ready() == (*SHIPPED_BODIES, "smplx-female")
    for body in ("smplx-female", str(smplx[0])):
        assert main([*command, body]) == 0
        take = read_take(tmp_path / "out" / "photo.take.npz")
        assert take.people[0].body == body


def test_what_cannot_be_a_body_is_told(smplx, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    command = ["recover", str(picture), "--backend", "fake", "--out", str(tmp_path / "out"), "--body"]
    assert main([*command, "neutrol"]) == 2
    smpl = smpl_pickle(tmp_path / "SMPL_NEUTRAL.pkl")
    with pytest.raises(bodies.UnusableBody, match="24 joints"):
        bodies.open_body(str(smpl))
    (tmp_path / "broken.npz").write_bytes(smplx[0].read_bytes()[:1000])
    with pytest.raises(bodies.UnusableBody) as caught:
        bodies.open_body(str(tmp_path / "broken.npz"))
    assert caught.value.exit_code == 2 and errors.as_expected(caught.value, "x") is caught.value
    with pytest.raises(NotImported):
        bodies.open_body("smplx-male")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
