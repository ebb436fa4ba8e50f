# SPDX-License-Identifier: GPL-3.0-or-later
"""What the correctives are worth: `python -m recover_body.models.body.builder.check_correctives`.

For every bend, at a quarter to the whole of its angle: how far linear blending alone, and with the shipped correctives,
leaves the surface from the reference (mean over the vertices concerned), and how much volume either loses.
"""

from __future__ import annotations

import numpy as np

from ...body_model import SHIPPED_BODIES, BodyModel, load_body
from .correctives import BENDS, Bend, missing_offsets, turning_axis
from .skeleton import JOINT_INDEX
from .source import MakeHumanSource


def main() -> None:
    source = MakeHumanSource()
    for name in SHIPPED_BODIES:
        print(f"{name}: part of the angle: mm without > with correctives, litres without > with")
        for bend in BENDS:
            parts = " | ".join(_at(source, load_body(name), bend, part) for part in (0.25, 0.5, 0.75, 1.0))
            print(f"  {bend.name:20s} {parts}")


def _at(source: MakeHumanSource, body: BodyModel, bend: Bend, part: float) -> str:
    joint = JOINT_INDEX[f"left_{bend.joint}"]
    turn = turning_axis(bend, body.joints_template) * np.deg2rad(abs(bend.angle_deg)) * part
    pose = np.zeros((1, body.joint_count, 3))
    pose[0, joint] = turn
    shipped = body.forward(pose, np.zeros((1, 1)))
    wanted = missing_offsets(source, bend, body.v_template, body.joints_template, body.weights, turn)
    local = np.broadcast_to(np.eye(3), (1, body.joint_count, 3, 3)).copy()
    local[:, joint] = shipped.rotations[:, joint]
    active = body.corrective_weights(local)[0]
    given = np.tensordot(active, np.array([c.offsets for c in body.correctives]), 1)
    carried = (body.weights @ (shipped.rotations[0] - np.eye(3)).reshape(-1, 9)).reshape(-1, 3, 3) + np.eye(3)
    missing, left = (np.linalg.norm(np.einsum("vij,vj->vi", carried, o), axis=1) for o in (wanted, wanted - given))
    concerned = (missing > 1e-3) | (left > 1e-3)
    linear = shipped.vertices[0] - np.einsum("vij,vj->vi", carried, given)
    litres = [
        _litres(vertices, body.faces) - _litres(body.v_template, body.faces)
        for vertices in (linear, shipped.vertices[0])
    ]
    mm = [1000 * error[concerned].mean() if concerned.any() else 0.0 for error in (missing, left)]
    return f"{part:.0%}: {mm[0]:.1f} > {mm[1]:.1f}, {litres[0]:+.2f} > {litres[1]:+.2f}"


def _litres(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = vertices[faces].transpose(1, 0, 2).astype(np.float64)
    return 1000 * np.einsum("fc,fc->", np.cross(a, b), c) / 6


if __name__ == "__main__":
    main()
