# SPDX-License-Identifier: GPL-3.0-or-later
"""A body is found again from its surface, and its surface is carried to another mesh."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("torch", reason="The fit needs torch: run `python dev.py setup`.")

from recover_body.models.body_files import BodyFileError
from recover_body.models.body_model import BodyModel, load_body
from recover_body.models.surface_fit import Conversion, Posed, carried, fit_surface
from recover_body.models.surface_transfer import Transfer, nearest_transfer, read_transfer
from recover_body.tests.models.test_smpl_to_smplx import in_smpl_layout


def somebody(body: BodyModel, seed: int) -> Posed:
    rng = np.random.default_rng(seed)
    pose = np.zeros((body.joint_count, 3))
    pose[:22] = rng.normal(0, 0.3, (22, 3))
    pose[0] = (np.pi, 0, 0.3)  # upright in a camera whose y points down
    return Posed(pose, rng.normal(0, 1, 10), np.array([0.1, 0.2, 3.0]))


def vertices_of(body: BodyModel, person: Posed) -> np.ndarray:
    out = body.forward(person.pose[None], person.betas[None], translation=person.translation[None])
    return out.vertices[0].astype(np.float64)


def test_a_body_is_found_again_from_its_surface():
    body = in_smpl_layout(load_body("female"))
    true, wrong = somebody(body, 0), somebody(body, 1)
    start = replace(true, pose=true.pose + 0.3 * wrong.pose, betas=np.zeros(10), translation=np.zeros(3))
    found = fit_surface(body, vertices_of(body, true), start)
    assert found.error_mm < 0.5
    np.testing.assert_allclose(found.betas, true.betas, atol=0.05)
    np.testing.assert_allclose(found.translation, true.translation, atol=1e-3)


def test_people_change_their_body_and_keep_their_joints():
    smplx, smpl = load_body("neutral"), in_smpl_layout(load_body("neutral"))
    count = len(smplx.v_template)
    same = Transfer(np.arange(count), np.arange(count), np.ones(count), count, count)
    person = somebody(smplx, 2)
    found = Conversion(smplx, smpl, same)(person)
    before = smplx.forward(person.pose[None], person.betas[None], translation=person.translation[None]).joints[0, :22]
    after = smpl.forward(found.pose[None], found.betas[None], translation=found.translation[None]).joints[0, :22]
    off_mm = 1000 * np.linalg.norm(before - after, axis=1).mean()
    assert found.error_mm < 3 and off_mm < 3  # muscles that bulge are what the other body does not have
    quick = carried(person, smplx, smpl)
    np.testing.assert_allclose(quick.pose[:22], person.pose[:22])
    assert 1000 * np.linalg.norm(vertices_of(smpl, quick) - vertices_of(smplx, person), axis=1).mean() < 10


def transfer_file(path, matrix):
    path.write_bytes(pickle.dumps({"mtx": matrix}))
    return path


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_a_transfer_file_mixes_vertices_and_leaves_normals_aside(tmp_path, form):
    body = load_body("neutral")
    count = len(body.v_template)
    rows, columns = np.arange(count), np.arange(count)[::-1]
    mixed = np.concatenate([columns, np.roll(columns, 1), columns + count])  # the last are normals
    shares = np.concatenate([np.full(count, 0.75), np.full(count, 0.25), np.full(count, 9.0)])
    matrix = scipy.sparse.coo_matrix((shares, (np.tile(rows, 3), mixed)), (count, 2 * count))
    transfer = read_transfer(transfer_file(tmp_path / f"{form}.pkl", matrix.asformat(form)), body, body)
    places = body.v_template.astype(np.float64)
    np.testing.assert_allclose(
        transfer(places), 0.75 * places[columns] + 0.25 * places[np.roll(columns, 1)], atol=1e-12
    )


def test_a_transfer_file_that_is_none_is_explained(tmp_path):
    body = load_body("neutral")
    with pytest.raises(BodyFileError, match="3 x 8, where"):
        read_transfer(transfer_file(tmp_path / "small.pkl", scipy.sparse.eye(3, 8, format="csr")), body, body)
    with pytest.raises(BodyFileError, match="no sparse matrix mtx"):
        read_transfer(transfer_file(tmp_path / "dense.pkl", np.eye(3)), body, body)
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps({"mtx": np.eye(3)})[:-20])
    with pytest.raises(BodyFileError, match="cannot be read"):
        read_transfer(tmp_path / "cut.pkl", body, body)


def test_without_a_file_the_nearest_places_are_taken():
    source, target = load_body("neutral"), in_smpl_layout(load_body("male"))
    carried_to = nearest_transfer(source, target)(source.v_template.astype(np.float64))
    # Both meshes number their vertices alike, so that the truth is known.
    assert 1000 * np.linalg.norm(carried_to - source.v_template, axis=1).mean() < 8
