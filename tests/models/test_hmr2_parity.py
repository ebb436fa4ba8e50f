# SPDX-License-Identifier: GPL-3.0-or-later
"""HMR2.0 gives the published network's numbers."""

from __future__ import annotations

import gzip
import json

import pytest
import torch

from recover_body.models import hmr2
from recover_body.models.rotations_torch import (
    matrix_to_rotvec,
    matrix_to_sixd_columns,
    matrix_to_sixd_rows,
    rotvec_to_matrix,
    sixd_columns_to_matrix,
    sixd_rows_to_matrix,
)
from recover_body.tests.benchmarks.parity import findings_of, fixture_files
from recover_body.tests.parity.report import COMMITTED

FILES = list(fixture_files([COMMITTED / "hmr2"]))


@pytest.mark.parametrize(("path", "check"), FILES, ids=[path.stem for path, _ in FILES])
def test_every_number_of_the_fixture(path, check):
    misses = [finding for finding in findings_of(path, check) if not finding.ok]
    assert not misses


def test_the_names_and_sizes_are_those_of_the_checkpoint():
    keys = json.loads(gzip.decompress((COMMITTED / "hmr2" / "keys_full.json.gz").read_bytes()))
    released = {e["name"]: tuple(e["shape"]) for e in keys if e["name"].startswith(hmr2.PREFIXES)}
    with torch.device("meta"):
        ours = hmr2.Hmr2(hmr2.Hmr2Config()).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == released


def test_rows_and_columns_are_each_others_transpose():
    sixd = torch.randn(50, 6)
    torch.testing.assert_close(sixd_rows_to_matrix(sixd), sixd_columns_to_matrix(sixd).transpose(-1, -2))


def test_rotations_there_and_back():
    angles = torch.cat([torch.tensor([0.0, 1e-6, 1e-3, 3.141, 3.14159]), torch.rand(100) * 3.1])
    rotvecs = torch.nn.functional.normalize(torch.randn(len(angles), 3), dim=-1) * angles[:, None]
    matrices = rotvec_to_matrix(rotvecs.double())
    torch.testing.assert_close(matrix_to_rotvec(matrices), rotvecs.double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(sixd_rows_to_matrix(matrix_to_sixd_rows(matrices)), matrices)
    torch.testing.assert_close(sixd_columns_to_matrix(matrix_to_sixd_columns(matrices)), matrices)


def test_no_rotation_has_a_finite_gradient():
    rotvec = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    matrix_to_rotvec(rotvec_to_matrix(rotvec)).sum().backward()
    assert torch.isfinite(rotvec.grad).all()
