# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's licensed body files, imitated: SMPL as Python 2 pickled it, SMPL-X archives, and files that are neither."""

import os
import pickle
import sys
import types

import numpy as np
import pytest

from recover_body.models.body_files import BodyFileError, read_body_file
from recover_body.models.body_model import load_body

VERTICES = 40
SMPL_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]


def small_body(parents, shapes):
    """Arrays of a body with few vertices, in the files' own types."""
    rng = np.random.default_rng(0)
    joints = len(parents)
    return dict(
        v_template=rng.normal(size=(VERTICES, 3)),
        f=rng.integers(0, VERTICES, (60, 3)).astype(np.uint32),
        shapedirs=rng.normal(size=(VERTICES, 3, shapes)),
        posedirs=rng.normal(0, 0.01, (VERTICES, 3, 9 * (joints - 1))),
        J_regressor=rng.dirichlet(np.ones(VERTICES), joints),
        weights=rng.dirichlet(np.ones(joints), VERTICES),
        kintree_table=np.stack([np.array(parents) % 2**32, np.arange(joints)]).astype(np.uint32),
    )


@pytest.fixture
def chumpy(monkeypatch):
    """As much of the package chumpy as pickling needs; the reader must do without it."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")

    class Ch:
        pass

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)

    def wrap(**state):
        node = Ch()
        node.__dict__.update(state)
        return node

    yield wrap


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_an_original_smpl_pickle_loads_without_chumpy_and_scipy(tmp_path, chumpy, monkeypatch, protocol):
    sparse = pytest.importorskip("scipy.sparse")
    arrays = small_body(SMPL_PARENTS, 10)
    selected = chumpy(
        a=chumpy(x=arrays["shapedirs"]), idxs=np.arange(arrays["shapedirs"].size), preferred_shape=(VERTICES, 3, 10)
    )
    content = dict(
        arrays,
        v_template=chumpy(x=arrays["v_template"]),
        shapedirs=selected,
        J_regressor=sparse.csc_matrix(arrays["J_regressor"]),
        bs_type="lrotmin",
    )
    path = tmp_path / "SMPL_FEMALE.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    for name in ("chumpy", "chumpy.ch", "scipy.sparse"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails from here on

    body = read_body_file(path)
    assert (body.gender, body.joint_count, body.beta_count, body.expression_count) == ("female", 24, 10, 0)
    assert body.joint_names[-2:] == ("left_hand", "right_hand") and body.parents.tolist() == SMPL_PARENTS
    for field in ("v_template", "shapedirs", "J_regressor", "posedirs"):
        np.testing.assert_allclose(getattr(body, field), arrays[field], atol=1e-6)
    out = body.forward(np.zeros((1, 24, 3)), np.zeros((1, 10)))
    np.testing.assert_allclose(out.vertices[0], arrays["v_template"], atol=1e-6)


@pytest.mark.parametrize(("stored", "first_expression"), [(20, 10), (400, 300)])
def test_an_smplx_archive_is_split_into_shape_and_expression(tmp_path, stored, first_expression):
    arrays = small_body(load_body("neutral").parents.tolist(), stored)
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    # The real archives hold a pickled dictionary too, which must stay unread.
    np.savez(path, **arrays, hands_meanl=np.arange(45.0), joint2num=np.array({"pelvis": 0}, dtype=object))
    body = load_body(path)
    assert body.joint_names == load_body("neutral").joint_names
    np.testing.assert_allclose(body.shapedirs, arrays["shapedirs"][:, :, :10], atol=1e-6)
    expected = arrays["shapedirs"][:, :, first_expression : first_expression + 10]
    np.testing.assert_allclose(body.exprdirs, expected, atol=1e-6)
    assert body.hands_mean_left[14, 2] == 44 and body.face_materials is None


class _Harmful:
    def __reduce__(self):
        return os.system, ("echo harm > harm.txt",)


def _refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BodyFileError) as caught:
        read_body_file(path)
    assert caught.value.remedy and str(caught.value).startswith(name)
    return str(caught.value)


def test_a_harmful_pickle_is_refused_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "system" in _refused(tmp_path, "SMPL.pkl", pickle.dumps({"v_template": _Harmful()}))
    assert not (tmp_path / "harm.txt").exists()


@pytest.mark.parametrize("forbidden", [eval, getattr, np.load, type, pickle.loads])
def test_no_other_function_can_be_reached(tmp_path, forbidden):
    _refused(tmp_path, "SMPL.pkl", pickle.dumps({"v_template": forbidden}))


def test_damaged_and_foreign_files_are_named(tmp_path):
    arrays = small_body(SMPL_PARENTS, 10)
    whole = pickle.dumps(arrays)
    _refused(tmp_path, "cut.pkl", whole[: len(whole) // 2])
    _refused(tmp_path, "empty.npz", b"")
    _refused(tmp_path, "picture.npz", b"\x89PNG\r\n")
    assert "missing" in _refused(tmp_path, "other.pkl", pickle.dumps({"a": np.zeros(3)}))
    assert "dictionary" in _refused(tmp_path, "list.pkl", pickle.dumps([1, 2]))
    del arrays["weights"]
    assert "weights missing" in _refused(tmp_path, "short.pkl", pickle.dumps(arrays))
    with pytest.raises(BodyFileError, match="no such file"):
        read_body_file(tmp_path / "nothing.npz")


def test_arrays_that_do_not_fit_are_named(tmp_path):
    strange = small_body([-1, 0, 1], 10)
    assert "3 joints" in _refused(tmp_path, "three.pkl", pickle.dumps(strange))
    wrong = small_body(SMPL_PARENTS, 10)
    wrong["v_template"] = wrong["v_template"][:-1]
    assert "do not fit" in _refused(tmp_path, "wrong.pkl", pickle.dumps(wrong))
    backwards = small_body(SMPL_PARENTS, 10)
    backwards["kintree_table"][0, 3] = 20
    assert "before its parent" in _refused(tmp_path, "order.pkl", pickle.dumps(backwards))
