# SPDX-License-Identifier: GPL-3.0-or-later
"""A crop network's people are moved until they lie on the picture, through a camera that everybody shares.

Such a network sees one person at a time through a lens that it imagines. Its poses are good and its places are rough:
so the pose is held near the network's, while place, shape and, where it is not known, the focal length follow the
landmarks and the person mask. What makes the overlap worse is not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..models.body_model import load_body
from ..models.rotations import matrix_to_rotvec
from .blas import one_blas_thread
from .cameras import Pinhole
from .fit.body_fit import ITERATIONS, ROBUST_FROM, BodyFit, Fit, Observations
from .fit.contours import relaxed_hands
from .fit.key_fit import agreed_camera
from .fit.kinematics import BETAS, BODY_JOINTS, PLACE, ROTATIONS, Posed, State
from .fit.points import landmark_points
from .fit.priors import KnownShape, ShapeTerms, rotvec_by_turn
from .fit.solver import System, linearise, minimise
from .raster import silhouette

POSE_SIGMA_RAD, ROOT_SIGMA_RAD = 0.15, 0.2
"""How far a joint, and the whole body, may be turned from what the network says, one standard deviation.

Smaller, and perspective would seem to tell a focal length that only the network's mistakes tell."""
LOOSE_SIGMA_RAD = 0.25
"""The same for wrists and feet, which are a few pixels large in the network's crop."""
_LOOSE = (7, 8, 10, 11, 20, 21)  # ankles, feet, wrists
PLACE_SIZES, ZETA_SIGMA = 1.0, 0.7
"""How far the pelvis may be from where the network has it: in sizes of the person, and in ln(depth) where no network
knows about depth."""
SHAPE_SIGMA = 0.5
"""How far a beta may be from the network's, where the network's shape is known."""
MISS_WEIGHT, MISS_LIMIT = 0.5, 0.25
"""How much overlap a mean landmark error of one size of the person is worth; farther ones are astray."""


@dataclass(frozen=True)
class Believed:
    """What a network says of B people."""

    rotations: np.ndarray
    """(B, 22, 3, 3) local rotation matrices; joint 0 turns the body into the camera frame."""
    pelvis: np.ndarray
    """(B, 3) metres, camera frame, as seen through the camera that `refine` is given."""
    betas: np.ndarray | None
    """(B, 10) of the fitted body, or None where the picture alone must tell the shape."""
    depth_sigma: float = ZETA_SIGMA
    """One standard deviation of ln(depth)."""


@dataclass(frozen=True)
class Refined:
    """B people and the camera through which they lie on the picture."""

    fit: Fit
    posed: Posed
    camera: Pinhole
    start_fitness: np.ndarray
    """(B,) see `fitness`: of what the network said, unrefined."""
    fitness: np.ndarray
    """(B,) of the answer; never less."""
    notes: tuple[str, ...] = ()


def refine(
    seen: Observations,
    believed: Believed,
    masks: Sequence[np.ndarray],
    boxes_px: np.ndarray,
    camera: Pinhole,
    body_name: str = "neutral",
    keep_camera: bool = False,
) -> Refined:
    """masks are B of (H, W) bool, boxes_px (B, 4). A camera that is known, or to be kept, stays as it is."""
    held = HeldFit(seen, believed, body_name)
    start = held.start()
    before = fitness(held.outcome(start), seen, masks, camera, body_name)
    for candidate in (camera,) if keep_camera else _cameras(held, start, camera):
        state = held.on_picture(start, candidate.fx_px, masks, boxes_px)
        after = fitness(held.outcome(state), seen, masks, candidate, body_name)
        if (after >= before).all():
            break
    # The last candidate is the camera of the start, through which everybody may have the better of the two.
    better = after >= before
    state = state.where(better, start)
    return Refined(held.outcome(state), held.skeleton.pose(state), candidate, before, np.where(better, after, before))


def _cameras(held: HeldFit, start: State, camera: Pinhole) -> Iterator[Pinhole]:
    """The focal length that everybody's perspective speaks for, where it is free; then the one that was assumed."""
    if not camera.is_known:
        agreed = agreed_camera(camera, held.outcome(held.near(start)))
        if agreed.fx_px != camera.fx_px:
            yield agreed
    yield camera


def fitness(fit: Fit, seen: Observations, masks: Sequence[np.ndarray], camera: Pinhole, body_name: str) -> np.ndarray:
    """(B,) overlap of body and mask, 0 to 1, less `MISS_WEIGHT` times the mean landmark error in the person's size."""
    body = load_body(body_name)
    pose = np.tile(relaxed_hands(body), (len(masks), 1, 1))
    pose[:, :BODY_JOINTS] = fit.pose
    vertices = body.forward(pose, fit.betas, translation=fit.translation).vertices
    drawn = [silhouette(v, body.faces, camera.matrix, camera.width, camera.height) for v in vertices]
    overlap = [np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1) for a, b in zip(drawn, masks, strict=True)]
    return np.array(overlap) - MISS_WEIGHT * _miss(fit, seen, body_name)


def _miss(fit: Fit, seen: Observations, body_name: str) -> np.ndarray:
    """(B,) mean distance of the visible landmarks from where the body has them, in sizes of the person."""
    indices = landmark_points(body_name).indices
    distance = np.linalg.norm(fit.points_px - seen.points_px[:, indices], axis=-1) / seen.size_px[:, None]
    weight = seen.visibility[:, indices] + 1e-9
    return (weight * np.minimum(distance, MISS_LIMIT)).sum(1) / weight.sum(1)


