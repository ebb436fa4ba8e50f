# SPDX-License-Identifier: GPL-3.0-or-later
"""The body model: physics of the skeleton, symmetry, the torch twin, and the package `smplx` on the same body."""

import dataclasses

import numpy as np
import pytest

from recover_body.models.body_model import SHIPPED_BODIES, Corrective, load_body
from recover_body.models.rotations import matrix_to_rotvec, rotvec_to_matrix


@pytest.fixture(params=SHIPPED_BODIES, scope="module")
def body(request):
    return load_body(request.param)


def random_pose(body, count=3, seed=0, size=0.4):
    rng = np.random.default_rng(seed)
    return dict(
        pose=rng.normal(0, size, (count, body.joint_count, 3)).astype(np.float32),
        betas=rng.normal(0, 1, (count, body.beta_count)).astype(np.float32),
        expression=rng.normal(0, 1, (count, body.expression_count)).astype(np.float32),
        translation=rng.normal(0, 1, (count, 3)).astype(np.float32),
    )


def zero_pose(body, count=1):
    return np.zeros((count, body.joint_count, 3), np.float32)


def mirrored_joints(body):
    swap = {"left": "right", "right": "left"}
    names = [
        name.replace(name.split("_")[0], swap.get(name.split("_")[0], name.split("_")[0]), 1)
        for name in body.joint_names
    ]
    return [body.joint_names.index(name) for name in names]


def mirrored_vertices(body):
    """For each vertex the one at its mirror image; the template is exactly symmetric, so equality finds it."""
    place = {tuple(position): index for index, position in enumerate((body.v_template + 0.0).tolist())}
    return np.array([place[tuple(position)] for position in (body.v_template * [-1, 1, 1] + 0.0).tolist()])


# ---- the rest pose ----


def test_the_identity_pose_is_the_template(body):
    out = body.forward(zero_pose(body), np.zeros((1, 10)))
    np.testing.assert_allclose(out.vertices[0], body.v_template, atol=1e-6)
    np.testing.assert_allclose(out.joints[0], body.J_regressor @ body.v_template, atol=1e-6)


def test_rest_joints_are_the_regressor_applied_to_the_rest_vertices(body):
    parameters = random_pose(body)
    vertices = body.rest_vertices(parameters["betas"], parameters["expression"])
    joints = body.rest_joints(parameters["betas"], parameters["expression"])
    np.testing.assert_allclose(joints, body.J_regressor @ vertices, atol=2e-6)


def test_the_body_stands_upright_faces_front_and_has_its_left_at_plus_x(body):
    at = dict(zip(body.joint_names, body.joints_template, strict=True))
    assert at["head"][1] > at["pelvis"][1] > at["left_knee"][1] > at["left_ankle"][1]
    assert at["left_wrist"][0] > at["left_elbow"][0] > at["left_shoulder"][0] > 0
    assert at["left_foot"][2] > at["left_ankle"][2] + 0.05
    arm = at["left_wrist"] - at["left_shoulder"]
    assert abs(arm[1]) < 0.15 * arm[0], "a T-pose has level arms"


def test_the_stature_is_an_adults(body):
    stature = np.ptp(body.v_template[:, 1])
    low, high = {"neutral": (1.68, 1.78), "female": (1.60, 1.72), "male": (1.74, 1.85)}[body.gender]
    assert low < stature < high


def test_landmarks_lie_where_they_are_called(body):
    at = {name: body.v_template[vertex] for name, vertex in body.landmark_vertices.items()}
    joint = dict(zip(body.joint_names, body.joints_template, strict=True))
    assert at["nose"][2] > at["left_eye"][2] > at["left_ear"][2]
    assert at["left_big_toe"][0] < at["left_small_toe"][0] and at["left_heel"][2] < joint["left_ankle"][2]
    assert np.linalg.norm(at["left_eye"] - joint["left_eye_smplhf"]) < 0.03
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        beyond = at[f"left_{finger}_tip"] - joint[f"left_{finger}3"]
        assert 0.01 < np.linalg.norm(beyond) < 0.06 and beyond[0] > 0
    for name, position in at.items():
        if name.startswith("left_"):
            np.testing.assert_array_equal(at["right_" + name[5:]], position * [-1, 1, 1])


