# SPDX-License-Identifier: GPL-3.0-or-later
"""One scene of the camera solver, seen through any camera: how well it fits, and which way is better.

The unknowns are chosen so that they hardly disturb each other: moving sideways keeps the size, and moving away keeps
the place in the picture. Errors are in pixels of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.rotations_torch import matrix_to_rotvec, rotvec_to_matrix
from .camera_scene import MISS_WEIGHT, Camera, Freedom, Scene, chosen
from .contour import Contour, Edges, contour_of, filled
from .mask_evidence import MaskEvidence, Pieces, nearest_pieces, outer_pieces

FOCAL, RIGHT, DOWN, DEPTH, TURN, POSE = 0, 1, 2, 3, slice(4, 7), slice(7, None)
"""Places in the vector of unknowns: ln f, Tx / Tz, Ty / Tz, ln Tz, a rotation vector, and what the pose has."""

# Sigmas and reaches are in sizes of the person (the diagonal of the keypoints' box): so they hold for any picture.
KEYPOINT_SIGMA, OUTLINE_SIGMA = 0.01, 0.01
KEYPOINT_REACH = 0.05
"""Keypoints farther away count less; one that is astray must not decide."""
OUTLINE_ROWS = 30.0
"""Neighbouring places of an outline say the same: all together count as so many independent ones."""


@dataclass(frozen=True)
class View:
    """How the bodies look through their cameras."""

    camera: Camera
    bodies: Tensor  # (B, V, 3) camera frame
    joints: Tensor  # (B, K, 3) camera frame
    points_px: Tensor  # (B, V, 2)
    joints_px: Tensor  # (B, K, 2)
    contour: Contour
    drawn: Tensor  # (B, H, W)


class CameraProblem:
    """A scene with everything about it that does not change while it is solved."""

    def __init__(self, scene: Scene, edges: Edges, freedom: Freedom):
        self.scene, self.edges = scene, edges
        self.sizes_px = scene.sizes_px
        self.evidence = MaskEvidence.of(scene.masks, scene.inside, scene.vertices.dtype)
        pose = scene.articulation.pose if scene.articulation else scene.vertices.new_zeros(len(scene.vertices), 0)
        self.first_pose = pose
        like = dict(dtype=pose.dtype, device=pose.device)
        known_focal, believed_depth = scene.focal_px is not None, scene.depth_m is not None
        free = [not known_focal, True, True, freedom.depth or not believed_depth, *[freedom.turn] * 3]
        self.free = torch.tensor(free + [True] * pose.shape[1], device=pose.device)
        self.trust = torch.zeros(len(self.free), **like)  # how much straying from the beliefs costs
        self.trust[DEPTH] = freedom.depth_sigma**-2 if believed_depth else 0.0
        self.trust[TURN] = freedom.turn_sigma_rad**-2
        if scene.articulation:
            self.trust[POSE] = scene.articulation.sigma_rad**-2

    def at_rest(self, focal_px: Tensor, translation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A state: this camera, with the body as it was given."""
        turn = torch.eye(3, dtype=focal_px.dtype, device=focal_px.device).expand(len(focal_px), 3, 3)
        return focal_px, translation, turn, self.first_pose

    def view(self, focal_px: Tensor, translation: Tensor, turn: Tensor, pose: Tensor) -> View:
        scene = self.scene
        shape = scene.articulation.posed(pose) if scene.articulation else (scene.vertices, scene.joints)
        bodies, joints = (points @ turn.mT + translation[:, None] for points in shape)
        points_px, joints_px = (
            points[..., :2] / points[..., 2:].clamp_min(1e-3) * focal_px[:, None, None] + scene.centres_px[:, None]
            for points in (bodies, joints)
        )
        contour = contour_of(points_px, bodies[..., 2], self.edges)
        drawn = filled(contour, points_px, *scene.masks.shape[1:])
        iou, _ = self.evidence.overlap(drawn)
        away = self._away(joints_px)
        limited = away / (1 + (away / KEYPOINT_REACH) ** 2).sqrt()
        miss = (limited * scene.weights).sum(1) / scene.weights.sum(1).clamp_min(1e-9)
        camera = Camera(focal_px, translation, turn, pose, iou, miss)
        return View(camera, bodies, joints, points_px, joints_px, contour, drawn)

    def changed(self, camera: Camera, change: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The state that differs by (B, U) unknowns."""
        depth = camera.translation[:, 2:]
        lateral = camera.translation[:, :2] / depth + change[:, [RIGHT, DOWN]]
        depth = depth * change[:, DEPTH, None].clamp(-0.5, 0.5).exp()
        focal_px = camera.focal_px * change[:, FOCAL].clamp(-0.5, 0.5).exp()
        turn = rotvec_to_matrix(change[:, TURN]) @ camera.turn
        return focal_px, torch.cat([lateral * depth, depth], -1), turn, camera.pose + change[:, POSE]

    def taken(self, view: View, change: Tensor) -> tuple[View, Tensor]:
        """The view after the change where that is better, else the present one; and where it was."""
        camera = view.camera
        tried = self.view(*self.changed(camera, change))
        is_better = tried.camera.score > camera.score
        if is_better.all():
            return tried, is_better
        if not is_better.any():
            return view, is_better
        best = chosen(is_better, tried.camera, camera)
        return self.view(best.focal_px, best.translation, best.turn, best.pose), is_better

    def solved(self, matrix: Tensor, vector: Tensor, damping: Tensor) -> Tensor:
        """(B, U) changes; what is not free stays."""
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        matrix = matrix + torch.diag_embed(damping[:, None] * diagonal + 1e-9)
        matrix = torch.where(self.free[:, None] & self.free, matrix, torch.diag((~self.free).to(matrix.dtype)))
        return torch.linalg.solve(matrix.double(), (vector * self.free).double()).to(matrix.dtype)

    def equations(self, view: View, reach: float) -> tuple[Tensor, Tensor, Tensor]:
        """Matrix (B, U, U) and right side (B, U) of a Gauss-Newton step, and the slope of the score (B, U)."""
        scene, camera = self.scene, view.camera
        slopes = scene.articulation.slopes(camera.pose) if scene.articulation else (None, None)
        everyone = torch.arange(len(self.sizes_px), device=self.sizes_px.device)

        rows = _rows(view.joints, camera, everyone[:, None], slopes[1])  # (B, K, 2, U) pixels
        errors = scene.keypoints_px - view.joints_px
        away = self._away(view.joints_px)
        weights = scene.weights / (1 + (away / KEYPOINT_REACH) ** 2) / (KEYPOINT_SIGMA * self.sizes_px[:, None]) ** 2
        matrix = torch.einsum("bk,bkci,bkcj->bij", weights, rows, rows)
        vector = torch.einsum("bk,bkci,bkc->bi", weights, rows, errors)
        slope = self._miss_slope(away, errors, rows)

        pieces = outer_pieces(view.contour, view.points_px, view.drawn, self.evidence.inside)
        rows = self._piece_rows(view, pieces, slopes[0])  # (N, 2, U)
        distance, grows = self.evidence.distance(pieces.person, pieces.spot_px)
        nearest, way = nearest_pieces(self.evidence, pieces)
        normal = pieces.normal
        for person, direction, moved, error in (
            (pieces.person, grows, rows, -distance),
            (pieces.person[nearest], normal[nearest], rows[nearest], (way * normal[nearest]).sum(-1)),
        ):
            weight = self._outline_weights(person, error, reach)
            row = torch.einsum("nc,nci->ni", direction, moved)
            matrix = matrix + _summed_squares(row, weight, person, len(everyone))
            vector = vector.index_add(0, person, (weight * error)[:, None] * row)
        slope = slope + self._overlap_slope(view, pieces, torch.einsum("nc,nci->ni", normal, rows), distance)

        believed = camera.translation[:, 2] if scene.depth_m is None else scene.depth_m
        strayed = torch.zeros_like(vector)
        strayed[:, DEPTH] = (camera.translation[:, 2] / believed).log()
        strayed[:, TURN] = matrix_to_rotvec(camera.turn)
        strayed[:, POSE] = camera.pose - self.first_pose
        return matrix + torch.diag(self.trust), vector - self.trust * strayed, slope

    def _away(self, joints_px: Tensor) -> Tensor:
        return (joints_px - self.scene.keypoints_px).norm(dim=-1) / self.sizes_px[:, None]

    def _outline_weights(self, person: Tensor, error_px: Tensor, reach: float) -> Tensor:
        size = self.sizes_px[person]
        weight = (1 + (error_px / (reach * size)) ** 2) ** -2
        total = torch.zeros_like(self.sizes_px).index_add_(0, person, weight).clamp_min(1.0)
        return weight * (OUTLINE_ROWS / total[person]) / (OUTLINE_SIGMA * size) ** 2

    def _miss_slope(self, away: Tensor, errors_px: Tensor, rows: Tensor) -> Tensor:
        """How less keypoint error increases the score, per unknown."""
        steepness = (1 + (away / KEYPOINT_REACH) ** 2) ** -1.5 / (away.clamp_min(1e-6) * self.sizes_px[:, None] ** 2)
        weights = self.scene.weights / self.scene.weights.sum(1, keepdim=True).clamp_min(1e-9)
        return MISS_WEIGHT * torch.einsum("bk,bkci,bkc->bi", weights * steepness, rows, errors_px)

    def _overlap_slope(self, view: View, pieces: Pieces, outward: Tensor, distance_px: Tensor) -> Tensor:
        """The derivative of intersection over union: what the moving outline sweeps, inside and outside the mask."""
        swept = pieces.length_px[:, None] * outward  # square pixels
        area = swept.new_zeros(len(self.sizes_px), swept.shape[1]).index_add(0, pieces.person, swept)
        is_inside = (0.5 - distance_px).clamp(0, 1)
        both = torch.zeros_like(area).index_add(0, pieces.person, is_inside[:, None] * swept)
        iou, union = self.evidence.overlap(view.drawn)
        return (both - iou[:, None] * (area - both)) / union[:, None]

    def _piece_rows(self, view: View, pieces: Pieces, vertex_slopes: Tensor | None) -> Tensor:
        contour = view.contour
        start, end = contour.start[pieces.edge], contour.end[pieces.edge]
        # Equal steps in the picture are not equal steps in depth.
        near = [view.bodies[pieces.person, vertex] for vertex in (start, end)]
        share = pieces.share / near[1][:, 2]
        share = (share / (share + (1 - pieces.share) / near[0][:, 2]))[:, None]
        where = near[0] + share * (near[1] - near[0])
        slopes = None
        if vertex_slopes is not None:
            ends = [vertex_slopes[pieces.person, vertex] for vertex in (start, end)]
            slopes = ends[0] + share[..., None] * (ends[1] - ends[0])
        return _rows(where, view.camera, pieces.person, slopes)


def _rows(points_cam: Tensor, camera: Camera, person: Tensor, slopes: Tensor | None) -> Tensor:
    """How the pictures of points (…, 3) change with the unknowns: (…, 2, U) pixels.

    `person` (…) says whose they are; `slopes` (…, 3, P) how the pose moves them before turn and translation.
    """
    focal, translation = camera.focal_px[person], camera.translation[person].expand_as(points_cam)
    none, depth = torch.zeros_like(points_cam[..., 0]), translation[..., 2]
    arm = points_cam - translation
    # Where a point goes, in metres. Tx and Ty grow with Tz, because Tx / Tz and Ty / Tz are what is held.
    moves = [
        torch.stack([none, none, none], -1),
        torch.stack([depth, none, none], -1),
        torch.stack([none, depth, none], -1),
        translation,
        torch.stack([none, -arm[..., 2], arm[..., 1]], -1),
        torch.stack([arm[..., 2], none, -arm[..., 0]], -1),
        torch.stack([-arm[..., 1], arm[..., 0], none], -1),
    ]
    moves = torch.stack(moves, dim=-1)  # (…, 3, 7)
    if slopes is not None:
        moves = torch.cat([moves, camera.turn[person] @ slopes], dim=-1)
    distance = points_cam[..., 2].clamp_min(1e-3)
    flat = points_cam[..., :2] / distance[..., None]
    rows = moves[..., :2, :] - flat[..., None] * moves[..., 2:, :]
    rows = rows * (focal / distance)[..., None, None]
    rows[..., FOCAL] = focal[..., None] * flat
    return rows


def _summed_squares(rows: Tensor, weights: Tensor, person: Tensor, people: int) -> Tensor:
    """(N, U) rows -> (B, U, U)."""
    own = (rows[person == index] for index in range(people))
    own_weights = (weights[person == index, None] for index in range(people))
    return torch.stack([(weight * row).mT @ row for row, weight in zip(own, own_weights, strict=True)])
