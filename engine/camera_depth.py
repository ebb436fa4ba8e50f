# SPDX-License-Identifier: GPL-3.0-or-later
"""BLADE's camera for anybody's bodies: a network tells how far away people are, the solver which camera sees them so.

Knowing the distance, size tells the focal length. Everybody in a picture shares it, so people vote; then each is
placed through that one camera, and the body is refined there. What the depth network cannot know (people beyond its
ten metres) it has no vote on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..models.body_model import load_body
from ..models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ..wire.messages import RecoverRequest
from .backends.imported import lacking
from .camera_refine import Believed, HeldFit, Refined, fitness, refine
from .cameras import Pinhole
from .detect import Detection
from .errors import BackendNotReady, BadRequest
from .fit.body_fit import Fit, Observations
from .fit.contours import relaxed_hands
from .fit.kinematics import BODY_JOINTS
from .fit.observations import Masks, observations
from .follow import Sighting
from .frames import Footage

if TYPE_CHECKING:
    from .camera_scene import Camera

CAMERAS, SOLVERS = ("auto", "fit", "blade"), ("own", "published")
DEPTH_SIGMA = 0.1
"""Of ln(depth), one standard deviation: the published network is off by 7 to 10 % on the data sets of its paper."""
TRUSTED_M = 9.0
"""The network's answer ends at 10 m; near its end it no longer tells distances apart."""
MOST_VOTES = 3.0
"""So many independent people all together are taken for: they share the network's mistakes."""
KEYPOINT_SEEN = 0.5

Believe = Callable[[Pinhole], Believed]
"""What a backend's network says about the bodies, as seen through this camera."""


def check(request: RecoverRequest, is_clip: bool = False) -> None:
    """Refuse what cannot be done before work begins. Raises BadRequest, BackendNotReady."""
    for option, value, possible in (
        ("camera", request.camera_from, CAMERAS),
        ("camera solver", request.camera_solver, SOLVERS),
    ):
        if value not in possible:
            raise BadRequest(f"The {option} is {value!r}; it can be {', '.join(possible)}.")
    if is_clip and request.camera_solver == "published":
        raise BadRequest("The published camera solver works on stills only.", "Leave --camera-solver out for a clip.")
    if request.camera_from == "blade" and request.given_camera is not None:
        raise BadRequest("The camera is given, so that BLADE cannot find it.", "Leave one of the two out.")
    if request.camera_from == "blade" and (missing := lacking("blade")):
        raise BackendNotReady(f"The camera blade is not ready: {missing[0]}", " ".join(missing))