def test_the_face_points_lie_on_the_face(body):
    corners = body.v_template[body.faces[body.mediapipe_face_faces]]
    points = (corners * body.mediapipe_face_bary[..., None]).sum(1)
    assert len(points) == 478
    np.testing.assert_allclose(body.mediapipe_face_bary.sum(1), 1, atol=1e-4)
    nose, forehead, chin, left_iris = points[1], points[10], points[152], points[473]
    assert np.linalg.norm(nose - body.v_template[body.landmark_vertices["nose"]]) < 0.02
    assert forehead[1] > nose[1] > chin[1]
    assert np.linalg.norm(left_iris - body.v_template[body.landmark_vertices["left_eye"]]) < 0.01


def test_materials_and_texture_coordinates_cover_the_mesh(body):
    assert body.face_materials.shape == (len(body.faces),) and body.face_uvs.shape == body.faces.shape
    assert set(body.face_materials) == set(range(len(body.material_names)))
    assert body.face_uvs.max() < len(body.uv) and body.uv.min() >= 0 and body.uv.max() <= 1
    joint = dict(zip(body.joint_names, body.joints_template, strict=True))
    iris = body.faces[body.face_materials == body.material_names.index("iris")]
    centres = body.v_template[iris].mean(1)
    assert min(np.linalg.norm(centres - joint[f"{side}_eye_smplhf"], axis=1).max() for side in ("left", "right")) < 0.08
    assert (centres[:, 2] > joint["left_eye_smplhf"][2]).all()


def test_the_surface_is_closed_consistently_and_faces_outward(body):
    assert 45 < litres(body.v_template, body) < 100, "the signed volume of an adult"


# ---- symmetry ----


def test_shape_and_weights_are_exactly_symmetric(body):
    vertex, joint = mirrored_vertices(body), mirrored_joints(body)
    flip = np.array([-1, 1, 1], np.float32)
    np.testing.assert_array_equal(body.weights[vertex][:, joint], body.weights)
    np.testing.assert_array_equal(body.J_regressor[joint][:, vertex], body.J_regressor)
    np.testing.assert_allclose(body.shapedirs[vertex] * flip[:, None], body.shapedirs, atol=1e-7)
    np.testing.assert_allclose(body.exprdirs[vertex] * flip[:, None], body.exprdirs, atol=1e-7)


def test_a_mirrored_pose_gives_the_mirrored_body(body):
    vertex, joint = mirrored_vertices(body), mirrored_joints(body)
    flip = np.array([-1, 1, 1], np.float32)
    parameters = random_pose(body, 1)
    out = body.forward(**parameters)
    # In a mirror a rotation vector keeps its x and loses the signs of y and z.
    parameters["pose"] = parameters["pose"][:, joint] * -flip
    parameters["translation"] = parameters["translation"] * flip
    seen = body.forward(**parameters)
    np.testing.assert_allclose(seen.vertices[0][vertex] * flip, out.vertices[0], atol=5e-6)
    np.testing.assert_allclose(seen.joints[0][joint] * flip, out.joints[0], atol=5e-6)


# ---- posing ----


def test_a_batch_equals_its_bodies_one_by_one(body):
    parameters = random_pose(body, 4)
    together = body.forward(**parameters)
    for i in range(4):
        alone = body.forward(**{name: value[i : i + 1] for name, value in parameters.items()})
        for field in ("vertices", "joints", "rotations"):
            np.testing.assert_allclose(getattr(alone, field)[0], getattr(together, field)[i], atol=2e-6)


def test_one_shape_serves_a_whole_clip(body):
    parameters = random_pose(body, 3)
    shared = body.forward(parameters["pose"], parameters["betas"][:1])
    repeated = body.forward(parameters["pose"], np.repeat(parameters["betas"][:1], 3, 0))
    np.testing.assert_allclose(shared.vertices, repeated.vertices, atol=1e-6)


def test_chosen_vertices_equal_the_same_vertices_of_all(body):
    parameters = random_pose(body)
    ids = np.array([9000, 3, 12000, 3])
    some = body.forward(**parameters, vertex_ids=ids)
    np.testing.assert_allclose(some.vertices, body.forward(**parameters).vertices[:, ids], atol=1e-6)


