# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE's networks and metrics against the numbers of the published ones, filled with the same weights."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from recover_body.engine import solver_keypoints
from recover_body.engine.camera_published import Trace, solve_published, start_from_keypoints
from recover_body.engine.camera_solver import solve_camera
from recover_body.engine.contour import Edges
from recover_body.engine.evaluation import metrics
from recover_body.models.aios import AiosTrunk, People, position_map, proposed_logits
from recover_body.models.blade import DepthNet, PoseNet
from recover_body.models.deformable_attention import DeformableAttention, sample
from recover_body.models.rotations_torch import matrix_to_rotvec
from recover_body.tests import blade_fill

from .report import ABSOLUTE, Fixture, as_numpy
from .stages import recorded
from .toy_body import SolverCase

EVERY = slice(None)
NOISE_MARGIN = 20
"""How many times the fixture's own arithmetic noise a number may be off."""


def compare(fixture: Fixture, quantity: str, ours, tolerance: float = ABSOLUTE) -> None:
    """Errors count in units of the number where that is above 1; noisy quantities have what room the file grants."""
    tolerance = max(tolerance, NOISE_MARGIN * fixture.meta.get("noise_floor", {}).get(quantity, 0.0))
    ours, theirs = as_numpy(ours).astype(np.float64), fixture[quantity].astype(np.float64)
    fixture.compared.add(quantity)
    if ours.shape != theirs.shape:
        fixture.note(f"{quantity} has shape {ours.shape}, not {theirs.shape}", np.inf, tolerance)
        return
    fixture.note(quantity, (np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))).max(initial=0.0), tolerance)


def check_metrics(fixture: Fixture) -> None:
    joints = (fixture["h36m17_pred"], fixture["h36m17_gt"])
    meshes = (fixture["verts_pred"], fixture["verts_gt"], *joints)
    pelvis = (fixture["pelvis_pred"], fixture["pelvis_gt"])
    for name, errors in (
        ("mpjpe", metrics.joint_errors_mm(*joints)),
        ("pa_mpjpe", metrics.joint_errors_mm(*joints, procrustes=True)),
        ("pve", metrics.vertex_errors_mm(*meshes)),
        ("pa_pve", metrics.vertex_errors_mm(*meshes, procrustes=True)),
    ):
        compare(fixture, f"{name}_mm", errors.mean())
        if f"{name}_array" in fixture:
            compare(fixture, f"{name}_array", errors)
    compare(fixture, "E_Tz", metrics.depth_error_m(*pelvis).mean())
    compare(fixture, "E_invTz", metrics.inverse_depth_error(*pelvis).mean())
    compare(fixture, "E_Txy", metrics.lateral_error_m(*pelvis).mean())
    compare(fixture, "E_f", metrics.focal_error(fixture["f_pred"], fixture["f_gt"]).mean())
    for state in ("pred", "opti"):
        maps = (fixture[f"parts_{state}"], fixture["parts_gt"])
        compare(fixture, f"miou_{state}_pct", 100 * metrics.mask_iou(*maps))
        compare(fixture, f"pmiou_{state}_pct", 100 * metrics.part_iou(*maps))
    depths = (fixture["depth_loss_pred"][:, 0], fixture["pelvis_gt"][:, 2])
    compare(fixture, "depth_loss", metrics.relative_depth_error(*depths).mean())


@torch.inference_mode()
def check_deformable_attention(fixture: Fixture) -> None:
    arrays = {name: torch.from_numpy(value) for name, value in fixture.arrays.items()}
    sizes = [tuple(size) for size in fixture["spatial_shapes"].tolist()]
    seen = sample(arrays["core.value"], sizes, arrays["core.sampling_locations"], arrays["core.attention_weights"])
    compare(fixture, "core.out", seen)
    attention = DeformableAttention(fixture.meta["d_model"], fixture.meta["heads"], len(sizes), fixture.meta["points"])
    state = {
        name: torch.from_numpy(blade_fill.value(fixture.meta["seed"], name, shape))
        for name, shape in fixture.meta["module_keys"]
    }
    attention.load_state_dict(state)
    for quantity, reference, mask in (
        ("mod.out_ref2", "mod.ref2", None),
        ("mod.out_ref2_mask", "mod.ref2", arrays["mod.mask"]),
        ("mod.out_ref4", "mod.ref4", None),
    ):
        compare(fixture, quantity, attention(arrays["mod.query"], arrays[reference], arrays["mod.input"], sizes, mask))


