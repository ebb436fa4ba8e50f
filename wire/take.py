# SPDX-License-Identifier: GPL-3.0-or-later
"""What was recovered from one picture or shot, and what of it is drawn. A still is a take of one frame.

Sizes: F frames, P people, J = 55 joints in SMPL-X order, V vertices, T triangles, S shape keys, K keypoints.
Metres and radians. The camera frame is OpenCV's (x right, y down, z forward), the world Blender's (z up, ground z = 0).
Pixels count from the image's top left *corner*, so the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import codec
from .motion import CONTACT_NAMES, MotionOptions

JOINT_COUNT = 55
BODY_JOINT_COUNT = 22
"""The first of them: all but jaw, eyes and fingers."""
SHAPE_COUNT = 10
EXPRESSION_COUNT = 10
TAKE_FORMAT = 2
"""2 keeps what was seen before motion (`Take.seen`), masks and contacts; takes of format 1 are read as well."""


class TakeError(ValueError):
    """A file is not a readable take."""


def _expect(name: str, array: np.ndarray, *shape: int | None) -> None:
    actual = array.shape
    if len(actual) != len(shape) or any(n not in (None, m) for n, m in zip(shape, actual, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {actual}, expected ({wanted})")


@dataclass(frozen=True)
class CameraTrack:
    """A pinhole camera over time. C is 1 (one camera for all frames) or F."""

    fx_px: np.ndarray
    """(C,) horizontal focal length in pixels of the *full* image, never of a crop."""
    fy_px: np.ndarray
    """(C,) vertical focal length in pixels; equals fx_px for square pixels."""
    cx_px: np.ndarray
    """(C,) principal point from the left edge; width / 2 when centred."""
    cy_px: np.ndarray
    """(C,) principal point from the top edge; height / 2 when centred."""
    width: int
    """Image width in pixels, after EXIF orientation."""
    height: int
    """Image height in pixels, after EXIF orientation."""
    T_world_camera: np.ndarray
    """(C, 4, 4) takes OpenCV camera coordinates to Blender world coordinates, metres."""
    source: str = "assumed"
    """Where the focal length comes from: given, exif, estimated or assumed."""
    fx_sigma: float = 0.0
    """One standard deviation of ln(fx_px): 0.1 means about 10 %."""
    is_placed: bool = False
    """Whether T_world_camera was given, as by a solved camera, rather than inferred from the people; then it stays."""

    def __post_init__(self) -> None:
        count = len(self.fx_px)
        for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
            _expect(name, getattr(self, name), count)
        _expect("T_world_camera", self.T_world_camera, count, 4, 4)
        if count < 1 or self.width < 1 or self.height < 1:
            raise ValueError("a camera needs at least one frame and one pixel")

    @property
    def is_static(self) -> bool:
        """True when one camera serves all frames."""
        return len(self.fx_px) == 1

    def intrinsics(self, frame: int = 0) -> np.ndarray:
        """(3, 3) pinhole matrix of one frame (index, not frame number), pixels from the top left corner."""
        i = 0 if self.is_static else frame
        return np.array(
            [[self.fx_px[i], 0, self.cx_px[i]], [0, self.fy_px[i], self.cy_px[i]], [0, 0, 1]], dtype=np.float64
        )

    def pose(self, frame: int = 0) -> np.ndarray:
        """(4, 4) T_world_camera of one frame (index)."""
        return self.T_world_camera[0 if self.is_static else frame]


@dataclass(frozen=True)
class MaskTrack:
    """One person's pixels over time, no finer than the network saw them, packed: about a KB a frame."""

    packed: np.ndarray
    """(N,) uint8, the frames' masks one after the other; each has the bits of its cut, row by row, zlib-compressed."""
    sizes: np.ndarray
    """(F,) how many bytes of `packed` each frame has; 0 where it has no mask."""
    cuts: np.ndarray
    """(F, 4) left, top, width, height of each mask's rectangle, in pixels of the full image times `scale`."""
    scale: np.ndarray
    """(F,) pixels of the mask per pixel of the full image, at most 1."""

    def __post_init__(self) -> None:
        frames = len(self.sizes)
        _expect("cuts", self.cuts, frames, 4)
        _expect("scale", self.scale, frames)
        if self.packed.dtype != np.uint8 or self.packed.shape != (int(self.sizes.sum()),):
            raise ValueError(f"packed has {self.packed.shape} {self.packed.dtype}, its sizes sum to {self.sizes.sum()}")


