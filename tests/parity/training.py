# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses, vocabulary, augmentation and scores against the numbers of the published training and evaluation."""

from __future__ import annotations

import re

import numpy as np
import torch

from recover_body.engine.evaluation import metrics, protocols
from recover_body.engine.training import augment, tals, tokenizer_losses
from recover_body.engine.training.extreme_crop import Box, extreme_crop
from recover_body.engine.training.vocabulary import Vocabulary
from recover_body.models.pose_tokens import Quantizer, TokenizerConfig
from recover_body.models.rotations_torch import rotvec_to_matrix
from recover_body.models.smpl_joints import EVALUATED

from .report import Fixture
from .standins import smplh_bodies

RELATIVE = 1e-5
MEASURED_SETS = ("BEDLAM", "H36M-TRAIN-WMASK")


def check_vocabulary(fixture: Fixture) -> None:
    codes, width = fixture["codebook0"].shape
    vocabulary = Vocabulary(Quantizer(TokenizerConfig(codes=codes, code_width=width)))
    calls = sum(name.startswith("x") for name in fixture.arrays)
    for call in range(calls):
        quantized = vocabulary.train()(torch.from_numpy(fixture[f"x{call}"]))
        _check_quantized(fixture, quantized, f"out{call}", f"commit{call}", f"ppl{call}")
        fixture.compare(f"codebook{call}", vocabulary.quantizer.codebook)
        fixture.compare(f"code_sum{call}", vocabulary.sums)
        fixture.compare(f"code_count{call}", vocabulary.counts)
    quantized = vocabulary.eval()(torch.from_numpy(fixture["x0"]))
    _check_quantized(fixture, quantized, "eval_out", "eval_commit", "eval_ppl")


def _check_quantized(fixture: Fixture, quantized, vectors: str, commitment: str, perplexity: str) -> None:
    fixture.compare(vectors, quantized.vectors)
    fixture.compare(commitment, quantized.commitment)
    fixture.compare(perplexity, quantized.perplexity)


def check_tokenizer_losses(fixture: Fixture) -> None:
    seed = fixture.meta["body_seed"]
    # The reference's targets have the hand model's mean pose, its predictions flat hands.
    target, decoded, rest = smplh_bodies(seed, fixture["aa_gt"], fixture["aa_pred"])
    for name, body in (("gt", target), ("pred", decoded)):
        fixture.compare(f"{name}_vertices_sub", body.vertices)
        fixture.compare(f"{name}_joints", body.joints)
    weights = tokenizer_losses.vertex_weights(*rest)
    fixture.compare("vertex_weight_sub", weights)
    fixture.compare("vertex_weight_sum", weights.double().sum(), RELATIVE, relative=True)

    joints = tokenizer_losses.BODY_JOINTS
    pose, mesh = decoded.rotations - target.rotations, decoded.vertices - target.vertices
    joint = (decoded.joints - target.joints)[:, joints]
    for name, value in {
        "pose_l2": pose.square().mean(),
        "mesh_wt_l2": (weights[:, None] * mesh.square()).mean(),
        "joints_l2": joint.square().mean(),
        "pose_l1": pose.abs().mean(),
        "mesh_l1": mesh.abs().mean(),
        "joints_l1": joint.abs().mean(),
        "total_released": tokenizer_losses.released_loss(decoded, target, weights, 0.0),
        "eval_pose": pose.norm(dim=-1).mean(),
        "eval_mesh": mesh.norm(dim=-1).mean(),
        "eval_joints": joint.norm(dim=-1).mean(),
    }.items():
        fixture.compare(name, value, RELATIVE, relative=True)


