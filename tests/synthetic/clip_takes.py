# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled clips through the built-in backend's fit, and kept: what comes after it can then be measured in seconds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from recover_body.engine.backends.base import Bodies
from recover_body.engine.backends.clip_path import Person, fit_people
from recover_body.engine.backends.landmarks_clip import LandmarksWay
from recover_body.engine.cameras import Pinhole, initial_camera
from recover_body.engine.fit.key_fit import camera_notes, fit_keys
from recover_body.engine.frames import Footage
from recover_body.engine.motion.sides import with_sides_put_right
from recover_body.engine.tracks import camera_track, seen_person
from recover_body.wire.messages import CameraHint, RecoverRequest
from recover_body.wire.take import Take, read_take, write_take

from .clips import HEIGHT, WIDTH, Label, moving_person, standing_person
from .pictures import CACHE, MOTIONS
from .poses import Clip, load_clips
from .scenes import Camera
from .sightings import sightings

LABEL_VERSION = 1
"""Raise it to have people move anew: planting their feet is the engine's own work, so labels outlast its changes."""
_MADE_BY = ("engine/fit", "engine/motion/sides.py", "engine/backends/clip_path.py", "engine/cameras.py")
_MADE_BY += (
    "engine/backends/landmarks_clip.py",
    "engine/motion/contacts.py",
    "engine/motion/smooth.py",
    "engine/world.py",
)
_MADE_BY += ("models/body", "models/body_model.py", "models/landmark_lifter.py", "models/pose_prior.py")
_MADE_BY += ("tests/synthetic/clip_takes.py", "tests/synthetic/clips.py", "tests/synthetic/sightings.py")
"""What a kept recovery depends on, beside its label: whenever one of these files changes, it is made anew."""
MOVING = {
    "walk": ("walking_1", slice(0, 86), 5.0, None),
    "walk slowly": ("walking_2", slice(0, 120), 5.0, None),
    "dribble": ("basketball_1", slice(0, 110), 4.0, None),
    "kick": ("soccer_1", slice(81, 201), 3.0, None),
    "signal": ("basketball_signal_1", slice(0, 120), 2.0, 24.0),
    "signal again": ("basketball_signal_3", slice(0, 120), 2.0, 28.0),
    "direct traffic": ("directing_traffic_4", slice(0, 120), 2.2, 24.0),
}
"""What people do: the recording, which frames of it, from how far at least (metres), with which lens (mm)."""
STANDING, STANDING_FPS = "standing", 10.0
ALONE_EVERY = 10
"""Of so many frames one is also recovered as if it were a still."""


@dataclass(frozen=True)
class Labelled:
    """One clip: what is true, what the backend made of what was seen, and what it makes of single frames."""

    label: Label
    take: Take
    """As seen: nothing is done to the motion."""
    alone_frames: np.ndarray
    """(N,) frames that were recovered as stills."""
    alone_joints: np.ndarray
    """(N, 22, 3) metres, camera frame."""
    alone_focal_px: np.ndarray
    """(N,)."""


@cache
def recordings() -> dict[str, Clip]:
    """By name. Raises FileNotFoundError without the motion data."""
    return {clip.name.rsplit("/", 1)[-1]: clip for part in load_clips(MOTIONS) for clip in part}


def label_of(name: str, seed: int, seconds: float = 60.0) -> Label:
    """One of `MOVING`, or `STANDING`."""
    if name == STANDING:
        return standing_person(seconds, seed, recordings()["basketball_signal_1"], STANDING_FPS)
    recording, frames, away_m, lens_mm = MOVING[name]
    return moving_person(recordings()[recording], frames, seed, away_m, lens_mm)


