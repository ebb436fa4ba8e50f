# SPDX-License-Identifier: GPL-3.0-or-later
"""Which camera makes this body lie on that picture? Focal length, translation and, where free, depth, turn and pose.

Keypoints give a start in closed form. Then Gauss-Newton steps bring the body's outline onto the mask's: every piece of
the drawn contour is pulled along the mask's distance map, every piece of the mask's border pulls the nearest contour.
At last the overlap itself is increased; its derivative is an integral along the contour. Through the contour's edges
all of this acts on the mesh's vertices exactly. A step is taken only when hard overlap and keypoints together get
better, so the answer is never worse than its start.

Paper of the problem: Wang et al., "BLADE" (CVPR 2025); its own way of solving it is `camera_published`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..models.rotations_torch import matrix_to_rotvec, rotvec_to_matrix
from .camera_start import closed_form_camera
from .contour import Contour, Edges, contour_of, filled
from .mask_evidence import MaskEvidence, Pieces, nearest_pieces, outer_pieces
from .solver_window import Windows, windows_around

FOCAL, RIGHT, DOWN, DEPTH, TURN, POSE = 0, 1, 2, 3, slice(4, 7), slice(7, None)
"""Places in the vector of unknowns: ln f, Tx / Tz, Ty / Tz, ln Tz, a rotation vector, and what the pose has."""

# Errors are in sizes of the person (the diagonal of the keypoints' box), so that the numbers hold for any picture.
MISS_WEIGHT = 0.5
"""How much overlap a mean keypoint error of one size is worth."""
KEYPOINT_SIGMA, OUTLINE_SIGMA = 0.01, 0.01
KEYPOINT_REACH = 0.05
"""Keypoints farther away count less; one that is astray must not decide."""
OUTLINE_REACHES = (0.2, 0.03)
"""Likewise for the outline, at the first and at the last step."""
OUTLINE_ROWS = 30.0
"""Neighbouring places of an outline say the same: all together count as so many independent ones."""
DAMPING = 1e-3
DAMPING_LIMIT = 1e3
"""With more damping than this a step no longer matters."""
CLIMB_START_PX, CLIMB_END_PX = 1.0, 0.05
"""How far the outline moves, about, in the first step that increases the overlap itself, and when to give up."""


@dataclass(frozen=True)
class Articulation:
    """How the bodies move when their pose is free."""

    pose: Tensor  # (B, P) to begin with, radians
    posed: Callable[[Tensor], tuple[Tensor, Tensor]]  # (B, P) -> vertices (B, V, 3), joints (B, K, 3)
    sigma_rad: float = 0.1  # how far the pose may be off, one standard deviation

    def slopes(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Metres per radian: of vertices (B, V, 3, P) and of joints (B, K, 3, P)."""

        def along(direction: Tensor) -> tuple[Tensor, Tensor]:
            return torch.func.jvp(self.posed, (pose,), (direction.expand_as(pose),))[1]

        directions = torch.eye(pose.shape[1], dtype=pose.dtype, device=pose.device)
        return tuple(slope.movedim(0, -1) for slope in torch.func.vmap(along)(directions))


@dataclass(frozen=True)
class Scene:
    """B bodies, each with its own picture. Pixels count from the upper left corner."""

    vertices: Tensor  # (B, V, 3) metres, posed and turned as in the camera's frame, without translation
    joints: Tensor  # (B, K, 3) likewise: those that the keypoints show
    keypoints_px: Tensor  # (B, K, 2)
    weights: Tensor  # (B, K) 0..1
    masks: Tensor  # (B, H, W) bool
    centres_px: Tensor  # (B, 2) principal points
    depth_m: Tensor | None = None  # (B,) what is believed about Tz
    focal_px: Tensor | None = None  # (B,) the focal length where it is known
    inside: Tensor | None = None  # (B, H, W) bool, false where the mask tells nothing (a padded picture's rim)
    articulation: Articulation | None = None

    @property
    def sizes_px(self) -> Tensor:
        """(B,) of the people in the picture."""
        is_seen = self.weights[..., None] > 0
        low = self.keypoints_px.masked_fill(~is_seen, torch.inf).amin(1)
        high = self.keypoints_px.masked_fill(~is_seen, -torch.inf).amax(1)
        return (high - low).norm(dim=-1).nan_to_num(posinf=1.0, neginf=1.0).clamp_min(1.0)