@dataclass(frozen=True)
class PersonTrack:
    """One person over time."""

    id: int
    """Number of this person in the take, from 0; stays the same over time and over re-runs."""
    name: str
    """What the artist calls this person; "Person 1" at first."""
    present: np.ndarray
    """(F,) bool, whether this person was found in the frame; other rows of the arrays below are fill."""
    boxes_px: np.ndarray
    """(F, 4) left, top, right, bottom of the person in the full image."""
    score: np.ndarray
    """(F,) detector confidence, 0 to 1."""
    pose: np.ndarray
    """(F, 55, 3) rotation vectors, SMPL-X joint order; joint 0 turns the body (y up) into the camera frame, the others
    are relative to their parent joint."""
    betas: np.ndarray
    """(10,) body shape, one for the whole take, in units of the body's shape components."""
    expression: np.ndarray
    """(F, 10) facial expression weights."""
    translation: np.ndarray
    """(F, 3) metres, camera frame; added after posing, so the pelvis lies at translation + its rest position."""
    keypoint_names: tuple[str, ...]
    """Names of the K observed image points, e.g. left_knee."""
    keypoints_px: np.ndarray
    """(F, K, 3) observed x, y in the full image and confidence 0 to 1."""
    joint_confidence: np.ndarray
    """(F, 55) 0 to 1, how far each joint's rotation can be trusted."""
    joint_inferred: np.ndarray
    """(F, 55) bool, true where nothing in the picture told the joint's rotation: it comes from the prior."""
    overlay_iou: np.ndarray
    """(F,) verdict: overlap of the body's silhouette with the person mask, 0 to 1; NaN where there is no mask."""
    reprojection_px: np.ndarray
    """(F,) verdict: median distance of trusted keypoints to the body's, pixels; NaN where there are none."""
    reprojection_percent: np.ndarray
    """(F,) verdict: reprojection_px in percent of the person's height in the picture."""
    body: str = "neutral"
    """Which body carries the shape: neutral, female, male, the name of an imported SMPL-X, or a file's path."""
    notes: tuple[str, ...] = ()
    """Sentences on what was not trusted, for the report."""
    contacts: np.ndarray | None = None
    """(F, 7) bool, which parts of `CONTACT_NAMES` hold still on something; None where that was not looked for."""
    masks: MaskTrack | None = None
    """The person's pixels in each frame, for judging again; None where the backend has none."""
    joint_error_mm: np.ndarray | None = None
    """(F, 22) verdict: how far each body joint probably lies from its true place with the pelves put together; NaN in
    frames where that is not known, None from backends that do not tell. In `Take.seen` the overlap is left out."""
    doubts: tuple[str, ...] = ()
    """What makes this person less certain, a few words each: "the left leg points at the camera"."""

    def __post_init__(self) -> None:
        frames = len(self.present)
        _expect("boxes_px", self.boxes_px, frames, 4)
        _expect("score", self.score, frames)
        _expect("pose", self.pose, frames, JOINT_COUNT, 3)
        _expect("betas", self.betas, SHAPE_COUNT)
        _expect("expression", self.expression, frames, EXPRESSION_COUNT)
        _expect("translation", self.translation, frames, 3)
        _expect("keypoints_px", self.keypoints_px, frames, len(self.keypoint_names), 3)
        _expect("joint_confidence", self.joint_confidence, frames, JOINT_COUNT)
        _expect("joint_inferred", self.joint_inferred, frames, JOINT_COUNT)
        for name in ("overlay_iou", "reprojection_px", "reprojection_percent"):
            _expect(name, getattr(self, name), frames)
        if self.joint_error_mm is not None:
            _expect("joint_error_mm", self.joint_error_mm, frames, BODY_JOINT_COUNT)
        if self.contacts is not None:
            _expect("contacts", self.contacts, frames, len(CONTACT_NAMES))
        if self.masks is not None:
            _expect("masks.sizes", self.masks.sizes, frames)

    @property
    def expected_error_mm(self) -> np.ndarray:
        """(F,) verdict: mean of `joint_error_mm`; NaN where that is not known."""
        return np.full(len(self.present), np.nan) if self.joint_error_mm is None else self.joint_error_mm.mean(1)


