# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's motion as the .npz files that AMASS made common, which most tools of the field read.

    poses (N, 165)   rotation vectors of 55 joints in SMPL-X order; joint 0 turns the body (y up) into the world
    trans (N, 3)     metres, added after posing; the world is z up, as Blender's
    betas, expression, mocap_frame_rate, gender, surface_model_type

Many spellings are read: SMPL (24 joints), SMPL-H (52) and SMPL-X (55), `poses` whole or in parts, `fps` and the like.
Betas mean something only for the body they belong to; `recover_body_body` names ours. Betas of other bodies are left
out, and the take says so.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .motion import AS_SEEN
from .take import EXPRESSION_COUNT, JOINT_COUNT, SHAPE_COUNT, CameraTrack, PersonTrack, Take, TakeError

BACKEND = "amass"
"""`Take.backend` of what was read from such a file: nobody looked at a picture, and there is no real camera."""
FOREIGN_SHAPE = "The file's body shape belongs to another body and was left out; motion and place are the file's."

_RATES = ("mocap_frame_rate", "mocap_framerate", "fps", "frame_rate", "framerate")
_PLACES = ("trans", "transl", "translation")
_EXPRESSIONS = ("expression", "expressions")
_PARTS = (  # names of a part, its joints in SMPL-X's order
    (("root_orient", "global_orient"), slice(0, 1)),
    (("pose_body", "body_pose"), slice(1, 22)),
    (("pose_jaw", "jaw_pose"), slice(22, 23)),
    (("pose_eye", "eye_pose"), slice(23, 25)),
    (("leye_pose",), slice(23, 24)),
    (("reye_pose",), slice(24, 25)),
    (("pose_hand", "hand_pose"), slice(25, 55)),
    (("left_hand_pose",), slice(25, 40)),
    (("right_hand_pose",), slice(40, 55)),
)
_WHOLE = {24: (22, 0), 22: (22, 0), 52: (22, 30), 55: (25, 30)}
"""Joints in `poses` -> how many of them are body and face, and fingers. SMPL's last two are hands without fingers."""


@dataclass(frozen=True)
class Motion:
    """One person's motion in the world, N frames."""

    pose: np.ndarray
    """(N, 55, 3) rotation vectors; joint 0 turns the body frame (y up) into the world (z up)."""
    translation: np.ndarray
    """(N, 3) metres, world; the pelvis lies at translation + its rest position (body frame, not turned)."""
    betas: np.ndarray
    """(10,) body shape."""
    expression: np.ndarray
    """(N, 10) facial expression weights."""
    fps: float
    body: str = "neutral"
    """neutral, female, male, or the name of a user's file."""


def write_amass(path: str | Path, motion: Motion) -> Path:
    """Write `motion` as AMASS writes SMPL-X. Atomic: the file is whole or absent."""
    count = len(motion.pose)
    poses = np.asarray(motion.pose, np.float64).reshape(count, -1)
    gender = motion.body if motion.body in ("female", "male") else "neutral"
    members: dict[str, ArrayLike] = dict(
        surface_model_type="smplx",
        gender=gender,
        mocap_frame_rate=float(motion.fps),
        mocap_time_length=count / motion.fps,
        trans=np.asarray(motion.translation, np.float64),
        poses=poses,
        root_orient=poses[:, :3],
        pose_body=poses[:, 3:66],
        pose_jaw=poses[:, 66:69],
        pose_eye=poses[:, 69:75],
        pose_hand=poses[:, 75:],
        betas=np.asarray(motion.betas, np.float64),
        num_betas=len(motion.betas),
        expression=np.asarray(motion.expression, np.float64),
        recover_body_body=motion.body,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as stream:
            np.savez_compressed(stream, **members)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def read_amass(path: str | Path) -> tuple[Motion, tuple[str, ...]]:
    """The motion in the file, and sentences on what was left out. Raises TakeError where it is no such file."""
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files if name != "header"}
        return _motion(arrays, path)
    except TakeError:
        raise
    except FileNotFoundError:
        raise TakeError(f"There is no file {path}.") from None
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise nearly everything
        raise TakeError(f"{path} is not a readable motion ({error}).") from None


def is_amass(path: str | Path) -> bool:
    """Whether the .npz at `path` looks like motion of this kind rather than a take."""
    try:
        with np.load(path, allow_pickle=False) as data:
            names = set(data.files)
    except Exception:
        return False
    return "header" not in names and bool(names & {"poses", "pose_body", "body_pose"})