def test_turning_the_root_turns_everything_about_the_pelvis(body):
    parameters = random_pose(body, 1)
    before = body.forward(**parameters)
    turn = rotvec_to_matrix(np.array([0.3, -1.2, 0.5]))
    root = turn @ rotvec_to_matrix(parameters["pose"][0, 0].astype(np.float64))
    parameters["pose"][0, 0] = matrix_to_rotvec(root)
    after = body.forward(**parameters)
    pelvis = before.joints[0, 0]
    np.testing.assert_allclose(after.joints[0, 0], pelvis, atol=1e-6)
    np.testing.assert_allclose(after.vertices[0], (before.vertices[0] - pelvis) @ turn.T + pelvis, atol=5e-6)


def test_the_pelvis_lies_at_translation_plus_its_rest_position(body):
    parameters = random_pose(body)
    rest = body.rest_joints(parameters["betas"], parameters["expression"])
    np.testing.assert_allclose(
        body.forward(**parameters).joints[:, 0], parameters["translation"] + rest[:, 0], atol=2e-6
    )


def test_bones_keep_their_lengths_and_a_joint_moves_only_what_hangs_on_it(body):
    parameters = random_pose(body)
    before = body.forward(**parameters)
    rest = body.rest_joints(parameters["betas"], parameters["expression"])
    children, parents = np.arange(1, body.joint_count), body.parents[1:]
    lengths = np.linalg.norm(before.joints[:, children] - before.joints[:, parents], axis=-1)
    np.testing.assert_allclose(lengths, np.linalg.norm(rest[:, children] - rest[:, parents], axis=-1), atol=5e-6)

    elbow = body.joint_names.index("left_elbow")
    below = [j for j in range(body.joint_count) if elbow in _ancestors(body, j)]
    parameters["pose"][:, elbow] += [0.2, -0.7, 0.1]
    after = body.forward(**parameters)
    moved = np.linalg.norm(after.joints - before.joints, axis=-1).max(0) > 1e-4
    assert set(np.flatnonzero(moved)) == set(below)
    vertex_moved = np.linalg.norm(after.vertices - before.vertices, axis=-1).max(0) > 1e-4
    carried = body.weights[:, [elbow, *below]].sum(1) > 0
    assert not (vertex_moved & ~carried).any() and vertex_moved[carried].mean() > 0.9


def _ancestors(body, joint):
    chain = []
    while (joint := body.parents[joint]) >= 0:
        chain.append(joint)
    return chain


def test_weights_are_shares_of_at_most_four_joints(body):
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-6)
    assert body.weights.min() >= 0 and (body.weights > 0).sum(1).max() <= 4


def test_the_blink_closes_both_eyes_and_leaves_the_body_alone(body):
    blink = np.eye(10, dtype=np.float32)[6:7]
    moved = np.linalg.norm(body.rest_vertices(np.zeros((1, 10)), blink)[0] - body.v_template, axis=1)
    eyes = body.joints_template[[body.joint_names.index(f"{side}_eye_smplhf") for side in ("left", "right")]]
    distance = np.linalg.norm(body.v_template[:, None] - eyes, axis=2).min(1)
    assert moved[distance < 0.03].max() > 0.004 and moved[distance > 0.08].max() < 0.001


def test_jaw_and_fingers_turn_the_right_way(body):
    joint = {name: index for index, name in enumerate(body.joint_names)}
    pose = zero_pose(body)
    pose[0, joint["jaw"], 0] = 0.3
    lip = body.faces[body.mediapipe_face_faces[17]][0]
    opened = body.forward(pose, np.zeros((1, 10))).vertices[0, lip] - body.v_template[lip]
    assert opened[1] < -0.01, "a positive turn about x drops the lower lip"
    relaxed = zero_pose(body)
    relaxed[0, 25:40], relaxed[0, 40:55] = body.hands_mean_left, body.hands_mean_right
    hands = body.forward(relaxed, np.zeros((1, 10))).vertices[0]
    for side in ("left", "right"):
        tip = body.landmark_vertices[f"{side}_middle_tip"]
        assert hands[tip, 1] < body.v_template[tip, 1] - 0.02, "relaxed fingers droop, palms are down"


# ---- correctives and pose blend shapes ----