@dataclass(frozen=True)
class Take:
    """What was recovered from one picture or shot."""

    source: str
    """Path or name of the picture or clip, as the request gave it."""
    fps: float
    """Frames per second of the source; 24 for a still."""
    frame_numbers: np.ndarray
    """(F,) frame numbers in the source, from 1."""
    camera: CameraTrack
    """The camera through which the people lie on the footage."""
    people: tuple[PersonTrack, ...]
    """Everybody who was recovered, largest in the picture first."""
    backend: str
    """Which backend recovered the bodies."""
    device: str
    """What it ran on, e.g. cpu."""
    seconds: dict = field(default_factory=dict)
    """Stage name -> seconds spent."""
    versions: dict = field(default_factory=dict)
    """Package name -> version, for provenance."""
    notes: tuple[str, ...] = ()
    """Sentences on what was assumed or not trusted about the whole take."""
    motion: MotionOptions = field(default_factory=MotionOptions)
    """What was done to the motion that was seen."""
    seen: tuple[PersonTrack, ...] = ()
    """Everybody as the backend saw them, before anything was done to the motion: what a re-run starts from. People
    who were left out later are still here. Empty in takes that other programs or earlier versions made."""
    seen_camera: CameraTrack | None = None
    """The camera through which `seen` was seen; None without it."""
    seen_notes: tuple[str, ...] = ()
    """Those of `notes` that the backend wrote; a re-run keeps them."""
    drift_px: np.ndarray | None = None
    """(F,) how far the background has moved in the picture since the shot's first frame, pixels; NaN where it cannot be
    told. None for stills and for cameras that were given over time."""

    def __post_init__(self) -> None:
        frames = len(self.frame_numbers)
        for camera in (self.camera, self.seen_camera):
            if camera is not None and not camera.is_static and len(camera.fx_px) != frames:
                raise ValueError(f"the camera has {len(camera.fx_px)} frames, the take {frames}")
        if self.drift_px is not None:
            _expect("drift_px", self.drift_px, frames)
        if self.seen and self.seen_camera is None:
            raise ValueError("people were seen, but no camera")
        for person in (*self.people, *self.seen):
            if len(person.present) != frames:
                raise ValueError(f"person {person.id} has {len(person.present)} frames, the take {frames}")


@dataclass(frozen=True)
class Corrective:
    """One pose corrective: the offsets fade in as the joint turns about the axis."""

    name: str
    """Name of the shape key."""
    joint: str
    """The joint whose rotation drives it."""
    axis: tuple[float, float, float]
    """Unit axis of that rotation in the body frame (y up)."""
    angle_rad: float
    """Rotation about `axis` at which the corrective is fully on; it is off at zero, linear between, clamped."""