@dataclass(frozen=True)
class Freedom:
    """What may change, and how far it may be from what is believed (one standard deviation)."""

    depth: bool = False
    turn: bool = False
    depth_sigma: float = 0.05  # of ln Tz
    turn_sigma_rad: float = 0.1


@dataclass(frozen=True)
class Camera:
    """One answer per person."""

    focal_px: Tensor  # (B,)
    translation: Tensor  # (B, 3) metres
    turn: Tensor  # (B, 3, 3) turns vertices and joints about their origin, before the translation
    pose: Tensor  # (B, P) as in the articulation; P is 0 without one
    iou: Tensor  # (B,) of the hard masks
    miss: Tensor  # (B,) mean keypoint error in sizes of the person, each error limited

    @property
    def score(self) -> Tensor:
        """What is maximised."""
        return self.iou - MISS_WEIGHT * self.miss


@dataclass(frozen=True)
class _View:
    """How the bodies look through their cameras."""

    camera: Camera
    bodies: Tensor  # (B, V, 3) camera frame
    joints: Tensor  # (B, K, 3) camera frame
    points_px: Tensor  # (B, V, 2)
    joints_px: Tensor  # (B, K, 2)
    contour: Contour
    drawn: Tensor  # (B, H, W)


def solve_camera(
    scene: Scene,
    edges: Edges,
    freedom: Freedom = Freedom(),
    start: tuple[Tensor, Tensor] | None = None,
    steps: tuple[int, int] = (15, 15),
) -> Camera:
    """The best camera found for each body, and no worse than `start`: focal lengths (B,) and translations (B, 3).

    `steps` are those towards the outline and those that increase the overlap. Large pictures are looked at in a
    window around each person; the overlap is that within the window.
    """
    windows = windows_around(scene.masks, scene.keypoints_px, scene.weights, scene.inside)
    problem = _Problem(_in_windows(scene, windows), edges, freedom)
    best = None
    for focal_px, translation in _starts(scene, start):
        focal_px = focal_px * windows.scales
        view = problem.view(*problem.at_rest(focal_px, translation))
        view = problem.approached(view, steps[0])
        view = problem.climbed(view, steps[1])
        best = view.camera if best is None else _chosen(view.camera.score > best.score, view.camera, best)
    return replace(best, focal_px=best.focal_px / windows.scales if scene.focal_px is None else scene.focal_px)


def _in_windows(scene: Scene, windows: Windows) -> Scene:
    return replace(
        scene,
        keypoints_px=windows.to_window(scene.keypoints_px),
        centres_px=windows.to_window(scene.centres_px),
        focal_px=None if scene.focal_px is None else scene.focal_px * windows.scales,
        masks=windows.masks,
        inside=windows.inside,
    )


def _starts(scene: Scene, start: tuple[Tensor, Tensor] | None) -> Iterator[tuple[Tensor, Tensor]]:
    points_px = scene.keypoints_px - scene.centres_px[:, None]
    yield closed_form_camera(scene.joints, points_px, scene.weights, scene.depth_m, scene.focal_px)
    if start is not None:
        yield start