def check_tals(fixture: Fixture) -> None:
    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(fixture[name])

    poses = {"global_orient": 1, "body_pose": 23}
    labels = tals.Labels(
        keypoints_2d=tensor("gt_kp2d")[..., :2],
        keypoints_3d=tensor("gt_kp3d")[..., :3],
        confidence_2d=tensor("gt_kp2d")[..., 2],
        confidence_3d=tensor("gt_kp3d")[..., 3],
        betas=tensor("gt_betas"),
        has_pose=tensor("has_pose"),
        has_betas=tensor("has_betas"),
        measured=torch.tensor([float(name in MEASURED_SETS) for name in fixture.meta["dataset_names"]]),
        **{name: rotvec_to_matrix(tensor(f"gt_{name}_aa").view(-1, n, 3)) for name, n in poses.items()},
    )
    names = {"keypoints_2d": "kp2d", "keypoints_3d": "kp3d"} | {n: n for n in ("global_orient", "body_pose", "betas")}
    inputs = {field: tensor(f"pred_{short}").requires_grad_() for field, short in names.items()}
    predicted = tals.Predicted(**inputs)

    variants = {
        "tals": tals.adaptive_losses(predicted, labels),
        "tals001": tals.adaptive_losses(predicted, labels, loose=0.01),
        "plain": tals.plain_losses(predicted, labels),
        "val": tals.plain_losses(predicted, labels),
    }
    for variant, terms in variants.items():
        fixture.compare(f"{variant}_total", terms.total(), RELATIVE, relative=True)
        for field in names:
            fixture.compare(f"{variant}_loss_{field}", getattr(terms, field), RELATIVE, relative=True)
    variants["tals"].total().backward()
    for field, short in names.items():
        fixture.compare(f"tals_grad_{short}", inputs[field].grad, 1e-6)
    with torch.no_grad():
        far, measured = tals.strong_keypoints(predicted, labels), labels.measured[:, None]
        fixture.compare("tals_kp2d_conf_after", labels.confidence_2d * far)
        trusted = (measured + labels.confidence_2d * far) > 0.5
        fixture.compare("tals_kp3d_conf_after", labels.confidence_3d * trusted)
        fixture.compare("tals_has_betas_after", labels.has_betas * labels.measured)
        fixture.compare("angle_err_body", tals.geodesic_rad(predicted.body_pose, labels.body_pose))
        fixture.compare("angle_err_root", tals.geodesic_rad(predicted.global_orient, labels.global_orient))


def check_scores(fixture: Fixture) -> None:
    pred, true = fixture["pred_kp3d"], fixture["gt_kp3d"]
    vertices = fixture["pred_vertices"], fixture["gt_vertices"]
    scores = {
        "w3dpw": protocols.errors_3dpw(pred, true, *vertices),
        "emdb": protocols.errors_emdb(*vertices, fixture["J24"]),
    }
    for protocol, errors in scores.items():
        fixture.compare(f"{protocol}_pve", errors.pve, 1e-2)
        fixture.compare(f"{protocol}_mpjpe", errors.mpjpe, 1e-2)
        fixture.compare(f"{protocol}_pa", errors.pa_mpjpe, 1e-2)
    scored = list(EVALUATED)
    fixture.compare("procrustes_aligned", metrics.procrustes_aligned(pred[:, scored], true[:, scored]))


def check_augmentation(fixture: Fixture) -> None:
    x, y, side_px = map(float, re.search(r"centre \((\d+),\s*(\d+)\), side (\d+)", fixture.meta["note"]).groups())
    sample = augment.Sample(
        image_rgb=fixture["rgb"],
        center_px=np.array([x, y]),
        side_px=side_px,
        keypoints_2d=fixture["kp2d"],
        keypoints_3d=fixture["kp3d"],
        global_orient=fixture["global_orient"],
        body_pose=fixture["body_pose"].reshape(23, 3),
    )
    for index, (scale, rotation_deg, mirror, tint, *shift) in enumerate(fixture.meta["cases"]):
        change = augment.Augmentation(tuple(shift), scale, rotation_deg, mirror, tuple(tint))
        example = augment.applied(sample, change)
        fixture.compare(f"img_sub{index}", example.picture)
        fixture.compare(f"img_mean{index}", example.picture.mean((1, 2), dtype=np.float64))
        fixture.compare(f"kp2d{index}", example.keypoints_2d)
        fixture.compare(f"kp3d{index}", example.keypoints_3d)
        fixture.compare(f"go{index}", example.global_orient)
        fixture.compare(f"bp{index}", example.body_pose.reshape(-1))
        fixture.compare(f"trans{index}", example.image_to_crop, 1e-6, relative=True)
    fixture.compare("flip_perm", augment.MIRRORED_KEYPOINTS, 0.0)
    _check_extreme_crops(fixture, Box(np.array([x, y]), side_px))


def _check_extreme_crops(fixture: Fixture, whole: Box) -> None:
    full = fixture["kp2d"].copy()
    full[:, 2] = 1
    upper = full.copy()
    upper[[10, 11, 13, 14, 25, 26, 29, 30], 2] = 0
    for name, keypoints in (("extreme_full", full), ("extreme_upper", upper)):
        boxes = [
            [extreme_crop(whole, keypoints, chance, aggressive=aggressive) for aggressive in (True, False)]
            for chance in fixture["p"]
        ]
        rows = [[[*box.center_px, box.side_px, box.side_px] for box in pair] for pair in boxes]
        fixture.compare(name, np.array(rows), 1e-3)