@torch.inference_mode()
def check_depth_network(fixture: Fixture) -> None:
    seed = fixture.meta["seed"]
    network = DepthNet.from_state(blade_fill.network_state(_entries(fixture, "depthnet"), seed))
    backbone = network.depth_backbone
    head = backbone.depth_head
    watched = {f"path_{level}": head.scratch.get_submodule(f"refinenet{level}") for level in (1, 2, 3, 4)}
    watched |= {"taps": backbone.pretrained, "feat224": network.depth_interface, "interface": network.depth_interface}
    for index, images in enumerate(fixture.meta["images"]):
        pictures = torch.cat([blade_fill.picture(seed, name, *images["hw"]) for name in images["names"]])
        with recorded(watched) as seen, _entering(network.depth_interface) as entered:
            depth_m = network(pictures)
        seen["feat224"] = entered[-1][0]
        case = f"case{index}"
        compare(fixture, f"{case}.pred_z", depth_m[:, None], 1e-5)
        for level, tokens in enumerate(seen["taps"]):
            step = max(1, (tokens.shape[1] - 1) // 40), max(1, tokens.shape[2] // 64)
            compare(fixture, f"{case}.vit_tokens.{level}", tokens[:, 1 :: step[0], :: step[1]])
            compare(fixture, f"{case}.vit_cls.{level}", tokens[:, 0, ::4])
        for name in ("path_4", "path_3", "path_2", "path_1", "feat224"):
            step = max(1, seen[name].shape[2] // 16)
            compare(fixture, f"{case}.{name}", seen[name][:, ::16, ::step, ::step])
        compare(fixture, f"{case}.interface", seen["interface"][:, ::16, ::4, ::4])
        unit = head.relative_depth(seen["path_1"], tuple(pictures.shape[2:]))
        compare(fixture, f"{case}.depth_unit", unit[..., ::7, ::7])


@torch.inference_mode()
def check_pose_network(fixture: Fixture) -> None:
    seed, over = fixture.meta["seed"], fixture.meta["over"]
    network = PoseNet.from_state(
        blade_fill.network_state(_entries(fixture, "posenet"), seed),
        candidates=over.get("num_queries", 900),
        groups=over.get("num_group", 100),
    )
    pictures = torch.cat(
        [blade_fill.picture(seed, name, *fixture.meta["image_hw"]) for name in fixture.meta["image_names"]]
    )
    branches = {"frozen": network.frozen.trunk, "control": network.control}
    watched = {}
    for branch, trunk in branches.items():
        watched |= {f"{branch}.{name}": module for name, module in _stages(trunk).items()}
    with recorded(watched) as seen, _entering(*_decoder_layers(branches)) as entered:
        candidates, deeper = network.groups(pictures, torch.tensor(fixture.meta["tz"]))
    every_group = torch.arange(candidates.logits.shape[1]).expand(len(pictures), -1)
    people = network.frozen.heads(candidates, every_group, deeper)
    for branch, trunk in branches.items():
        _check_branch(fixture, branch, trunk, seen, entered)
        entered = entered[len(trunk.transformer.decoder.layers) :]
    compare(fixture, "out.pred_logits", candidates.logits)
    _check_people(fixture, people)
    _check_ranking(fixture, candidates.logits, candidates.best(1), people)


def _stages(trunk: AiosTrunk) -> dict[str, torch.nn.Module]:
    transformer = trunk.transformer
    stages = {"backbone": trunk.backbone[0]["body"], "classes": transformer.enc_out_class_embed}
    stages |= {f"input_proj.{index}": module for index, module in enumerate(trunk.input_proj)}
    stages |= {f"enc.{index}": module for index, module in enumerate(transformer.encoder["layers"])}
    return stages | {f"dec.{index}": module for index, module in enumerate(transformer.decoder.layers)}


def _decoder_layers(branches: dict[str, AiosTrunk]) -> list[torch.nn.Module]:
    return [layer for trunk in branches.values() for layer in trunk.transformer.decoder.layers]


def _check_branch(
    fixture: Fixture, branch: str, trunk: AiosTrunk, seen: dict[str, Tensor], entered: list[tuple]
) -> None:
    is_full = "reduced" not in fixture.path.stem
    decoder, space = trunk.transformer.decoder, slice(None, None, 4 if is_full else 2)

    def note(quantity: str, values: Tensor, *thinning: slice) -> None:
        if f"{branch}.{quantity}" in fixture:
            compare(fixture, f"{branch}.{quantity}", values[thinning])

    for level, values in enumerate(seen[f"{branch}.backbone"]):
        note(f"backbone.{level}", values, EVERY, slice(None, None, 64 if is_full else 32), space, space)
    maps = [seen[f"{branch}.input_proj.{level}"] for level in range(4)]
    for level, values in enumerate(maps):
        note(f"input_proj.{level}", values, EVERY, slice(None, None, 32 if is_full else 8), space, space)
        space_of_position = slice(None, None, 8 if is_full else 2)
        note(f"pos.{level}", position_map(values), EVERY, slice(None, None, 32), space_of_position, space_of_position)
    for layer in range(len(trunk.transformer.encoder["layers"])):
        tokens = slice(None, None, 16 if is_full else 4)
        note(f"enc.{layer}", seen[f"{branch}.enc.{layer}"], EVERY, tokens, slice(None, None, 8))
    _check_proposals(fixture, branch, [tuple(level.shape[2:]) for level in maps], seen[f"{branch}.classes"])

    queries, channels = slice(None, None, 23 if is_full else 3), slice(None, None, 16 if is_full else 4)
    every_box = slice(None, None, 11 if is_full else 1)
    for index in range(len(decoder.layers)):
        left, boxes, layout = seen[f"{branch}.dec.{index}"], entered[index][2], entered[index][5]
        normed = decoder.norm(left)
        note(f"dec_hs.{index}", normed, EVERY, queries, channels)
        note(f"dec_ref.{index}", boxes, EVERY, every_box)
        note(f"dec_hs_mean.{index}", normed.mean(1))
        note(f"dec_hs_std.{index}", normed.std(1, correction=0))
        note(f"dec_ref_mean.{index}", boxes.mean(1))
    note(f"dec_ref.{index + 1}", decoder.moved(index, left, boxes, layout), EVERY, every_box)


def _check_proposals(fixture: Fixture, branch: str, sizes: list[tuple[int, int]], classes: Tensor) -> None:
    """Which tokens became candidates. Those without a place share one score, so only the others have an order."""
    key = f"{branch}.topk_valid_tokens_sorted"
    theirs = fixture[key]
    _, is_inside = proposed_logits(sizes, classes.device)
    chosen = classes.amax(-1).topk(theirs.shape[1], dim=1).indices.numpy()
    for ours, wanted in zip(chosen, theirs, strict=True):
        valid = np.sort(ours[is_inside.numpy()[ours]])
        wanted = wanted[wanted >= 0]
        fixture.note(key, float(len(np.setxor1d(valid, wanted))), 0.0)
    places_lost = (~is_inside.numpy()[chosen]).sum(1)
    fixture.note(f"{branch}.topk_num_invalid", np.abs(places_lost - fixture[f"{branch}.topk_num_invalid"]).max(), 0.0)
    fixture.compared.add(key)


def _check_people(fixture: Fixture, people: People) -> None:
    for quantity, values in {
        "pred_boxes": people.boxes[:, :, 0],
        "pred_lhand_boxes": people.boxes[:, :, 1],
        "pred_rhand_boxes": people.boxes[:, :, 2],
        "pred_face_boxes": people.boxes[:, :, 3],
        "pred_keypoints": _with_visibility(people.body_points),
        "pred_lhand_keypoints": _with_visibility(people.left_hand_points),
        "pred_rhand_keypoints": _with_visibility(people.right_hand_points),
        "pred_face_keypoints": _with_visibility(people.face_points),
        "pred_smpl_pose": people.body_rotations,
        "pred_smpl_lhand_pose": people.left_hand_rotations,
        "pred_smpl_rhand_pose": people.right_hand_rotations,
        "pred_smpl_jaw_pose": people.jaw_rotation,
        "pred_smpl_beta": people.betas,
        "pred_smpl_expr": people.expression,
        "pred_smpl_cam": people.camera,
    }.items():
        compare(fixture, f"out.{quantity}", values)
    parts = (people.body_rotations, people.left_hand_rotations, people.right_hand_rotations, people.jaw_rotation)
    compare_rotations(fixture, "out.pred_smpl_fullpose", matrix_to_rotvec(torch.cat(parts, dim=2)).flatten(2), ABSOLUTE)


def _with_visibility(points: Tensor) -> Tensor:
    """The reference appends the sigmoid of 1 to every point."""
    visibility = torch.ones(points.shape[:3]).sigmoid()
    return torch.cat([points.flatten(2), visibility], dim=-1)


def _check_ranking(fixture: Fixture, logits: Tensor, winner: Tensor, people: People) -> None:
    theirs = fixture["final.topk_query"]
    fixture.note("final.topk_query", float((winner[:, 0].numpy() != theirs[:, 0]).sum()), 0.0)
    listed = torch.from_numpy(theirs[:, : fixture["final.scores"].shape[1]].astype(np.int64))

    def pick(values: Tensor) -> Tensor:
        return values.take_along_dim(listed.view(*listed.shape, *[1] * (values.dim() - 2)), 1)

    labels = torch.from_numpy(fixture["final.labels"])[..., None]
    compare(fixture, "final.scores", pick(logits).take_along_dim(labels, -1)[..., 0].sigmoid())
    compare(fixture, "final.smplx_shape", pick(people.betas))
    compare(fixture, "final.smplx_expr", pick(people.expression))
    # These alone are not in the order of the ranking.
    compare(fixture, "final.keypoints_coco", people.body_points[:, : listed.shape[1]])
    height, width = fixture.meta["image_hw"]
    for index, part in enumerate(("body", "lhand", "rhand", "face")):
        centres, sizes = pick(people.boxes[:, :, index]).chunk(2, dim=-1)
        corners = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)
        compare(fixture, f"final.{part}_bbox", corners * torch.tensor([width, height, width, height]))
    for part, rotations in {
        "root": people.body_rotations[:, :, :1],
        "body": people.body_rotations[:, :, 1:],
        "lhand": people.left_hand_rotations,
        "rhand": people.right_hand_rotations,
        "jaw": people.jaw_rotation,
    }.items():
        compare_rotations(fixture, f"final.smplx_{part}_pose", matrix_to_rotvec(pick(rotations)).flatten(2), 2e-4)


def compare_rotations(fixture: Fixture, quantity: str, ours: Tensor, tolerance: float) -> None:
    """Rotation vectors (…, 3 N). A half turn has two of them, and rounding decides which."""
    theirs = fixture[quantity].reshape(*ours.shape[:-1], -1, 3)
    angle = np.linalg.norm(theirs, axis=-1, keepdims=True)
    other_way = theirs * (1 - 2 * math.pi / np.maximum(angle, 1e-9))
    ours = as_numpy(ours).reshape(theirs.shape)
    is_other = np.linalg.norm(ours - other_way, axis=-1, keepdims=True) < np.linalg.norm(
        ours - theirs, axis=-1, keepdims=True
    )
    compare(
        fixture,
        quantity,
        np.where(is_other, ours - other_way + theirs, ours).reshape(fixture[quantity].shape),
        tolerance,
    )


def _entries(fixture: Fixture, network: str) -> list[dict]:
    size = "_reduced" if "reduced" in fixture.path.stem else ""
    return fixture.keys(f"keys_{network}{size}.json.gz")["entries"]


@contextmanager
def _entering(*modules: torch.nn.Module):
    """Yields a list that fills with the arguments of every call, in order."""
    entered: list[tuple] = []
    hooks = [module.register_forward_pre_hook(lambda module, inputs: entered.append(inputs)) for module in modules]
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()


FIRST_STEPS = 2
"""The published loop amplifies rounding: its L1 terms change sign. Only its first steps can be compared."""


def check_camera_solver(fixture: Fixture) -> None:
    """The published procedure gives the published start and slopes; ours overlaps at least as much as it ends with."""
    for name, theirs in {
        "kpt58_coco_wholebody": solver_keypoints.COCO_WHOLEBODY,
        "kpt58_goliath": solver_keypoints.GOLIATH,
        "kpt58_smplx144": solver_keypoints.SMPLX_144,
        "kpt58_is_hand": solver_keypoints.IS_FINGER,
        "kpt58_mask": solver_keypoints.IS_HELD,
    }.items():
        compare(fixture, name, theirs, 0.0)
    for name, case in SolverCase.all_of(fixture.arrays).items():
        _check_published_solver(fixture, name, case)
        _check_our_solver(fixture, name, case)


def _check_published_solver(fixture: Fixture, name: str, case: SolverCase) -> None:
    start, evidence, rates = case.published()
    focal_px, translation = start_from_keypoints(case.given()[1], case["in_pred_z"][:, 0], evidence)
    fixture.note(f"{name}.init_f", (focal_px / start.focal_px - 1).abs().max(), 1e-4)
    compare(fixture, f"{name}.init_T", translation)
    trace = Trace()
    # As many iterations as the file, so that the phases of the blur are the same, but stopped early.
    faces = torch.from_numpy(case.body.faces)
    iterations = case.options["n_iterations"]
    solve_published(case.body, faces, start, evidence, rates, iterations, trace, stop_after=FIRST_STEPS)
    for key, values, tolerance in (
        ("trace_f", torch.stack([state.focal_px for state in trace.states])[..., None], 1e-4),
        ("trace_T", torch.stack([state.translation for state in trace.states]), 1e-3),
        ("trace_iou", torch.stack(trace.ious), 1e-2),
        ("trace_loss", torch.stack(trace.losses), 1e-2),
        ("trace_kpt_loss_unhalved", torch.stack(trace.keypoint_losses), 1e-2),
    ):
        theirs = fixture[f"{name}.{key}"]
        difference = np.abs(as_numpy(values)[0] - theirs[0]) / np.maximum(1, np.abs(theirs[0]))
        fixture.note(f"{name}.{key} at the start", difference.max(), 1e-4)
        difference = np.abs(as_numpy(values) - theirs[: len(values)]) / np.maximum(1, np.abs(theirs[: len(values)]))
        fixture.note(f"{name}.{key}", difference.max(), tolerance)
    slopes = torch.cat([trace.gradients[0].focal_px[:, None], trace.gradients[0].translation], dim=-1).numpy()
    theirs = fixture[f"{name}.trace_grad_fTxTyTz"][0]
    for index, part in ((slice(0, 1), "f"), (slice(1, 4), "T")):
        error = np.linalg.norm(slopes[:, index] - theirs[:, index]) / np.linalg.norm(theirs[:, index])
        fixture.note(f"{name}.slope of {part}", float(error), 0.05)


def _check_our_solver(fixture: Fixture, name: str, case: SolverCase) -> None:
    scene, freedom = case.ours()
    camera = solve_camera(scene, Edges.of(case.body.faces), freedom)
    lost = (case["hard_iou_best"] - case.overlap(camera)).clamp_min(0).max()
    fixture.note(f"{name} overlap lost", lost, 0.0)
    is_exact = not any(case.options[key] for key in ("tz_err", "kp_noise_px", "pose_noise"))
    if is_exact:
        fixture.note(f"{name} focal length", (camera.focal_px / case["gt_f"] - 1).abs().max(), 0.01)
        fixture.note(f"{name} translation", (camera.translation - case["gt_T"]).norm(dim=-1).max(), 0.01)
