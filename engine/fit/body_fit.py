# SPDX-License-Identifier: GPL-3.0-or-later
"""The body that explains what was seen of a person. All people of a picture are fitted in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...models.body_model import load_body
from ...models.pose_prior import PosePrior, load_pose_prior
from ...models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ..blas import one_blas_thread
from ..mediapipe_graphs import Details
from .closer import closer_terms
from .contours import ContourTerm, SeenOutline, contour_pairs
from .first_guess import with_limbs
from .kinematics import BETAS, BODY_JOINTS, LOG_FOCAL, ROTATIONS, UNKNOWNS, State, load_skeleton, projected
from .landmarks import IMAGE_SIGMA, LandmarkTerms
from .lifted import LiftedTerms
from .points import landmark_points
from .priors import FocalTerm, KnownShape, PoseTerms, ShapeTerms
from .solver import System, in_order, minimise
from .temporal import Motion, minimise_together

ITERATIONS = 24
ROBUST_FROM = 3
SILHOUETTE_ROUNDS = 5
SILHOUETTE_ITERATIONS = 3
"""Steps before the outlines are paired anew."""
SETTLED = 0.0015
"""Share of a person's size by which joints move in a round when nothing but the choice of pairs moves them any more."""
STILL_SAMPLES, CLIP_SAMPLES = 100, 64
"""Points of each outline: fewer in a clip, whose frames help each other."""
BESIDE_LIFTER_SIGMA_M = 0.14
"""Standard deviation of a metric landmark of the body: the lifter has read it too, and knows the lens besides."""
_HIPS, _TORSO = (23, 24), (11, 12, 23, 24)  # MediaPipe's numbers


@dataclass(frozen=True)
class Observations:
    """What was seen of B people."""

    points_px: np.ndarray
    """(B, 33, 2) landmarks in the full image."""
    visibility: np.ndarray
    """(B, 33) 0 to 1; 0 for landmarks outside the picture."""
    metric_points: np.ndarray
    """(B, 33, 3) landmarks in metres about the hips, camera axes (x right, y down, z forward)."""
    size_px: np.ndarray
    """(B,) the person's size in the picture, which scales the landmarks' noise."""
    centre_px: np.ndarray
    """(B, 2) principal point."""
    focal_px: np.ndarray
    """(B,) focal length, or its prior's centre."""
    focal_sigma: np.ndarray
    """(B,) standard deviation of the prior on ln(focal); 0 keeps it fixed."""
    height_m: np.ndarray
    """(B,) stature where known, else NaN."""
    details: tuple[Details, ...]
    """B hands and faces."""
    angle_rad: np.ndarray
    """(B,) how far the regions that were looked at are turned."""
    appearance: np.ndarray
    """(B, 256) what was seen beside landmarks; zeros where nothing else is known."""


@dataclass(frozen=True)
class Fit:
    """B fitted bodies."""

    pose: np.ndarray
    """(B, 22, 3) rotation vectors."""
    betas: np.ndarray
    """(B, 10)."""
    translation: np.ndarray
    """(B, 3) metres, camera frame, added after posing."""
    focal_px: np.ndarray
    """(B,)."""
    focal_sigma: np.ndarray
    """(B,) posterior standard deviation of ln(focal)."""
    certainty: np.ndarray
    """(B, 22) 0 to 1: how much of the joint's spread in the prior the picture took away."""
    points_px: np.ndarray
    """(B, N, 2) where the body has the landmarks `landmark_points(body).indices`, in the full image."""
    cost: np.ndarray
    """(B,) negative log likelihood, for comparing hypotheses of one person."""
    joints: np.ndarray
    """(B, 22, 3) metres, camera frame."""
    lifted_joints: np.ndarray
    """(B, 22, 3) as the lifter has them, metres relative to the pelvis."""
    lifted_sigma_m: np.ndarray
    """(B, 22) how far off it believes to be."""


