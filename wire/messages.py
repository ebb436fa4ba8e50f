# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that add-on and engine say to each other, one frozen dataclass per sentence.

The engine says `Hello` first. A client sends `RecoverRequest`, or `RerunRequest` with a take that it has; the engine
answers with any number of `Progress` and then exactly one `Recovery` or `Failure` with the same `request_id`.
`FindPeopleRequest` asks who is there and is answered by `PeopleFound`. `Cancel` asks to stop, `Shutdown` ends the
engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .codec import PROTOCOL
from .motion import MotionOptions
from .take import CameraTrack, RigPlan, Take


@dataclass(frozen=True)
class BackendStatus:
    """One way of recovering bodies, and what it lacks on this machine."""

    name: str
    """Short name for requests, e.g. landmarks."""
    title: str
    """What people read, e.g. "Built-in (landmarks)"."""
    ready: bool
    """Whether a request would run now."""
    missing: tuple[str, ...]
    """What is missing, a sentence each, with where to get it; empty when ready."""
    gives: tuple[str, ...]
    """What it recovers beyond the body: any of hands, face, camera."""
    licence: str
    """Terms in a few words, e.g. "GPL-3.0 / Apache-2.0, commercial use allowed"."""


@dataclass(frozen=True)
class Hello:
    """The engine's first words."""

    package_version: str
    """Version of the package the engine runs."""
    device: str
    """What networks would run on: cpu, cuda:0 (name), mps."""
    backends: tuple[BackendStatus, ...]
    """All backends, ready or not, best first."""
    pid: int
    """Process number of the engine on its own machine."""
    bodies: tuple[str, ...] = ("neutral", "female", "male")
    """What may be asked for as `RecoverRequest.body`: those of the engine, then each imported SMPL-X."""
    protocol: int = PROTOCOL
    """Version of this conversation; a mismatch is refused by the codec before anything else is read."""


@dataclass(frozen=True)
class CameraHint:
    """What is known of the camera. Nothing given: EXIF, else an estimate, else an assumption that says so."""

    focal_mm: float | None = None
    """Focal length in millimetres, together with `sensor_mm`."""
    sensor_mm: float = 36.0
    """Width of the sensor along the picture's longer side, millimetres (36 is full frame)."""
    fx_px: float | None = None
    """Focal length in pixels of the full image; wins over `focal_mm`."""
    use_exif: bool = True
    """Whether the file's EXIF data may tell the focal length where nothing is given."""
    cx_px: float | None = None
    """Principal point from the left edge; None means the centre."""
    cy_px: float | None = None
    """Principal point from the top edge; None means the centre."""

    def __post_init__(self) -> None:
        for name in ("focal_mm", "sensor_mm", "fx_px"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e6:
                raise ValueError(f"{name} is {value}; it must be a positive number")


@dataclass(frozen=True)
class GivenCamera:
    """A camera that was solved or animated elsewhere, as it filmed the clip: lens and place in each frame."""

    frame_numbers: np.ndarray
    """(C,) int, ascending: the frames of the source, counted as in `Take.frame_numbers`, that the track's rows belong
    to. Frames between two rows are interpolated, frames outside are refused; a single row holds for all frames."""
    track: CameraTrack
    """C rows. People come to stand in its world. Its width and height may be another size of the same picture."""

    def __post_init__(self) -> None:
        track, numbers = self.track, self.frame_numbers
        if numbers.shape != (len(track.fx_px),) or (np.diff(numbers) <= 0).any():
            raise ValueError("frame_numbers must be ascending, one for each row of the camera")
        rows = (track.fx_px, track.fy_px, track.cx_px, track.cy_px, track.T_world_camera)
        if not all(np.isfinite(row).all() for row in rows) or min(track.fx_px.min(), track.fy_px.min()) <= 0:
            raise ValueError("a given camera's numbers must be finite, and its focal lengths positive")
        R = track.T_world_camera[:, :3, :3]
        is_rigid = np.allclose(R @ R.swapaxes(1, 2), np.eye(3), atol=1e-3) and (np.linalg.det(R) > 0).all()
        if not is_rigid or not np.allclose(track.T_world_camera[:, 3], (0, 0, 0, 1)):
            raise ValueError("T_world_camera must hold rotations and translations only")


@dataclass(frozen=True)
class FrameRange:
    """Which frames of a clip. A still is one frame, whatever is asked."""

    first: int = 1
    """Number of the first frame, as on Blender's timeline: from 1."""
    last: int | None = None
    """Number of the last frame, itself included; None for the clip's last."""
    step: int = 1
    """1 takes every frame, 2 every other."""

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"step is {self.step}; it must be 1 or more")


ALL_FRAMES = FrameRange()


@dataclass(frozen=True)
class ChosenPerson:
    """Somebody the user pointed at."""

    box_px: tuple[float, float, float, float]
    """Left, top, right, bottom around the person, pixels of the full image."""
    frame: int = 1
    """Number of the frame the box belongs to; 1 for a still."""
    name: str = ""
    """What the user calls this person; empty for the engine to number them."""


@dataclass(frozen=True)
class FindPeopleRequest:
    """Who is in this picture, or in one frame of this clip? Quick, and needs no licensed file."""

    request_id: str
    """Chosen by the client; comes back with every answer."""
    source: str
    """As in `RecoverRequest`."""
    data: bytes | None = None
    """As in `RecoverRequest`."""
    frame: int = 1
    """Number of the frame, as on Blender's timeline: from 1. A still is one frame, whatever is asked."""