class _Problem:
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

    def view(self, focal_px: Tensor, translation: Tensor, turn: Tensor, pose: Tensor) -> _View:
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
        return _View(camera, bodies, joints, points_px, joints_px, contour, drawn)

    def approached(self, view: _View, steps: int) -> _View:
        """Damped Gauss-Newton towards keypoints, outline and beliefs."""
        damping = torch.full_like(self.sizes_px, DAMPING)
        for step in range(steps):
            progress = step / max(1, steps - 1)
            reach = OUTLINE_REACHES[0] ** (1 - progress) * OUTLINE_REACHES[1] ** progress
            matrix, vector, _ = self._equations(view, reach)
            change = self._solved(matrix, vector, damping)
            view, is_better = self._taken(view, change)
            damping = torch.where(is_better, damping / 4, damping * 8).clamp_min(1e-7)
            if (damping > DAMPING_LIMIT).all():
                break
        return view

    def climbed(self, view: _View, steps: int) -> _View:
        """Steps along the score's own slope, in the metric of the Gauss-Newton steps, as long as they help."""
        reach_px = torch.full_like(self.sizes_px, CLIMB_START_PX)
        damping = torch.full_like(self.sizes_px, DAMPING)
        for _ in range(steps):
            matrix, _, slope = self._equations(view, OUTLINE_REACHES[1])
            change = self._solved(matrix, slope, damping)
            # The matrix measures errors in sigmas of the outline; this makes the step as long as wanted, in pixels.
            length = torch.einsum("bi,bij,bj->b", change, matrix, change).clamp_min(1e-12).sqrt()
            length_px = length * OUTLINE_SIGMA * self.sizes_px / OUTLINE_ROWS**0.5
            view, is_better = self._taken(view, change * (reach_px / length_px)[:, None])
            reach_px = torch.where(is_better, reach_px * 1.5, reach_px / 2)
            if (reach_px < CLIMB_END_PX).all():
                break
        return view

    def changed(self, camera: Camera, change: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The state that differs by (B, U) unknowns."""
        depth = camera.translation[:, 2:]
        lateral = camera.translation[:, :2] / depth + change[:, [RIGHT, DOWN]]
        depth = depth * change[:, DEPTH, None].clamp(-0.5, 0.5).exp()
        focal_px = camera.focal_px * change[:, FOCAL].clamp(-0.5, 0.5).exp()
        turn = rotvec_to_matrix(change[:, TURN]) @ camera.turn
        return focal_px, torch.cat([lateral * depth, depth], -1), turn, camera.pose + change[:, POSE]

    def _taken(self, view: _View, change: Tensor) -> tuple[_View, Tensor]:
        """The view after the change where that is better, else the present one; and where it was."""
        camera = view.camera
        tried = self.view(*self.changed(camera, change))
        is_better = tried.camera.score > camera.score
        if is_better.all():
            return tried, is_better
        if not is_better.any():
            return view, is_better
        best = _chosen(is_better, tried.camera, camera)
        return self.view(best.focal_px, best.translation, best.turn, best.pose), is_better

    def _solved(self, matrix: Tensor, vector: Tensor, damping: Tensor) -> Tensor:
        """(B, U) changes; what is not free stays."""
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        matrix = matrix + torch.diag_embed(damping[:, None] * diagonal + 1e-9)
        matrix = torch.where(self.free[:, None] & self.free, matrix, torch.diag((~self.free).to(matrix.dtype)))
        return torch.linalg.solve(matrix.double(), (vector * self.free).double()).to(matrix.dtype)

    def _equations(self, view: _View, reach: float) -> tuple[Tensor, Tensor, Tensor]:
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

    def _overlap_slope(self, view: _View, pieces: Pieces, outward: Tensor, distance_px: Tensor) -> Tensor:
        """The derivative of intersection over union: what the moving outline sweeps, inside and outside the mask."""
        swept = pieces.length_px[:, None] * outward  # square pixels
        area = swept.new_zeros(len(self.sizes_px), swept.shape[1]).index_add(0, pieces.person, swept)
        is_inside = (0.5 - distance_px).clamp(0, 1)
        both = torch.zeros_like(area).index_add(0, pieces.person, is_inside[:, None] * swept)
        iou, union = self.evidence.overlap(view.drawn)
        return (both - iou[:, None] * (area - both)) / union[:, None]

    def _piece_rows(self, view: _View, pieces: Pieces, vertex_slopes: Tensor | None) -> Tensor:
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


def _chosen(is_first: Tensor, first: Camera, second: Camera) -> Camera:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Camera(*(torch.where(is_first.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