def as_take(motion: Motion, source: str, notes: tuple[str, ...] = ()) -> Take:
    """The motion as a take of one person. Its camera stands at the world's origin, with the world's axes, and saw
    nothing; `backend` is "amass", so that nobody draws it."""
    count = len(motion.pose)
    side = 1024
    focal_px, centre_px = np.array([float(side)]), np.array([side / 2])
    camera = CameraTrack(
        fx_px=focal_px,
        fy_px=focal_px,
        cx_px=centre_px,
        cy_px=centre_px,
        width=side,
        height=side,
        T_world_camera=np.eye(4)[None],
        source="assumed",
        is_placed=True,
    )
    unknown = np.full(count, np.nan)
    person = PersonTrack(
        id=0,
        name=Path(source).stem or "Person 1",
        present=np.ones(count, bool),
        boxes_px=np.zeros((count, 4)),
        score=np.ones(count),
        pose=motion.pose,
        betas=motion.betas,
        expression=motion.expression,
        translation=motion.translation,
        keypoint_names=(),
        keypoints_px=np.zeros((count, 0, 3)),
        joint_confidence=np.ones((count, JOINT_COUNT)),
        joint_inferred=np.zeros((count, JOINT_COUNT), bool),
        overlay_iou=unknown,
        reprojection_px=unknown,
        reprojection_percent=unknown,
        body=motion.body,
        notes=notes,
    )
    return Take(
        source,
        motion.fps,
        np.arange(1, count + 1),
        camera,
        (person,),
        BACKEND,
        device="none",
        notes=notes,
        motion=AS_SEEN,
        seen=(person,),
        seen_camera=camera,
        seen_notes=notes,
    )


def _motion(arrays: dict[str, np.ndarray], path: str | Path) -> tuple[Motion, tuple[str, ...]]:
    pose = _pose(arrays, path)
    count = len(pose)
    notes: list[str] = []
    place = _first(arrays, _PLACES)
    if place is None:
        notes.append("The file has no place (trans); the body stays where it is.")
        place = np.zeros((count, 3))
    rate = _first(arrays, _RATES)
    if rate is None:
        notes.append("The file has no frame rate; 30 frames per second are assumed.")
    fps = 30.0 if rate is None else float(np.ravel(rate)[0])
    if not 0 < fps < 1e5:
        raise TakeError(f"{path} has a frame rate of {fps}.")
    body = str(arrays.get("recover_body_body", ""))
    betas = np.zeros(SHAPE_COUNT)
    known = np.ravel(arrays.get("betas", betas))[:SHAPE_COUNT].astype(np.float64)
    if body:
        betas[: len(known)] = known
    elif known.any():
        notes.append(FOREIGN_SHAPE)
    expression = np.zeros((count, EXPRESSION_COUNT))
    faces = _first(arrays, _EXPRESSIONS)
    if faces is not None and body:
        faces = np.asarray(faces, np.float64).reshape(count, -1)[:, :EXPRESSION_COUNT]
        expression[:, : faces.shape[1]] = faces
    place = np.asarray(place, np.float64).reshape(count, 3)
    if not (np.isfinite(pose).all() and np.isfinite(place).all()):
        raise TakeError(f"{path} has values that are not numbers.")
    gender = str(arrays.get("gender", "neutral")).strip("b'\"")
    return Motion(pose, place, betas, expression, fps, body or _body_of(gender)), tuple(notes)


def _pose(arrays: dict[str, np.ndarray], path: str | Path) -> np.ndarray:
    """(N, 55, 3) from `poses`, or from its parts."""
    whole = arrays.get("poses")
    if whole is not None:
        whole = np.asarray(whole, np.float64)
        whole = whole.reshape(len(whole), -1, 3)
        if whole.shape[1] not in _WHOLE:
            raise TakeError(f"{path} has {whole.shape[1]} joints; 24 (SMPL), 52 (SMPL-H) or 55 (SMPL-X) are read.")
        body, fingers = _WHOLE[whole.shape[1]]
        pose = np.zeros((len(whole), JOINT_COUNT, 3))
        pose[:, :body] = whole[:, :body]
        pose[:, JOINT_COUNT - fingers :] = whole[:, body : body + fingers]
        return pose
    body_part = _first(arrays, _PARTS[1][0])
    if body_part is None:
        raise TakeError(f"{path} has neither poses nor pose_body.")
    count = len(body_part)
    pose = np.zeros((count, JOINT_COUNT, 3))
    for names, joints in _PARTS:
        part = _first(arrays, names)
        if part is None:
            continue
        turns = np.asarray(part, np.float64).reshape(count, -1, 3)
        wanted = joints.stop - joints.start
        if turns.shape[1] > wanted and names != _PARTS[1][0]:
            raise TakeError(f"{path}: {names[0]} has {turns.shape[1]} joints, expected {wanted}.")
        turns = turns[:, :wanted]  # SMPL's body has two more: hands without fingers
        pose[:, joints.start : joints.start + turns.shape[1]] = turns
    return pose


def _first(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _body_of(gender: str) -> str:
    return gender if gender in ("female", "male") else "neutral"
