# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera solver on synthetic scenes, beside the published procedure in one run. Prints Markdown.

    python dev.py bench camera -- --count 60 --estimated 12 --published 4

The scenes of tests/synthetic: people of many shapes in recorded poses, 0.6 to 6 m away, lenses from 18 to 85 mm. First
with the true bodies, masks, joints and depths; then, on rendered pictures, with bodies, masks and landmarks as the
built-in backend finds them, the depth alone being true. Needs ../shared/data/mocap. (`recover-body bench camera` needs
nothing and measures on bodies in drawn-up poses.)
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from recover_body.engine import detect
from recover_body.engine.benchmarks import recipe
from recover_body.engine.benchmarks.camera_work import BODY_JOINTS, Truth, own, published_way, row
from recover_body.engine.camera_depth import KEYPOINT_SEEN, whole_pose
from recover_body.engine.camera_scene import Scene
from recover_body.engine.cameras import initial_camera
from recover_body.engine.contour import Edges
from recover_body.engine.fit.key_fit import fit_keys
from recover_body.engine.verdict import intersection_over_union
from recover_body.models.body_model import load_body
from recover_body.tests.benchmarks.synthetic import add_arguments
from recover_body.tests.synthetic import poses
from recover_body.tests.synthetic.pictures import MOTIONS, Picture, pictures
from recover_body.tests.synthetic.scenes import labels, make_scene
from recover_body.wire.messages import CameraHint, RecoverRequest

SAME_PERSON = 0.4


def squared(masks: np.ndarray, points_px: np.ndarray, centre_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Masks (B, H, W) and points (B, K, 2) in the middle of a square, as the published procedure needs them."""
    side = int(2 * np.ceil(max(centre_px.max(), *(np.array(masks.shape[2:0:-1]) - centre_px))))
    left, top = np.floor(side / 2 - centre_px).astype(int)
    made = np.zeros((len(masks), side, side), bool)
    made[:, top : top + masks.shape[1], left : left + masks.shape[2]] = masks
    return made, points_px + (side / 2 - centre_px), side


def truth_of(
    truth: dict, person: int, masks: np.ndarray, vertices: np.ndarray, joints: np.ndarray, points_px, weights
) -> Truth:
    """One person; vertices and joints (…, 3) from the pelvis."""
    intrinsics, pelvis = truth["intrinsics"], truth["joints_cam"][person, 0]
    mask, points_px, side = squared(masks[None], points_px[None], intrinsics[:2, 2])
    inside, _, _ = squared(np.ones_like(masks[None]), points_px, intrinsics[:2, 2])  # beyond it nothing is known

    def tensor(values):
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    scene = Scene(
        vertices=tensor(vertices[None]),
        joints=tensor(joints[None]),
        keypoints_px=tensor(points_px),
        weights=tensor(weights[None]),
        masks=torch.from_numpy(mask),
        inside=torch.from_numpy(inside),
        centres_px=torch.full((1, 2), side / 2),
        depth_m=tensor(pelvis[None, 2]),
    )
    return Truth(scene, tensor([intrinsics[0, 0]]), tensor(pelvis[None]))


def exact(truth: dict) -> list[Truth]:
    """Everybody with true body, mask and joints."""
    people = []
    for person, joints_cam in enumerate(truth["joints_cam"]):
        joints = joints_cam[BODY_JOINTS]
        points_px = joints @ truth["intrinsics"].T
        points_px = points_px[:, :2] / points_px[:, 2:]
        height, width = truth["body_masks"].shape[1:]
        weights = ((points_px >= 0) & (points_px <= (width, height))).all(1)
        pelvis = joints_cam[0]
        vertices, mask = truth["vertices_cam"][person] - pelvis, truth["body_masks"][person]
        if weights.sum() >= 6:
            people.append(truth_of(truth, person, mask, vertices, joints - pelvis, points_px, weights))
    return people


def estimated(picture: Picture) -> list[Truth]:
    """Everybody whom the built-in backend finds, with the bodies, masks and landmarks that it finds."""
    image, truth = picture.image, picture.truth
    found = detect.find_people(image, closer=False)
    if not found:
        return []
    camera = initial_camera(image.shape[1], image.shape[0], CameraHint(), None)
    request = RecoverRequest("1", picture.path.name)
    keys = fit_keys(found, np.arange(len(found)), camera, request, lambda *_: None)
    body, points = load_body("neutral"), keys.problem.landmarks.points.indices
    posed = body.forward(whole_pose("neutral", keys.fit.pose), keys.fit.betas)
    on_body = keys.problem.landmarks.body_points(keys.problem.skeleton.pose(keys.state)).positions
    on_body = on_body - keys.state.pelvis[:, None]
    people = []
    for row_index, person in enumerate(found):
        overlap = [intersection_over_union(person.mask, mask) for mask in truth["masks"]]
        if max(overlap) > SAME_PERSON:
            vertices = posed.vertices[row_index] - posed.joints[row_index, 0]
            seen = (person.points_px[points], (person.visibility[points] > KEYPOINT_SEEN).astype(float) + 1e-6)
            people.append(truth_of(truth, int(np.argmax(overlap)), person.mask, vertices, on_body[row_index], *seen))
    return people


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--estimated", type=int, default=12, help="pictures on which bodies are estimated")
    parser.add_argument("--published", type=int, default=4, help="people for whom the published procedure runs too")
    options = parser.parse_args()
    clips = poses.load_clips(MOTIONS)
    scenes = [labels(make_scene(options.seed, number, options.size, clips)) for number in range(options.count)]
    faces = np.asarray(load_body("neutral").faces, np.int64)
    edges = Edges.of(faces)
    ours, theirs = (lambda scene: own(scene, edges)), (lambda scene: published_way(scene, faces))
    rows = []
    for kind, people in (
        ("true bodies", [person for truth in scenes for person in exact(truth)]),
        (
            "estimated bodies",
            [p for each in pictures(options.estimated, options.seed, options.size) for p in estimated(each)],
        ),
    ):
        if not people:
            continue
        some = people[: options.published]
        rows.append(row(f"ours, {kind}", people, ours, edges))
        unknown = [replace(person, scene=replace(person.scene, depth_m=None)) for person in people]
        rows.append(row(f"ours, {kind}, depth unknown", unknown, ours, edges))
        if some:
            rows += [row(f"ours, {kind}", some, ours, edges), row(f"published, {kind}", some, theirs, edges)]
    for key, value in recipe.recipe(pictures=f"{options.size} px, seed {options.seed}").items():
        if value and key != "command":
            print(f"- {key}: {value}")
    print(f"\n{recipe.markdown(rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