@dataclass(frozen=True)
class RigPlan:
    """What to draw for one person: mesh, skeleton, skin weights and shape offsets; body frame (y up), rest pose."""

    person_id: int
    """The `PersonTrack.id` this rig belongs to."""
    name: str
    """Name for the collection and objects."""
    vertices: np.ndarray
    """(V, 3) rest mesh at zero shape, metres."""
    faces: np.ndarray
    """(T, 3) vertex numbers, counter-clockwise from outside."""
    face_materials: np.ndarray
    """(T,) index into `material_names`."""
    material_names: tuple[str, ...]
    """E.g. skin, eyes, teeth."""
    uvs: np.ndarray
    """(U, 2) texture coordinates."""
    face_uvs: np.ndarray
    """(T, 3) rows of `uvs` for each triangle corner."""
    bone_names: tuple[str, ...]
    """J names; the first is the pelvis."""
    bone_parents: np.ndarray
    """(J,) parent's index, -1 for the pelvis; parents come before children."""
    bone_heads: np.ndarray
    """(J, 3) joint positions of the shaped body at rest."""
    bone_tails: np.ndarray
    """(J, 3) where each bone points, for display and for bone axes."""
    bone_z_axes: np.ndarray
    """(J, 3) direction of each bone's z axis, which sets its roll."""
    weight_bones: np.ndarray
    """(V, I) bone indices of the I strongest influences."""
    weights: np.ndarray
    """(V, I) their weights; each row sums to 1."""
    shape_names: tuple[str, ...]
    """Names of S shape keys: betas first, then expressions."""
    shape_offsets: np.ndarray
    """(S, V, 3) offsets at value 1, metres."""
    shape_values: np.ndarray
    """(S,) values for this person (expressions: those of the first frame)."""
    correctives: tuple[Corrective, ...] = ()
    """Pose correctives, driven by bones."""
    corrective_offsets: np.ndarray | None = None
    """(number of correctives, V, 3) their offsets, metres; None when there are none."""
    bone_offsets: np.ndarray | None = None
    """(S, J, 3) how far each shape moves the joints at value 1, metres; None where that is not known."""

    def __post_init__(self) -> None:
        vertices, bones, shapes = len(self.vertices), len(self.bone_names), len(self.shape_names)
        _expect("vertices", self.vertices, None, 3)
        _expect("faces", self.faces, None, 3)
        _expect("face_materials", self.face_materials, len(self.faces))
        _expect("face_uvs", self.face_uvs, len(self.faces), 3)
        for name in ("bone_heads", "bone_tails", "bone_z_axes"):
            _expect(name, getattr(self, name), bones, 3)
        _expect("bone_parents", self.bone_parents, bones)
        _expect("weight_bones", self.weight_bones, vertices, None)
        _expect("weights", self.weights, *self.weight_bones.shape)
        _expect("shape_offsets", self.shape_offsets, shapes, vertices, 3)
        _expect("shape_values", self.shape_values, shapes)
        if self.corrective_offsets is not None:
            _expect("corrective_offsets", self.corrective_offsets, len(self.correctives), vertices, 3)
        if self.bone_offsets is not None:
            _expect("bone_offsets", self.bone_offsets, shapes, bones, 3)


# ---------------------------------------------------------------------------------------------- files


def write_take(path: str | Path, take: Take) -> Path:
    """Write `take` as an .npz that plain numpy opens without pickle. Atomic: the file is whole or absent."""
    arrays: list[np.ndarray] = []
    tree = codec.to_tree(take, arrays)
    names = [""] * len(arrays)
    _name_arrays(tree, "", names)
    header = {"format": TAKE_FORMAT, "arrays": names, "take": tree}
    members = {name: array for name, array in zip(names, arrays, strict=True)}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: its files are for one user only, and takes are shared.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as stream:
            np.savez_compressed(stream, header=np.array(json.dumps(header, ensure_ascii=False)), **members)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def read_take(path: str | Path) -> Take:
    """Read a take. Raises TakeError with a sentence when the file is missing, damaged or from a newer version."""
    try:
        with np.load(path, allow_pickle=False) as data:
            header = json.loads(str(data["header"]))
            if header["format"] not in range(1, TAKE_FORMAT + 1):
                raise TakeError(
                    f"{path} is a take of format {header['format']}; this version reads 1 to {TAKE_FORMAT}. "
                    "Update Recover Body."
                )
            arrays = [data[name] for name in header["arrays"]]
        return codec.from_tree(Take, header["take"], arrays)
    except TakeError:
        raise
    except FileNotFoundError:
        raise TakeError(f"There is no file {path}.") from None
    except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise nearly everything
        raise TakeError(f"{path} is not a readable take ({error}).") from None


def _name_arrays(tree: object, prefix: str, names: list[str]) -> None:
    """Give each array the path of its field, e.g. people.0.pose, so that the file explains itself."""
    if isinstance(tree, dict) and set(tree) == {"$array"}:
        names[tree["$array"]] = names[tree["$array"]] or prefix  # one array may be several fields
    elif isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            _name_arrays(value, f"{prefix}.{key}" if prefix else str(key), names)