def labelled(name: str, seed: int = 1, seconds: float = 60.0, alone: bool = True) -> Labelled:
    """A clip of `MOVING` or `STANDING`, from the cache or made now (minutes for the long ones).

    Kept recoveries belong to the code that made them, labels do not.
    """
    folder, stem = CACHE / "clips", f"{name.replace(' ', '-')}.{seed}.{seconds:g}"
    truth = folder / f"{stem}.label.{LABEL_VERSION}.npz"
    kept, single = (folder / f"{stem}.{what}.{_code()}.npz" for what in ("take", "alone"))
    if not truth.exists():
        made = label_of(name, seed, seconds)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(truth, **_packed(made))
    label = read_label(truth)
    if not kept.exists():
        _forget(folder, f"{stem}.take.*")
        write_take(kept, recover_label(label, seed))
    if not alone:
        return Labelled(label, read_take(kept), np.zeros(0, int), np.zeros((0, 22, 3)), np.zeros(0))
    if not single.exists():
        _forget(folder, f"{stem}.alone.*")
        frames, joints, focal_px = recover_alone(label, seed)
        np.savez(single, frames=frames, joints=joints, focal_px=focal_px)
    with np.load(single) as data:
        return Labelled(label, read_take(kept), data["frames"], data["joints"], data["focal_px"])


@cache
def _code() -> str:
    """A short hash of everything in `_MADE_BY`."""
    digest, root = hashlib.sha256(), Path(__file__).resolve().parents[2]
    for place in _MADE_BY:
        path = root / place
        files = [path] if path.is_file() else (p for p in path.rglob("*") if p.suffix in (".py", ".npz", ".toml"))
        for file in sorted(files):
            digest.update(f"{file.relative_to(root)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _forget(folder: Path, pattern: str) -> None:
    """What older code made."""
    for path in folder.glob(pattern):
        path.unlink()


def _packed(label: Label) -> dict:
    camera = {"lens_mm": label.camera.lens_mm, "T_world_camera": label.camera.T_world_camera}
    names = ("body_name", "betas", "pose", "pelvis_world", "fps")
    return {name: getattr(label, name) for name in names} | camera


def read_label(path: Path) -> Label:
    """A label from the cache."""
    with np.load(path, allow_pickle=False) as data:
        camera = Camera(WIDTH, HEIGHT, float(data["lens_mm"]), data["T_world_camera"])
        body_name, fps = str(data["body_name"]), float(data["fps"])
        return Label(path.stem, body_name, data["betas"], data["pose"], data["pelvis_world"], camera, fps)


def recover_label(label: Label, seed: int) -> Take:
    """What the built-in backend gives for the label's sightings, its focal length being unknown."""
    request = RecoverRequest("", label.name)
    camera = initial_camera(WIDTH, HEIGHT, CameraHint(), None)
    seen, frames = with_sides_put_right(sightings(label, seed), label.times_s), np.arange(label.count)
    footage = Footage(label.name, (), frames + 1, label.fps, None, WIDTH, HEIGHT)
    person = Person(seen, frames, label.times_s)
    tracks, camera, _ = fit_people(LandmarksWay(request, _silent), [person], footage, camera, request, _silent)
    return as_take(label, Bodies(tracks, camera, camera_notes(camera)))


def as_take(label: Label, bodies: Bodies) -> Take:
    """Bodies as a take in which nothing is done yet."""
    return Take(
        source=label.name,
        fps=label.fps,
        frame_numbers=np.arange(label.count) + 1,
        camera=camera_track(bodies.camera),
        people=tuple(seen_person(n, f"Person {n + 1}", track, "neutral") for n, track in enumerate(bodies.people)),
        backend="landmarks",
        device="cpu",
        notes=bodies.notes,
    )


def recover_alone(label: Label, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, joints (N, 22, 3) and focal lengths (N,) of some frames, each recovered as a still."""
    rows = sightings(label, seed)
    frames = np.arange(ALONE_EVERY // 2, label.count, ALONE_EVERY)
    camera: Pinhole = initial_camera(WIDTH, HEIGHT, CameraHint(), None)
    joints, focal_px = [], []
    for frame in frames:
        keys = fit_keys([rows[frame]], np.zeros(1, int), camera, RecoverRequest("", label.name), _silent)
        joints.append(keys.problem.skeleton.pose(keys.state).joints[0])
        focal_px.append(keys.camera.fx_px)
    return frames, np.array(joints), np.array(focal_px)


def _silent(*_: object) -> None:
    pass