@dataclass(frozen=True)
class PeopleFound:
    """The answer to a FindPeopleRequest: N people, largest first; nobody is an answer too."""

    request_id: str
    """The request this answers."""
    frame: int
    """Number of the frame that was looked at."""
    width: int
    """Of the picture, pixels, after EXIF orientation."""
    height: int
    """Of the picture, pixels, after EXIF orientation."""
    boxes_px: np.ndarray
    """(N, 4) left, top, right, bottom in the full image."""
    scores: np.ndarray
    """(N,) detector confidence, 0 to 1."""


@dataclass(frozen=True)
class RecoverRequest:
    """Recover the people in one picture or clip."""

    request_id: str
    """Chosen by the client; comes back with every answer."""
    source: str
    """Path of the picture or clip as the engine sees it; with `data`, a name for messages and files."""
    data: bytes | None = None
    """The encoded file's bytes, for an engine on another machine or a picture that lies only in Blender."""
    backend: str = "auto"
    """Name of a backend, or auto for the best one that is ready."""
    people: str = "all"
    """all, largest, or how many at most, e.g. "2" (largest first)."""
    camera: CameraHint = field(default_factory=CameraHint)
    """What is known of the camera."""
    given_camera: GivenCamera | None = None
    """A camera solved or animated elsewhere; it wins over `camera`, and people are placed in its world."""
    camera_from: str = "auto"
    """Who finds the rest of it: fit (landmarks and outlines), blade (BLADE's depth network and its camera solver, with
    any backend's bodies), or auto: as suits the backend."""
    camera_solver: str = "own"
    """How the camera is solved where a depth is known: own, or published (BLADE's procedure, for comparison; slow)."""
    height_m: float | None = None
    """Stature of the (largest) person in metres, where known: it sets the scale of the scene."""
    body: str = "neutral"
    """Which body to fit: neutral, female, male, the name of an imported SMPL-X (smplx-neutral, …), or a file's path."""
    frames: FrameRange = ALL_FRAMES
    """Which frames of a clip are recovered."""
    motion: MotionOptions = field(default_factory=MotionOptions)
    """What is done to a clip's motion after the bodies are recovered."""
    chosen: tuple[ChosenPerson, ...] = ()
    """Only these people, by the names they have here; empty for whom `people` says."""
    want_rigs: bool = True
    """Whether to send a `RigPlan` per person; the shell does not need them unless it draws."""


@dataclass(frozen=True)
class RerunRequest:
    """Do everything after the network again, from a take: seconds rather than minutes, and no picture is needed.

    What is not given stays as the take has it. Ids are the take's, and stay.
    """

    request_id: str
    """Chosen by the client; comes back with every answer."""
    take: Take
    """What was recovered before, by `RecoverRequest` or by an earlier re-run."""
    motion: MotionOptions | None = None
    """What is done to the motion; None as the take has it."""
    camera: CameraHint = field(default_factory=CameraHint)
    """Another focal length: people are moved along their rays and shifted, so that they still lie on the picture."""
    people: tuple[int, ...] | None = None
    """Ids of those to keep, also of people who were left out by an earlier re-run; None keeps the take's."""
    names: dict = field(default_factory=dict)
    """Id as text -> what the person is called from now on."""
    want_rigs: bool = True
    """Whether to send a `RigPlan` per person."""


@dataclass(frozen=True)
class Cancel:
    """Stop working on a request; answered by a Failure with code cancelled."""

    request_id: str
    """The request to stop."""


@dataclass(frozen=True)
class Shutdown:
    """End the engine once everything that was asked before is answered."""


@dataclass(frozen=True)
class Progress:
    """Where a request stands."""

    request_id: str
    """The request this belongs to."""
    stage: str
    """One of the pipeline's verbs: read, detect, fit, camera, motion, verdict, rig."""
    fraction: float
    """0 to 1 over the whole request."""
    eta_s: float | None = None
    """Expected seconds to go; None while unknown."""
    detail: str = ""
    """A few words for the person waiting."""


@dataclass(frozen=True)
class Recovery:
    """The answer to a request that succeeded."""

    request_id: str
    """The request this answers."""
    take: Take
    """What was recovered."""
    rigs: tuple[RigPlan, ...] = ()
    """What to draw, one per person, in the order of `take.people`."""
    upright: bytes = b""
    """The picture as a JPEG, turned as its file says it is meant to be seen; empty where it lies so in its file."""


@dataclass(frozen=True)
class Failure:
    """The answer to a request that did not succeed; nothing was written or changed."""

    request_id: str
    """The request this answers; empty when the engine itself is in trouble."""
    code: str
    """Name of the error's class in snake case, e.g. nobody_found."""
    sentence: str
    """What happened, in one plain sentence."""
    remedy: str
    """What to do about it, in one plain sentence."""
    exit_code: int = 1
    """What the command line returns: 1 nobody found, 2 wrong use or unreadable input, 3 something is missing."""


REQUESTS = (RecoverRequest, RerunRequest, FindPeopleRequest)
"""What the engine works on, one after the other."""
ANSWERS = (Recovery, PeopleFound, Failure)
"""What ends a request."""
KINDS = {kind.__name__: kind for kind in (Hello, *REQUESTS, Cancel, Shutdown, Progress, *ANSWERS)}
"""Every message by name; the codec builds nothing else."""
