# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body convert-labels`: SMPL's labels gain SMPL-X's, which say where the same body stands."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="Training data need torch: run `python dev.py setup`.")

from recover_body.engine.__main__ import main
from recover_body.engine.training.data import conversion
from recover_body.engine.training.data.bad_data import Rows, Where
from recover_body.engine.training.data.human_data import body_parameters, read_objects
from recover_body.models.body_model import load_body
from recover_body.tests.models.test_smpl_to_smplx import in_smpl_layout


@pytest.fixture()
def bodies(monkeypatch):
    """Stand-ins of human shape: a free body, and the same in SMPL's layout."""
    smplx = load_body("neutral")
    made = {"smplx-neutral": smplx, "smpl-neutral": in_smpl_layout(smplx)}
    monkeypatch.setattr(conversion, "load_body", made.__getitem__)
    return made


def human_data(path, count=2):
    rng = np.random.default_rng(0)
    smpl = {
        "global_orient": np.tile([np.pi, 0, 0.2], (count, 1)), "body_pose": rng.normal(0, 0.2, (count, 69)),
        "betas": rng.normal(0, 1, (count, 10)), "transl": np.tile([0.1, 0.2, 3.0], (count, 1)),
    }  # fmt: skip
    names = np.array([f"{n}.jpg" for n in range(count)])
    np.savez(path, image_path=names, bbox_xywh=np.ones((count, 5)), K=np.tile(np.eye(3), (count, 1, 1)), smpl=smpl)
    return path


def posed(body, given, row):
    out = body.forward(given.pose[[row]], given.betas[[row]], translation=given.translation[[row]])
    return out.vertices[0], out.joints[0, :22]


@pytest.mark.parametrize(("by", "most_mm"), [("surface", 4), ("measures", 12)])
def test_the_same_people_stand_in_the_same_place(bodies, tmp_path, capsys, by, most_mm):
    count = 1 if by == "surface" else 2
    given, out = human_data(tmp_path / "smpl.npz", count), tmp_path / "both.npz"
    assert main(["convert-labels", str(given), "--to", "smplx", "--out", str(out), "--by", by]) == 0
    assert f"{count} people, surfaces" in capsys.readouterr().out
    data, where = read_objects(out), Where(out)
    smpl, smplx = (body_parameters(data[kind], kind, Rows(data, count, where)) for kind in ("smpl", "smplx"))
    for row in range(count):
        before, after = posed(bodies["smpl-neutral"], smpl, row), posed(bodies["smplx-neutral"], smplx, row)
        for places, others in zip(before, after, strict=True):  # both number their vertices alike
            assert 1000 * np.linalg.norm(places - others, axis=1).mean() < most_mm
        assert data["smplx_error_mm"][row] < most_mm
    assert data["image_path"].tolist() == [f"{n}.jpg" for n in range(count)]


def test_what_cannot_be_converted_is_told(bodies, tmp_path, capsys):
    given = human_data(tmp_path / "smpl.npz")
    wanted = ["convert-labels", str(given), "--to", "smpl", "--out", str(tmp_path / "out.npz")]
    assert main(wanted) == 2 and "no smplx labels" in capsys.readouterr().err
    with np.load(given, allow_pickle=True) as data:
        fields = {name: data[name] for name in data.files}
    spoilt = fields["smpl"].item()
    spoilt["betas"][1, 2] = np.nan
    np.savez(given, **fields | {"smpl": spoilt})
    wanted = ["convert-labels", str(given), "--to", "smplx", "--out", str(tmp_path / "out.npz"), "--by", "measures"]
    assert main(wanted) == 2 and "betas has numbers that are not finite" in capsys.readouterr().err
    (tmp_path / "out.npz").write_bytes(b"mine")
    assert main(wanted) == 2 and "exists already" in capsys.readouterr().err