def depths_of(image: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """(B,) metres to the pelvis of the people with the masks (H, W) in an (H, W, 3) image: the network's answer."""
    from .backends import blade_input, blade_networks

    square = blade_input.Square.whole(image.shape[1], image.shape[0])
    working = blade_input.working_picture(image, square)
    pictures = blade_input.depth_pictures(working, [blade_input.working_mask(mask, square) for mask in masks])
    return blade_networks.depths(pictures)


def placed(
    request: RecoverRequest,
    image: np.ndarray,
    seen: Observations,
    believe: Believe,
    masks: Sequence[np.ndarray],
    boxes_px: np.ndarray,
    camera: Pinhole,
    depths_m: np.ndarray | None = None,
) -> Refined:
    """Everybody in a still on the picture, through the camera that the request asks for.

    `depths_m` (B,) where the backend's network has told them already.
    """
    if depths_m is None and request.camera_from == "blade":
        depths_m = depths_of(image, masks)
    if depths_m is None or request.camera_from == "fit":
        return refine(seen, believe(camera), masks, boxes_px, camera, request.body)
    views = Views(seen, masks, request.body)
    if request.camera_solver == "published":
        from .camera_published_people import placed_as_published

        return placed_as_published(views, believe(camera), camera, depths_m)
    solved = solve(views, believe(camera), camera, depths_m)
    believed = replace(believe(solved.camera), pelvis=solved.pelvis, depth_sigma=DEPTH_SIGMA)
    kept = through(seen, solved.camera)
    refined = refine(kept, believed, masks, boxes_px, solved.camera, request.body, keep_camera=True)
    return replace(refined, notes=depth_notes(depths_m))


def as_fitted(fit: Fit, body_name: str) -> Believe:
    """Bodies that were fitted by landmarks, as if a network had said so; sizes in the picture stay."""
    pelvis = fit.translation + load_body(body_name).rest_joints(fit.betas)[:, 0]

    def believe(camera: Pinhole) -> Believed:
        moved = np.column_stack([pelvis[:, :2], pelvis[:, 2] * camera.fx_px / fit.focal_px])
        return Believed(rotvec_to_matrix(fit.pose), moved, fit.betas)

    return believe


def placed_fit(
    request: RecoverRequest, image: np.ndarray, people: Sequence[Detection], fit: Fit, camera: Pinhole
) -> Refined:
    """People who were fitted by landmarks, through BLADE's camera; `camera` is what was known before the fit."""
    heights_m = np.full(len(people), np.nan)
    if request.height_m is not None:
        heights_m[0] = request.height_m
    boxes_px = np.array([person.box_px for person in people])
    seen = observations(people, camera, heights_m)
    refined = placed(request, image, seen, as_fitted(fit, request.body), Masks(people), boxes_px, camera)
    return replace(refined, fit=replace(refined.fit, certainty=fit.certainty))


def is_asked_of_clip(request: RecoverRequest, depths_m: np.ndarray | None) -> bool:
    """Whether depth is to tell a clip's camera; `depths_m` (K,) where the backend's own network tells it."""
    if request.given_camera is not None or request.camera_from == "fit":
        return False
    return depths_m is not None or request.camera_from == "blade"


def clip_camera(
    request: RecoverRequest,
    footage: Footage,
    at: np.ndarray,
    rows: Sequence[Sighting],
    seen: Observations,
    believe: Believe,
    camera: Pinhole,
    depths_m: np.ndarray | None = None,
) -> tuple[Pinhole, np.ndarray, tuple[str, ...]]:
    """The shot's camera, betas (K, 10) of the K sightings `rows` in key frames `at` (K,), and notes."""
    if depths_m is None:
        depths_m = _depths_in(footage, at, rows)
    masks = Masks(rows)
    solved = solve(Views(seen, masks, request.body, one_picture=False), believe(camera), camera, depths_m)
    believed = replace(believe(solved.camera), pelvis=solved.pelvis, depth_sigma=DEPTH_SIGMA)
    held = HeldFit(through(seen, solved.camera), believed, request.body)
    boxes_px = np.array([row.box_px for row in rows])
    state = held.on_picture(held.start(), solved.camera.fx_px, masks, boxes_px)
    near = depths_m[depths_m < TRUSTED_M]
    told = f"at {near.min():.2f} to {near.max():.2f} m" if len(near) else "beyond its reach of 10 m"
    return solved.camera, state.betas, (f"BLADE's depth network puts people in key frames {told}.",)


def _depths_in(footage: Footage, at: np.ndarray, rows: Sequence[Sighting]) -> np.ndarray:
    """(K,) metres, each in its own frame; the clip is decoded once more."""
    depths_m, masks = np.empty(len(rows)), Masks(rows)
    for index, image in enumerate(footage.images):
        here = np.flatnonzero(at == index)
        if len(here) and image is not None:
            depths_m[here] = depths_of(image, [masks[row] for row in here])
    return depths_m


@dataclass(frozen=True)
class Views:
    """People as the solver looks at them: B rows, each in a picture of its own or several in one."""

    seen: Observations
    masks: Sequence[np.ndarray]
    body_name: str
    one_picture: bool = True
    """Whether the masks are of one picture, in which people may stand before each other."""


@dataclass(frozen=True)
class Solved:
    """One camera, and where it sees B people."""

    camera: Pinhole
    pelvis: np.ndarray
    """(B, 3) metres, camera frame."""


def solve(views: Views, believed: Believed, camera: Pinhole, depths_m: np.ndarray) -> Solved:
    """The focal length that everybody's depth (B,) speaks for, where it is free, and everybody's place through it."""
    is_near = depths_m < TRUSTED_M
    if not camera.is_known and is_near.any():
        voters = np.flatnonzero(is_near)
        alone = _solved(views, believed, voters, depths_m[voters], None, is_depth_free=False)
        camera = agreed(camera, alone.focal_px.cpu().numpy().astype(float), views.seen.size_px[voters])
    pelvis = np.empty((len(depths_m), 3))
    for rows, depth in ((np.flatnonzero(is_near), depths_m[is_near]), (np.flatnonzero(~is_near), None)):
        if len(rows):
            answer = _solved(views, believed, rows, depth, camera.fx_px, is_depth_free=True)
            pelvis[rows] = answer.translation.cpu().numpy()
    return Solved(camera, pelvis)


def agreed(camera: Pinhole, focal_px: np.ndarray, size_px: np.ndarray) -> Pinhole:
    """One focal length of many (B,): their mean, people who are large in the picture counting more."""
    weight = size_px / size_px.sum()
    mean_px = float(np.exp((weight * np.log(focal_px)).sum()))
    sigma = DEPTH_SIGMA / min(len(focal_px), MOST_VOTES) ** 0.5
    return replace(
        camera, fx_px=mean_px, fy_px=mean_px, source="estimated", fx_sigma=sigma, evidence="BLADE's depth and outlines"
    )


def through(seen: Observations, camera: Pinhole) -> Observations:
    """The same sightings, the camera being known."""
    count = len(seen.focal_px)
    return replace(seen, focal_px=np.full(count, camera.fx_px), focal_sigma=np.zeros(count))


def depth_notes(depths_m: np.ndarray) -> tuple[str, ...]:
    """What the depth network said, and where it could not know."""
    told = ", ".join(f"{depth:.2f}" for depth in depths_m[:6]) + (", …" if len(depths_m) > 6 else "")
    notes = [f"BLADE's depth network puts the people at {told} m."]
    far = np.flatnonzero(depths_m >= TRUSTED_M)
    if len(far):
        who = ("Person " if len(far) == 1 else "Persons ") + ", ".join(str(row + 1) for row in far)
        notes.append(
            f"{who}: near or beyond the depth network's end at 10 m; the distance comes from size and focal length."
        )
    return tuple(notes)


def _solved(
    views: Views,
    believed: Believed,
    rows: np.ndarray,
    depths_m: np.ndarray | None,
    focal_px: float | None,
    is_depth_free: bool,
) -> Camera:
    """The solver on some of the people; translations are the pelves'."""
    import torch

    from .camera_scene import Freedom, Scene
    from .camera_solver import solve_camera

    held = HeldFit(views.seen, believed, views.body_name)
    state = held.start()
    on_body = held.landmarks.body_points(held.skeleton.pose(state)).positions - state.pelvis[:, None]
    vertices = _about_pelvis(
        views.body_name, whole_pose(views.body_name, matrix_to_rotvec(state.rotations)), state.betas
    )
    indices = held.landmarks.points.indices
    visibility = views.seen.visibility[:, indices]
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # others have no 64-bit numbers

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values[rows], np.float32)).to(where)

    masks = np.stack([views.masks[row] for row in rows])
    inside = None
    if views.one_picture and len(views.masks) > 1:
        # Where somebody else is seen, a body may go on behind.
        everybody = np.any([views.masks[row] for row in range(len(views.masks))], axis=0)
        inside = torch.from_numpy(masks | ~everybody).to(where)
    scene = Scene(
        vertices=tensor(vertices),
        joints=tensor(on_body),
        keypoints_px=tensor(views.seen.points_px[:, indices]),
        weights=tensor(np.where(visibility > KEYPOINT_SEEN, visibility, 0.05 * visibility + 1e-4)),
        masks=torch.from_numpy(masks).to(where),
        centres_px=tensor(views.seen.centre_px),
        depth_m=None if depths_m is None else torch.from_numpy(depths_m).float().to(where),
        focal_px=None if focal_px is None else torch.full((len(rows),), focal_px, device=where),
        inside=inside,
    )
    freedom = Freedom(depth=is_depth_free, depth_sigma=DEPTH_SIGMA)
    return solve_camera(scene, _edges(views.body_name, where), freedom)


def _about_pelvis(body_name: str, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """(B, V, 3) metres from the pelvis, turned as before the camera."""
    body = load_body(body_name)
    out = body.forward(pose, betas)
    return out.vertices - out.joints[:, :1]


def _edges(body_name: str, where):
    from .contour import Edges

    return Edges.of(load_body(body_name).faces, where)


def whole_pose(body_name: str, pose: np.ndarray) -> np.ndarray:
    """(B, 22, 3) rotation vectors -> (B, 55, 3) with relaxed hands."""
    whole = np.tile(relaxed_hands(load_body(body_name)), (len(pose), 1, 1))
    whole[:, :BODY_JOINTS] = pose
    return whole


def unrefined(views: Views, believed: Believed, camera: Pinhole) -> Refined:
    """The bodies exactly as they are believed to be."""
    held = HeldFit(through(views.seen, camera), believed, views.body_name)
    start = held.start()
    fit = held.outcome(start)
    how_well = fitness(fit, views.seen, views.masks, camera, views.body_name)
    return Refined(fit, held.skeleton.pose(start), camera, how_well, how_well)