class HeldFit(BodyFit):
    """A fit that takes the pose from a network instead of from metric landmarks and a prior."""

    def __init__(
        self, seen: Observations, believed: Believed, body_name: str = "neutral", betas: np.ndarray | None = None
    ) -> None:
        """With `betas` (B, 10) shapes are known and kept."""
        super().__init__(seen, body_name, betas)
        self._size_px = seen.size_px
        self._start_focal = self.focal.log_focal
        self._believed = believed if betas is None else replace(believed, betas=betas)
        # Metric landmarks are another network's opinion of the pose: without weight.
        self.landmarks = replace(self.landmarks, metric_sigma_m=np.inf)
        self._shape: tuple = (ShapeTerms.of(load_body(body_name), seen.height_m),)
        if betas is not None:
            self._shape = (KnownShape(betas),)
        elif believed.betas is not None:
            self._shape += (NearShape(believed.betas),)

    @property
    def coarse_terms(self) -> tuple:
        """Image landmarks, and what the network believes."""
        place = HeldPlace(self.start().place, self._size_px, self._believed.depth_sigma)
        held = (HeldPose(self._believed.rotations), place)
        return (self.landmarks, *held, *self._shape, self.focal)

    def start(self) -> State:
        """What the network says, through the camera that the observations speak of."""
        pelvis, log_focal = self._believed.pelvis, self._start_focal
        size = pelvis[:, 2] / np.exp(log_focal)
        betas = self._believed.betas
        return State(
            rotations=self._believed.rotations.astype(np.float64),
            place=np.concatenate([pelvis[:, :2] / size[:, None], np.log(size)[:, None]], 1),
            betas=np.zeros((len(pelvis), 10)) if betas is None else betas.astype(np.float64),
            log_focal=log_focal.copy(),
        )

    def near(self, start: State) -> State:
        """Place, shape and (where it is free) focal length by the landmarks alone."""
        with one_blas_thread():
            return minimise(self.skeleton, self.coarse_terms, start, ITERATIONS, ROBUST_FROM)[0]

    def on_picture(
        self, start: State, focal_px: float | np.ndarray, masks: Sequence[np.ndarray], boxes_px: np.ndarray
    ) -> State:
        """By landmarks, then also by the outlines of masks (H, W), through given focal lengths: one, or (B,)."""
        state, system = self.with_focal(self.near(start), focal_px)
        return self.with_silhouettes(state, system, masks, boxes_px)[0]

    def outcome(self, state: State) -> Fit:
        """The bodies of a state."""
        return self.result(state, linearise(self.skeleton, self.terms, state, robust=True))


@dataclass(frozen=True)
class HeldPose:
    """Rotations are near those that a network gave."""

    rotations: np.ndarray
    """(B, 22, 3, 3) local."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Quadratic in the rotation from the network's to the present one, in the joint's own frame."""
        count = len(self.rotations)
        sigma = np.full(BODY_JOINTS, POSE_SIGMA_RAD)
        sigma[0], sigma[list(_LOOSE)] = ROOT_SIGMA_RAD, LOOSE_SIGMA_RAD
        off = matrix_to_rotvec(self.rotations.swapaxes(-1, -2) @ posed.state.rotations)
        residual, by_turn = off / sigma[:, None], rotvec_by_turn(off) / sigma[:, None, None]
        transposed = by_turn.swapaxes(-1, -2)
        system.cost += 0.5 * np.square(residual).sum((1, 2))
        system.gradient[:, ROTATIONS] += (transposed @ residual[..., None])[..., 0].reshape(count, -1)
        blocks = transposed @ by_turn
        for joint in range(BODY_JOINTS):
            own = slice(3 * joint, 3 * joint + 3)
            system.prior_hessian[:, own, own] += blocks[:, joint]

    def of_rows(self, rows: np.ndarray) -> HeldPose:
        """Of some of the people."""
        return HeldPose(self.rotations[rows])


@dataclass(frozen=True)
class HeldPlace:
    """The pelvis is somewhere near where the network has it: little is said, so that nothing is ever undetermined."""

    place: np.ndarray
    """(B, 3) as in `State`."""
    size_px: np.ndarray
    """(B,) the person's size in the picture."""
    depth_sigma: float
    """One standard deviation of ln(depth / f)."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Quadratic."""
        wide = PLACE_SIZES * self.size_px
        sigma = np.stack([wide, wide, np.full_like(wide, self.depth_sigma)], 1)
        off = (posed.state.place - self.place) / sigma
        system.cost += 0.5 * np.square(off).sum(1)
        system.gradient[:, PLACE] += off / sigma
        system.prior_hessian[:, PLACE, PLACE] += np.eye(3) / sigma[:, :, None] ** 2

    def of_rows(self, rows: np.ndarray) -> HeldPlace:
        """Of some of the people."""
        return HeldPlace(self.place[rows], self.size_px[rows], self.depth_sigma)


@dataclass(frozen=True)
class NearShape:
    """Betas are near those that a network gave."""

    betas: np.ndarray
    """(B, 10)."""

    def add_to(self, system: System, posed: Posed, robust: bool) -> None:
        """Quadratic."""
        off = (posed.state.betas - self.betas) / SHAPE_SIGMA
        system.cost += 0.5 * np.square(off).sum(1)
        system.gradient[:, BETAS] += off / SHAPE_SIGMA
        system.prior_hessian[:, BETAS, BETAS] += np.eye(off.shape[1]) / SHAPE_SIGMA**2

    def of_rows(self, rows: np.ndarray) -> NearShape:
        """Of some of the people."""
        return NearShape(self.betas[rows])
