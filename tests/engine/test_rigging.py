# SPDX-License-Identifier: GPL-3.0-or-later
"""A rig moves as its body does, and its bone axes do what the module promises animators."""

import numpy as np
import pytest

from recover_body.engine import rigging
from recover_body.models.body_model import load_body
from recover_body.models.rotations import rotvec_to_matrix
from recover_body.wire.take import PersonTrack

BETAS = np.linspace(-1.5, 1.5, 10)


def person(body="neutral", betas=BETAS, frames=2):
    full = lambda *shape: np.zeros((frames, *shape))  # noqa: E731
    expression = full(10)
    expression[1] = np.arange(10) / 10
    return PersonTrack(
        id=3, name="Anna", present=np.array([False, True]), boxes_px=full(4), score=full(), pose=full(55, 3),
        betas=betas, expression=expression, translation=full(3), keypoint_names=(), keypoints_px=full(0, 3),
        joint_confidence=full(55), joint_inferred=full(55) > 0, overlay_iou=full(), reprojection_px=full(),
        reprojection_percent=full(), body=body,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rig():
    return rigging.plan_rig(person())


@pytest.fixture(scope="module")
def body():
    return load_body("neutral")


def axes(rig):
    """(J, 3, 3) columns x, y, z of each bone, as Blender makes them from head, tail and z."""
    y = rig.bone_tails - rig.bone_heads
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    z = rig.bone_z_axes
    return np.stack([np.cross(y, z), y, z], -1)


def test_names_and_sizes(rig, body):
    assert (rig.person_id, rig.name) == (3, "Anna")
    assert rig.bone_names == body.joint_names and len(rig.bone_names) == 55
    assert rig.shape_names[0] == "beta_01" and rig.shape_names[-1] == "expression_10"
    assert rig.shape_values == pytest.approx(np.r_[BETAS, np.arange(10) / 10])  # of the first frame with the person
    assert rig.face_materials.max() < len(rig.material_names)
    assert rig.face_uvs.max() < len(rig.uvs)


def test_shape_keys_give_the_persons_body(rig, body):
    shaped = rig.vertices + np.tensordot(rig.shape_values, rig.shape_offsets, 1)
    expected = body.rest_vertices(BETAS[None], np.arange(10)[None] / 10)[0]
    assert np.abs(shaped - expected).max() < 1e-5
    assert np.abs(rig.bone_heads - body.rest_joints(BETAS[None], np.arange(10)[None] / 10)[0]).max() < 1e-5


def test_posing_the_bones_poses_the_body(rig, body):
    """Linear blend skinning with the plan's own bones and weights, as Blender does it, equals the body model."""
    pose = np.random.default_rng(1).normal(0, 0.3, (1, 55, 3))
    expected = body.forward(pose, BETAS[None], np.arange(10)[None] / 10)
    local = rotvec_to_matrix(pose[0])
    world, joints = np.empty((55, 3, 3)), np.empty((55, 3))
    for bone, parent in enumerate(rig.bone_parents):
        if parent < 0:
            world[bone], joints[bone] = local[bone], rig.bone_heads[bone]
        else:
            world[bone] = world[parent] @ local[bone]
            joints[bone] = joints[parent] + world[parent] @ (rig.bone_heads[bone] - rig.bone_heads[parent])
    rest = rig.vertices + np.tensordot(rig.shape_values, rig.shape_offsets, 1)
    if rig.correctives:
        rest = rest + np.tensordot(body.corrective_weights(local[None])[0], rig.corrective_offsets, 1)
    moved = np.einsum("vbij,vbj->vbi", world[rig.weight_bones], rest[:, None] - rig.bone_heads[rig.weight_bones])
    vertices = (rig.weights[..., None] * (moved + joints[rig.weight_bones])).sum(1)
    assert np.abs(joints - expected.joints[0]).max() < 1e-3
    # The body's joints move a little with the expression, its bones do not: hence half a millimetre, not 1e-5.
    assert np.abs(vertices - expected.vertices[0]).max() < 1e-3


def test_weights(rig, body):
    assert rig.weights.shape == (len(body.v_template), rigging.INFLUENCES)
    assert np.abs(rig.weights.sum(1) - 1).max() < 1e-5
    assert (np.diff(rig.weights, axis=1) <= 0).all()
    dense = np.zeros_like(body.weights)
    np.put_along_axis(dense, rig.weight_bones, rig.weights, 1)
    assert np.abs(dense - body.weights).max() < 0.02


def test_more_than_four_influences_are_cut_to_the_strongest():
    bones, weights = rigging.strongest_weights(np.array([[0.1, 0.3, 0.05, 0.2, 0.25, 0.1]]))
    assert bones.tolist() == [[1, 4, 3, 0]]
    assert weights[0] == pytest.approx(np.array([0.3, 0.25, 0.2, 0.1]) / 0.85)


def test_tails_point_at_children(rig):
    tail = dict(zip(rig.bone_names, rig.bone_tails, strict=True))
    head = dict(zip(rig.bone_names, rig.bone_heads, strict=True))
    for bone, child in [
        ("pelvis", "spine1"), ("spine3", "neck"), ("neck", "head"), ("left_hip", "left_knee"),
        ("right_knee", "right_ankle"), ("left_ankle", "left_foot"), ("left_collar", "left_shoulder"),
        ("right_elbow", "right_wrist"), ("left_wrist", "left_middle1"), ("right_thumb2", "right_thumb3"),
    ]:  # fmt: skip
        assert np.abs(tail[bone] - head[child]).max() < 1e-9, bone
    along = {name: (tail[name] - head[name]) / np.linalg.norm(tail[name] - head[name]) for name in tail}
    assert along["head"] == pytest.approx([0, 1, 0])
    for name in ("left_foot", "right_foot", "left_eye_smplhf", "right_eye_smplhf"):
        assert along[name] == pytest.approx([0, 0, 1])
    assert along["jaw"][2] > 0.5
    for finger in ("index3", "middle3", "ring3", "pinky3"):
        assert along[f"left_{finger}"][0] > 0.8 and along[f"right_{finger}"][0] < -0.8


def test_axes_are_a_frame(rig):
    assert np.linalg.norm(rig.bone_tails - rig.bone_heads, axis=1).min() >= 0.01 - 1e-9
    frames = axes(rig)
    assert np.abs(frames.swapaxes(1, 2) @ frames - np.eye(3)).max() < 1e-9
    assert np.linalg.det(frames) == pytest.approx(np.ones(55))


def test_left_and_right_mirror_each_other():
    rig = rigging.plan_rig(person(betas=np.zeros(10)))
    frames, names = axes(rig), list(rig.bone_names)
    for bone, name in enumerate(names):
        if name.startswith("left_"):
            other = names.index(name.replace("left_", "right_"))
            mirrored = np.diag([-1.0, 1, 1]) @ frames[bone] @ np.diag([-1.0, 1, 1])
            assert np.abs(mirrored - frames[other]).max() < 0.05, name


@pytest.mark.parametrize("bones, point, direction", [
    (["spine1", "spine2", "spine3", "neck"], "head", (0, 0, 1)),
    (["left_knee"], "left_ankle", (0, 0, -1)), (["right_knee"], "right_ankle", (0, 0, -1)),
    (["left_hip"], "left_knee", (0, 0, -1)), (["left_ankle"], "left_foot", (0, -1, 0)),
    (["right_ankle"], "right_foot", (0, -1, 0)),
    (["left_elbow"], "left_wrist", (0, 0, 1)), (["right_elbow"], "right_wrist", (0, 0, 1)),
    (["left_shoulder"], "left_elbow", (0, 0, 1)), (["right_shoulder"], "right_elbow", (0, 0, 1)),
    (["left_wrist"], "left_middle1", (0, -1, 0)), (["right_wrist"], "right_middle1", (0, -1, 0)),
    (["left_index1", "left_index2"], "left_index3", (0, -1, 0)),
    (["right_pinky1", "right_pinky2"], "right_pinky3", (0, -1, 0)),
    (["left_thumb1", "left_thumb2"], "left_thumb3", (0, 0, -1)),
    (["right_thumb1", "right_thumb2"], "right_thumb3", (0, 0, -1)),
])  # fmt: skip
def test_positive_x_does_what_is_promised(rig, body, bones, point, direction):
    """Turn the bones by 0.3 rad about their own x: the joint further out moves in the promised direction."""
    frames, names = axes(rig), list(rig.bone_names)
    pose = np.zeros((1, 55, 3))
    for bone in bones:
        pose[0, names.index(bone)] = 0.3 * frames[names.index(bone), :, 0]
    moved = body.forward(pose, BETAS[None]).joints[0, names.index(point)] - rig.bone_heads[names.index(point)]
    assert moved @ np.array(direction) / np.linalg.norm(moved) > 0.6


def test_positive_x_opens_the_mouth_and_lowers_the_eyes(rig):
    frames = axes(rig)
    for name in ("jaw", "left_eye_smplhf", "right_eye_smplhf"):
        assert frames[list(rig.bone_names).index(name), :, 0] == pytest.approx([1, 0, 0], abs=1e-9)


def test_a_fist_closes(rig, body):
    """All finger joints turned by 80 degrees: the tips come close to the palm, on both hands."""
    frames, names = axes(rig), list(rig.bone_names)
    pose = np.zeros((1, 55, 3))
    for bone, name in enumerate(names):
        if any(finger in name for finger in ("index", "middle", "ring", "pinky")):
            pose[0, bone] = np.radians(80) * frames[bone, :, 0]
    posed = body.forward(pose, BETAS[None]).vertices[0]
    rest = body.rest_vertices(BETAS[None])[0]
    for side in ("left", "right"):
        palm = rig.bone_heads[names.index(f"{side}_middle1")]
        tip = body.landmark_vertices[f"{side}_middle_tip"]
        assert np.linalg.norm(posed[tip] - palm) < 0.6 * np.linalg.norm(rest[tip] - palm)