class BodyFit:
    """The terms of one picture's people, kept so that the fit can go on with more of them."""

    def __init__(self, seen: Observations, body_name: str = "neutral", betas: np.ndarray | None = None) -> None:
        """With `betas` (B, 10) shapes are known and kept."""
        body = load_body(body_name)
        self.skeleton = load_skeleton(body_name)
        self.centre_px = seen.centre_px
        self.body_name = body_name
        points = landmark_points(body_name)
        metric = seen.metric_points[:, points.indices]
        hips = np.flatnonzero(np.isin(points.indices, _HIPS))
        self._torso = np.flatnonzero(np.isin(points.indices, _TORSO))
        self.landmarks = LandmarkTerms(
            skeleton=self.skeleton,
            points=points,
            observed_px=seen.points_px[:, points.indices] - seen.centre_px[:, None],
            visibility=seen.visibility[:, points.indices],
            sigma_px=IMAGE_SIGMA * seen.size_px[:, None],
            metric=metric - metric[:, hips].mean(1, keepdims=True),
            middles=(np.isin(points.indices, _HIPS) / np.float32(len(hips)))[None],
            measured_from=np.zeros(len(points.indices), int),
            metric_sigma_m=BESIDE_LIFTER_SIGMA_M,
        )
        self._seen = seen
        self._joint_names = body.joint_names
        self.closer = closer_terms(seen.details, body_name, seen.centre_px)
        self.prior: PosePrior = load_pose_prior()
        self.focal = FocalTerm(np.log(seen.focal_px), seen.focal_sigma)
        self._betas = betas
        shape_terms = ShapeTerms.of(body, seen.height_m)
        self._stature_m = shape_terms.stature_m
        shape = shape_terms if betas is None else KnownShape(betas)
        self._priors = (PoseTerms(self.prior, body.joint_names), shape)

    @cached_property
    def lifted(self) -> LiftedTerms:
        """What the landmarks say in metres through the present lens."""
        is_known, focal_px = self.focal.sigma == 0, np.exp(self.focal.log_focal)
        return LiftedTerms.of(self.skeleton, self._joint_names, self._seen, focal_px, is_known, self._usual_joints())

    def _usual_joints(self) -> np.ndarray:
        """(B, 22, 3) at rest, of the known shapes, else of a body of the known stature, else of the mean one."""
        skeleton, height_m = self.skeleton, self._seen.height_m
        if self._betas is not None:
            return skeleton.rest_joints(self._betas)
        size = np.where(np.isfinite(height_m), height_m / self._stature_m, 1.0)
        return skeleton.rest * size[:, None, None]

    @property
    def coarse_terms(self) -> tuple:
        """What the pose landmarks and the priors say."""
        return (self.landmarks, self.lifted, *self._priors, self.focal)

    @property
    def terms(self) -> tuple:
        """All that, and hands and faces from close up, which mislead an arm that is not near its place yet."""
        return (*self.coarse_terms, *self.closer)

    def from_landmarks(self) -> tuple[State, System]:
        """Fit everybody from scratch."""
        with one_blas_thread():
            return minimise(self.skeleton, self.coarse_terms, self._start(), ITERATIONS, ROBUST_FROM)

    def with_focal(self, state: State, focal_px: float | np.ndarray) -> tuple[State, System]:
        """Go on from `state` with the focal length everybody agreed on; sizes in the picture stay."""
        log_focal = np.full(len(state.log_focal), np.log(focal_px))
        self.focal = FocalTerm(log_focal, np.zeros_like(log_focal))
        self.__dict__.pop("lifted", None)  # it looked through another lens
        with one_blas_thread():
            return minimise(self.skeleton, self.terms, replace(state, log_focal=log_focal), ITERATIONS)

    def with_silhouettes(
        self, state: State, system: System, masks: Sequence[np.ndarray], boxes_px: np.ndarray
    ) -> tuple[State, System]:
        """Go on from `state` until the bodies' outlines lie on the masks' (H, W) as well as the landmarks allow."""
        seen = [SeenOutline.of(mask, box_px, STILL_SAMPLES) for mask, box_px in zip(masks, boxes_px, strict=True)]
        going, terms, done = np.arange(len(seen)), self.terms, []
        with one_blas_thread():
            for _ in range(SILHOUETTE_ROUNDS):
                contours = self._paired(state, seen, going)
                before = state
                state, system = minimise(self.skeleton, (*terms, contours), before, SILHOUETTE_ITERATIONS)
                settled = self._moved_px(before, state) < SETTLED * self._seen.size_px[going]
                if settled.all():
                    break
                if settled.any():
                    done.append((going[settled], state.rows(settled), system.of_rows(settled)))
                    left = np.flatnonzero(~settled)
                    going, state, system = going[left], state.rows(left), system.of_rows(left)
                    terms = tuple(term.of_rows(left) for term in terms)
        return in_order([*done, (going, state, system)])

    def with_motion(
        self,
        state: State,
        motion: Motion,
        iterations: int,
        masks: Sequence[np.ndarray] | None = None,
        boxes_px: np.ndarray | None = None,
    ) -> tuple[State, System]:
        """Go on from `state` with the rows as one person's frames; with masks, outlines are paired first."""
        with one_blas_thread():
            terms = self.terms
            if masks is not None and boxes_px is not None:
                seen = [SeenOutline.of(mask, box, CLIP_SAMPLES) for mask, box in zip(masks, boxes_px, strict=True)]
                terms += (self._paired(state, seen, np.arange(len(seen))),)
            return minimise_together(self.skeleton, terms, motion, state, iterations)

    def result(self, state: State, system: System) -> Fit:
        """The bodies, and how much the picture told of them."""
        posed = self.skeleton.pose(state)
        pixels, _ = projected(self.landmarks.body_points(posed), state.focal_px)
        # A little is added on the diagonals: without the data, the root's place and turn are not known at all.
        with one_blas_thread():
            posterior = np.linalg.inv(system.hessian() + 1e-9 * np.eye(UNKNOWNS))
            prior = np.linalg.inv(system.prior_hessian + 1e-3 * np.eye(UNKNOWNS))
        return Fit(
            pose=matrix_to_rotvec(state.rotations),
            betas=state.betas,
            translation=state.pelvis - posed.rest_joints[:, 0],
            focal_px=state.focal_px,
            focal_sigma=np.sqrt(posterior[:, LOG_FOCAL, LOG_FOCAL]),
            certainty=np.clip(1 - _joint_spread(posterior) / _joint_spread(prior), 0, 1),
            points_px=pixels + self.centre_px[:, None],
            cost=system.cost,
            joints=posed.joints,
            lifted_joints=self.lifted.lifted.joints,
            lifted_sigma_m=self.lifted.lifted.sigma_m,
        )

    def _paired(self, state: State, seen: Sequence[SeenOutline], rows: np.ndarray) -> ContourTerm:
        """What the outlines of the people `rows` say near `state`, which is theirs."""
        outlines = [seen[row] for row in rows]
        rotvecs = matrix_to_rotvec(state.rotations)
        return contour_pairs(self.body_name).find(state, outlines, self.centre_px[rows], rotvecs)

    def _moved_px(self, before: State, after: State) -> np.ndarray:
        """(B,) how far joints moved in the picture, on average."""
        moved_px = self._joints_px(after) - self._joints_px(before)
        return np.sqrt(np.square(moved_px).sum(-1)).mean(1)

    def _joints_px(self, state: State) -> np.ndarray:
        """(B, 22, 2) from the principal point."""
        joints = self.skeleton.pose(state).joints
        return state.focal_px[:, None, None] * joints[..., :2] / joints[..., 2:]

    def _start(self) -> State:
        """Torso and limbs as the metric landmarks have them, place from the size in the picture."""
        seen = self.landmarks
        count = len(seen.observed_px)
        mean_pose = self.prior.means[self.prior.log_weights.argmax()].reshape(-1, 3)
        rotations = np.tile(rotvec_to_matrix(np.concatenate([np.zeros((1, 3)), mean_pose])), (count, 1, 1, 1))
        rest = seen.points.rest[self._torso] - seen.points.rest[self._torso].mean(0)
        target = seen.metric[:, self._torso] - seen.metric[:, self._torso].mean(1, keepdims=True)
        rotations[:, 0] = _kabsch(rest, target)
        rotations = with_limbs(self.skeleton, rotations, seen.metric, seen.points.indices)
        betas = np.zeros((count, BETAS.stop - BETAS.start)) if self._betas is None else self._betas
        state = State(rotations, np.zeros((count, 3)), betas, self.focal.log_focal)
        # Weak perspective: the landmarks' spread in the picture over their spread in metres gives the depth.
        weight = seen.visibility**2 + 1e-6
        weight = weight / weight.sum(1, keepdims=True)
        metres_per_px = np.maximum(_spread(seen.metric[..., :2], weight), 1e-2) / np.maximum(
            _spread(seen.observed_px, weight), 1e-2
        )
        torso_m = (seen.body_points(self.skeleton.pose(state)).positions - state.pelvis[:, None])[:, self._torso, :2]
        uv = seen.observed_px[:, self._torso].mean(1) - torso_m.mean(1) / metres_per_px[:, None]
        return replace(state, place=np.concatenate([uv, np.log(metres_per_px)[:, None]], 1))


def _spread(points: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B, N, 2), (B, N) summing to 1 -> (B,) weighted root mean square distance from the centre."""
    centred = points - np.einsum("bn,bni->bi", weight, points)[:, None]
    return np.sqrt(np.einsum("bn,bni->b", weight, centred**2))


def _joint_spread(covariance: np.ndarray) -> np.ndarray:
    """(B, 80, 80) -> (B, 22) variance of each joint's turn, summed over its axes."""
    return np.einsum("bii->bi", covariance)[:, ROTATIONS].reshape(-1, BODY_JOINTS, 3).sum(-1)


def _kabsch(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, 3), (B, N, 3), both centred -> (B, 3, 3) rotation taking source onto target best."""
    u, _, vt = np.linalg.svd(np.einsum("bni,nj->bij", target, source))
    sign = np.ones((len(target), 3))
    sign[:, 2] = np.linalg.det(u @ vt)
    return (u * sign[:, None]) @ vt
