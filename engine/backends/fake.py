# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend without models: the same pleasant person in every picture. For tests and for trying the interface.

The environment variable RECOVER_BODY_FAKE makes it misbehave, so that everything around it can be tested:
    print          writes to stdout, as chatty libraries do, from Python and from below it
    slow:SECONDS   works that long, reporting often
    hang           never comes back and reports nothing
    crash          ends the process at once, as a fault in a native library does
    fault          raises an unexpected exception
    memory         raises MemoryError
    nobody         finds nobody
    outside        returns a person beside the picture: a poor verdict
"""

from __future__ import annotations

import os
import time

import numpy as np

from ...models.body_model import BodyModel, load_body
from ...wire.frames import project
from ...wire.messages import RecoverRequest
from ...wire.take import EXPRESSION_COUNT, JOINT_COUNT, SHAPE_COUNT
from ..cameras import Pinhole
from ..errors import NobodyFound
from ..frames import Footage
from ..raster import silhouette
from .base import Bodies, BodyTrack, Report

# Rotation vectors, radians, of a person who stands at ease with the weight on the right leg; the rest is zero.
_POSE = {
    "spine1": (0.02, 0, 0.03), "spine3": (-0.03, 0.06, -0.02), "neck": (0.05, 0.05, 0), "head": (0.04, 0.1, 0.03),
    "left_hip": (-0.12, 0.12, 0.08), "left_knee": (0.18, 0, 0), "left_ankle": (-0.06, 0, -0.05),
    "right_hip": (0.02, -0.1, -0.03), "left_collar": (0, 0, -0.08), "right_collar": (0, 0, 0.08),
    "left_shoulder": (0.1, -0.1, -1.1), "right_shoulder": (0.05, 0.15, 1.05), "left_elbow": (0, -0.45, 0),
    "right_elbow": (0, 0.3, 0),
}  # fmt: skip
_UNSEEN = ("jaw", "left_eye_smplhf", "right_eye_smplhf")
_KEYPOINTS = (
    "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_foot", "right_foot",
)  # fmt: skip
_FILLS = 0.86
"""How much of the picture's height (or width, where that is less) the person takes, if no box was chosen."""


class FakeBackend:
    name = "fake"
    title = "Fake (for tests)"
    gives: tuple[str, ...] = ()
    licence = "GPL-3.0-or-later"

    def missing(self) -> tuple[str, ...]:
        return ()

    def recover(self, footage: Footage, camera: Pinhole, request: RecoverRequest, report: Report) -> Bodies:
        report("detect", 0.0, "")
        mischief = os.environ.get("RECOVER_BODY_FAKE", "")
        _misbehave(mischief, report)
        model = load_body(request.body)
        boxes_px = [person.box_px for person in request.chosen] or [_in_the_middle(camera)]
        frames, aside = len(footage.images), mischief == "outside"
        tracks = tuple(_person(model, camera, frames, np.array(box_px), aside) for box_px in boxes_px)
        report("fit", 1.0, "")
        return Bodies(tracks, camera, ("The person is made up: the fake backend does not look at the picture.",))


def _in_the_middle(camera: Pinhole) -> tuple[float, float, float, float]:
    width, height = camera.width, camera.height
    rim = (1 - _FILLS) / 2
    return (rim * width, rim * height, (1 - rim) * width, (1 - rim) * height)


def _person(model: BodyModel, camera: Pinhole, frames: int, box_px: np.ndarray, aside: bool) -> BodyTrack:
    """The person in a box (4,): left, top, right, bottom."""
    pose, inferred = np.zeros((1, JOINT_COUNT, 3), np.float32), np.zeros(JOINT_COUNT, bool)
    for joint, rotation in _POSE.items():
        pose[0, model.joint_names.index(joint)] = rotation
    pose[0, 0] = (np.pi, 0, 0)  # the body model stands y up, the camera looks y down: facing the camera
    pose[0, 25:40], pose[0, 40:55] = model.hands_mean_left, model.hands_mean_right
    inferred[25:] = True
    inferred[[model.joint_names.index(joint) for joint in _UNSEEN]] = True
    betas, expression = np.zeros(SHAPE_COUNT), np.zeros((1, EXPRESSION_COUNT))

    standing = model.forward(pose, betas, expression)
    low, high = standing.vertices[0].min(0), standing.vertices[0].max(0)
    width_m, height_m = (high - low)[:2]
    size_px, centre_px = box_px[2:] - box_px[:2], (box_px[2:] + box_px[:2]) / 2
    depth = max(height_m / size_px[1], width_m / size_px[0]) * camera.fx_px
    ray = [(centre_px[0] - camera.cx_px) / camera.fx_px, (centre_px[1] - camera.cy_px) / camera.fy_px, 1.0]
    translation = np.array(ray) * depth - (low + high) / 2
    seen = model.forward(pose, betas, expression, translation[None])
    mask = silhouette(seen.vertices[0], model.faces, camera.matrix, camera.width, camera.height)
    joints_px = project(seen.joints[0], camera.matrix)
    keypoints_px = joints_px[[model.joint_names.index(name) for name in _KEYPOINTS]]
    if aside:
        translation = translation + np.array([width_m, 0, 0])
        keypoints_px = keypoints_px - 0.2 * camera.height
    ys, xs = np.nonzero(mask)
    seen_px = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float64)

    over_time = lambda values: np.repeat(np.asarray(values)[None], frames, 0)  # noqa: E731 - many times the same
    return BodyTrack(
        present=np.ones(frames, bool),
        boxes_px=over_time(seen_px),
        score=np.ones(frames),
        pose=over_time(pose[0].astype(np.float64)),
        betas=betas,
        expression=over_time(expression[0]),
        translation=over_time(translation),
        keypoint_names=_KEYPOINTS,
        keypoints_px=over_time(np.column_stack([keypoints_px, np.ones(len(keypoints_px))])),
        joint_confidence=over_time(np.where(inferred, 0.1, 0.9)),
        joint_inferred=over_time(inferred),
        masks=(mask,) * frames,
        reprojected_px=over_time(joints_px[[model.joint_names.index(name) for name in _KEYPOINTS]]),
    )


def _misbehave(mischief: str, report: Report) -> None:
    kind, _, value = mischief.partition(":")
    if kind == "print":
        print("a library says hello on stdout")
        os.write(1, b"and so does something written in C\n")
    elif kind == "slow":
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < float(value):
            report("fit", elapsed / float(value), "slowly")
            time.sleep(0.05)
    elif kind == "hang":
        time.sleep(3600)
    elif kind == "crash":
        os.abort()
    elif kind == "fault":
        raise ZeroDivisionError("the fake backend was told to fail")
    elif kind == "memory":
        raise MemoryError
    elif kind == "nobody":
        raise NobodyFound("Nobody was found; the fake backend was told so.")
