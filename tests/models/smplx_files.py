# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated stand-in for SMPL-X's files; needs numpy alone, for the tests in Blender."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recover_body.models.body_model import load_body


def smplx_npz(path: Path, like: str = "female", posedirs_m: float = 0.0, seed: int = 0) -> tuple[Path, np.ndarray]:
    """A free body as SMPL-X's archives have theirs, vertices shuffled; also where each of its vertices came from."""
    body, rng = load_body(like), np.random.default_rng(seed)
    order = rng.permutation(len(body.v_template))
    posedirs = rng.normal(0, 1, (20, 3, 9 * 54)) * posedirs_m if posedirs_m else np.zeros((1, 3, 9 * 54))
    np.savez(
        path,
        v_template=body.v_template[order].astype(np.float64),
        f=np.argsort(order)[body.faces].astype(np.uint32),
        shapedirs=np.concatenate([body.shapedirs, body.exprdirs], 2)[order],
        posedirs=np.resize(posedirs, (len(order), 3, 9 * 54)).astype(np.float32),
        J_regressor=body.J_regressor[:, order],
        weights=body.weights[order],
        kintree_table=np.stack([body.parents.astype(np.int64) % 2**32, np.arange(55)]).astype(np.uint32),
        hands_meanl=body.hands_mean_left.ravel(),
        hands_meanr=body.hands_mean_right.ravel(),
    )
    return path, order
