# SPDX-License-Identifier: GPL-3.0-or-later
"""The error measures: the published numbers, and what must be true of them for any body."""

import numpy as np
import pytest

from recover_body.engine.evaluation import metrics
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.tests.parity.blade import check_metrics
from recover_body.tests.parity.report import COMMITTED, Fixture

rng = np.random.default_rng(7)
JOINTS = rng.normal(size=(4, 17, 3))
VERTICES = rng.normal(size=(4, 50, 3))
OFFSET = np.array([0.3, -2.0, 5.0])


def test_every_number_of_the_fixture():
    fixture = Fixture(COMMITTED / "blade" / "metrics.npz")
    check_metrics(fixture)
    assert fixture.findings
    assert not [finding for finding in fixture.findings if not finding.ok]


def test_where_the_body_stands_does_not_matter():
    assert metrics.joint_errors_mm(JOINTS + OFFSET, JOINTS) == pytest.approx(0, abs=1e-9)
    assert metrics.vertex_errors_mm(VERTICES + OFFSET, VERTICES, JOINTS + OFFSET, JOINTS) == pytest.approx(0, abs=1e-9)


def test_after_procrustes_neither_turn_nor_size_matters():
    turned = 1.7 * JOINTS @ rotvec_to_matrix(np.array([0.4, -1.0, 2.0])).T + OFFSET
    assert metrics.joint_errors_mm(turned, JOINTS, procrustes=True) == pytest.approx(0, abs=1e-9)


def test_procrustes_does_not_mirror():
    mirrored = JOINTS * [-1, 1, 1]
    assert metrics.joint_errors_mm(mirrored, JOINTS, procrustes=True).mean() > 100


def test_masks_agree_with_themselves_and_not_with_nothing():
    parts = rng.integers(0, 25, size=(3, 20, 30))
    assert metrics.mask_iou(parts, parts) == pytest.approx(1)
    assert metrics.part_iou(parts, parts) == pytest.approx(1)
    assert metrics.mask_iou(parts, 0 * parts) == pytest.approx(0)
    assert np.isnan(metrics.mask_iou(0 * parts, 0 * parts)).all()


def test_a_person_with_swapped_parts_keeps_the_outline_only():
    parts = np.full((1, 8, 8), 3)
    assert metrics.mask_iou(parts + 1, parts) == pytest.approx(1)
    assert metrics.part_iou(parts + 1, parts) == pytest.approx(0)


def test_distortion_vanishes_with_distance():
    body = 0.5 * VERTICES[0]
    near = metrics.distortion_errors(body, np.array([2.2]), np.array([4.4]))
    far = metrics.distortion_errors(body, np.array([220.0]), np.array([440.0]))
    assert near > 50 * far
    assert metrics.distortion_errors(body, np.array([3.0]), np.array([3.0])) == pytest.approx(0)