def corrected(body):
    """The body with a made-up corrective at the left knee."""
    offsets = np.random.default_rng(1).normal(0, 0.01, body.v_template.shape).astype(np.float32)
    knee = body.joint_names.index("left_knee")
    return dataclasses.replace(body, correctives=(Corrective("knee", knee, np.array([1.0, 0, 0]), 2.0, offsets),))


def test_a_corrective_fades_in_with_its_angle_and_stays_full(body):
    body = corrected(body)
    pose = zero_pose(body, 4)
    pose[:, body.joint_names.index("left_knee"), 0] = [-1.0, 0.0, 1.0, 2.5]
    weights = body.corrective_weights(rotvec_to_matrix(pose))
    np.testing.assert_allclose(weights[:, 0], [0, 0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("joint", "turn"),
    [("hip", [-1.9, 0, 0]), ("knee", [2.1, 0, 0]), ("wrist", [1.5, 0, 0]), ("shoulder", [-1.5, 0, 0])],
)
def test_correctives_keep_the_volume_of_bent_and_twisted_limbs(body, joint, turn):
    pose = zero_pose(body)
    for side, sign in (("left", [1, 1, 1]), ("right", [1, -1, -1])):
        pose[0, body.joint_names.index(f"{side}_{joint}")] = np.multiply(turn, sign)
    plain = dataclasses.replace(body, correctives=())
    lost, kept = (
        litres(body.v_template, body) - litres(b.forward(pose, np.zeros((1, 10))).vertices[0], body)
        for b in (plain, body)
    )
    assert lost > 0 and abs(kept) < 0.6 * lost


def test_correctives_come_in_mirrored_pairs_and_name_their_joint(body):
    assert len({corrective.name for corrective in body.correctives}) == len(body.correctives)
    vertex = mirrored_vertices(body)
    for left, right in zip(body.correctives[::2], body.correctives[1::2], strict=True):
        assert right.name == left.name.replace("left_", "right_")
        assert body.joint_names[right.joint] == body.joint_names[left.joint].replace("left_", "right_")
        np.testing.assert_array_equal(left.axis * [1, -1, -1], right.axis)
        np.testing.assert_array_equal(left.offsets[vertex] * np.float32([-1, 1, 1]), right.offsets)


def litres(vertices, body):
    """The volume that the surface encloses."""
    a, b, c = vertices[body.faces].transpose(1, 0, 2).astype(np.float64)
    return 1000 * np.einsum("fc,fc->f", np.cross(a, b), c).sum() / 6


def test_pose_blend_shapes_see_the_rotations_less_the_identity(body):
    joints = body.joint_count - 1
    posedirs = np.zeros((*body.v_template.shape, 9 * joints), np.float32)
    knee = body.joint_names.index("left_knee")
    posedirs[5, 2, 9 * (knee - 1) + 7] = 0.1  # row 2, column 1 of the knee's matrix: the sine of a turn about x
    bent = dataclasses.replace(body, posedirs=posedirs)
    pose = zero_pose(body)
    pose[0, 0, 1] = 1.0  # the root is not among the features
    pose[0, knee, 0] = 0.5
    moved = bent.forward(pose, np.zeros((1, 10))).vertices - body.forward(pose, np.zeros((1, 10))).vertices
    np.testing.assert_allclose(np.linalg.norm(moved[0, 5]), 0.1 * np.sin(0.5), atol=1e-6)
    assert np.abs(np.delete(moved[0], 5, 0)).max() == 0


# ---- the torch twin ----


def test_torch_equals_numpy(body):
    torch = pytest.importorskip("torch")
    from recover_body.models.body_model_torch import TorchBodyModel

    for model in (body, corrected(body)):
        parameters = random_pose(model, 3, size=0.6)
        expected = model.forward(**parameters)
        with torch.no_grad():
            out = TorchBodyModel(model)(**{name: torch.from_numpy(value) for name, value in parameters.items()})
        for field in ("vertices", "joints", "rotations"):
            np.testing.assert_allclose(getattr(out, field), getattr(expected, field), atol=1e-5)


def few_vertices(body, count=12):
    """The same skeleton with a handful of vertices, so that a numerical gradient is quick."""
    ids = np.linspace(0, len(body.v_template) - 1, count).astype(int)
    some = dataclasses.replace(
        body,
        v_template=body.v_template[ids],
        shapedirs=body.shapedirs[ids],
        exprdirs=body.exprdirs[ids],
        weights=body.weights[ids],
        J_regressor=np.random.default_rng(2).dirichlet(np.ones(count), body.joint_count).astype(np.float32),
        posedirs=np.random.default_rng(3).normal(0, 0.01, (count, 3, 9 * (body.joint_count - 1))).astype(np.float32),
        correctives=(),
    )
    return corrected(some)


def test_gradients_are_right_at_zero_and_elsewhere():
    torch = pytest.importorskip("torch")
    from recover_body.models.body_model_torch import TorchBodyModel

    model = TorchBodyModel(few_vertices(load_body("neutral")), torch.float64)
    for seed, size in ((0, 0.5), (1, 0.0)):
        generator = torch.Generator().manual_seed(seed)
        pose = size * torch.randn(1, 55, 3, dtype=torch.float64, generator=generator)
        if size == 0:
            pose[0, 4, 0] = 0.3  # off the corner that the corrective's clamp has at zero
        inputs = [
            pose,
            torch.randn(1, 10, dtype=torch.float64),
            torch.randn(1, 10, dtype=torch.float64),
            torch.zeros(1, 3, dtype=torch.float64),
        ]
        inputs = [tensor.requires_grad_() for tensor in inputs]
        assert torch.autograd.gradcheck(lambda *args: model(*args)[:2], inputs, eps=1e-6, atol=1e-6, fast_mode=True)


# ---- another implementation ----


def test_it_equals_the_smplx_package_on_our_body(body, tmp_path):
    torch = pytest.importorskip("torch")
    smplx = pytest.importorskip("smplx", reason="conformance needs the extra `smplx` (non-commercial licence)")
    rng = np.random.default_rng(4)
    posedirs = rng.normal(0, 1e-3, (len(body.v_template), 3, 9 * (body.joint_count - 1))).astype(np.float32)
    ours = dataclasses.replace(body, posedirs=posedirs, correctives=())
    path = tmp_path / f"SMPLX_{body.gender.upper()}.npz"
    write_smplx_layout(ours, path)
    theirs = smplx.SMPLX(
        str(path), gender=body.gender, num_betas=10, num_expression_coeffs=10, use_pca=False, flat_hand_mean=True
    )
    parameters = random_pose(body, 1)
    p = {name: torch.from_numpy(value) for name, value in parameters.items()}
    with torch.no_grad():
        expected = theirs(
            global_orient=p["pose"][:, 0], body_pose=p["pose"][:, 1:22].flatten(1), jaw_pose=p["pose"][:, 22],
            leye_pose=p["pose"][:, 23], reye_pose=p["pose"][:, 24], left_hand_pose=p["pose"][:, 25:40].flatten(1),
            right_hand_pose=p["pose"][:, 40:].flatten(1), betas=p["betas"], expression=p["expression"],
            transl=p["translation"],
        )  # fmt: skip
    for model in (ours, load_body(path)):
        out = model.forward(**parameters)
        np.testing.assert_allclose(out.vertices, expected.vertices, atol=1e-5)
        np.testing.assert_allclose(out.joints, expected.joints[:, :55], atol=1e-5)


def write_smplx_layout(body, path):
    """The arrays of an SMPL-X .npz, as far as the package asks for them."""
    kintree = np.stack([body.parents.astype(np.int64) % 2**32, np.arange(body.joint_count)])
    np.savez(
        path,
        v_template=body.v_template, f=body.faces.astype(np.uint32), weights=body.weights, J_regressor=body.J_regressor,
        shapedirs=np.concatenate([body.shapedirs, body.exprdirs], 2), posedirs=body.posedirs, kintree_table=kintree,
        hands_meanl=body.hands_mean_left.ravel(), hands_meanr=body.hands_mean_right.ravel(),
        hands_componentsl=np.eye(45), hands_componentsr=np.eye(45),
        lmk_faces_idx=np.zeros(51, np.int64), lmk_bary_coords=np.full((51, 3), 1 / 3),
        dynamic_lmk_faces_idx=np.zeros((79, 17), np.int64), dynamic_lmk_bary_coords=np.full((79, 17, 3), 1 / 3),
    )  # fmt: skip
