# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as far as it has been followed, kept on disk, so that an interrupted run goes on where it stopped.

A folder holds one file for every few seconds of the clip: what was seen in them, and where the tracker stood at their
end. All of it is plain arrays, each file appears whole or not at all, and a folder that belongs to other footage,
other options or another version is not believed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import __version__
from ..wire.messages import RecoverRequest
from .drift import Drift
from .follow import Sighting
from .masks import PackedMask
from .mediapipe_graphs import Details, Region
from .shots import Shots
from .track import Track, Tracker

FORMAT = 1
_BLOCK = 1 << 22


@dataclass
class Progress:
    """A clip as far as it has been followed."""

    tracker: Tracker
    drift: Drift
    shots: Shots = field(default_factory=Shots)
    unreadable: list[int] = field(default_factory=list)
    """Indices of frames that could not be decoded."""
    cuts: list[int] = field(default_factory=list)
    """Indices of the first frames of new shots."""
    kept: int = 0
    """So many frames are on disk."""

    def see(self, index: int, image: np.ndarray | None, following: np.ndarray | None) -> None:
        """The next frame, None if it cannot be decoded, and the one after it, where that is known."""
        if image is None:
            self.unreadable.append(index)
            return
        if self.shots.is_cut(image):
            self.cuts.append(index)
            self.tracker.cut()
            self.drift.cut()
        accepted = self.tracker.see(index, image, following)
        self.drift.see(index, image, [sighting.box_px for sighting in accepted])


class Checkpoints:
    """The folder of one run."""

    def __init__(self, folder: Path, key: str) -> None:
        """`key` is what the results depend on; see `key_of`."""
        self.folder, self._key = folder, key

    def load(self, progress: Progress) -> int:
        """Bring a fresh `progress` to where the last run stopped; returns the index of the first frame to be done."""
        if self._read("key.json") != self._key.encode():
            self.remove()
            return 0
        index = 0
        for path in sorted(self.folder.glob("*.npz")):
            try:
                with np.load(path, allow_pickle=False) as stored:
                    arrays = dict(stored)
                if int(arrays["first"]) != index:
                    break
                _restore(progress, arrays)
            except (OSError, ValueError, KeyError, EOFError, IndexError):
                break  # damaged by something else than us: from here on it is done again
            index = int(arrays["last"])
        return index

    def save(self, progress: Progress, index: int) -> None:
        """Keep what was seen since the last call; `index` frames are done. Nothing may be under way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._read("key.json") != self._key.encode():
            self._write("key.json", self._key.encode())
        first = progress.kept
        name = f"{index:08d}.npz"
        temporary = self.folder / f".{secrets.token_hex(4)}.tmp"
        try:
            with open(temporary, "wb") as stream:
                np.savez(stream, **_arrays(progress, first, index))
            os.replace(temporary, self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)
        progress.kept = index

    def remove(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return b""

    def _write(self, name: str, data: bytes) -> None:
        temporary = self.folder / f".{secrets.token_hex(4)}.tmp"
        temporary.write_bytes(data)
        os.replace(temporary, self.folder / name)


def key_of(request: RecoverRequest, frame_numbers: np.ndarray, limit: int | None) -> str:
    """What following a clip depends on: the footage's bytes, the frames, whom to follow, and the versions."""
    versions = {"recover-body": __version__, "format": FORMAT}
    for package in ("mediapipe", "av", "opencv-python-headless"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    frames = hashlib.sha256(np.asarray(frame_numbers, np.int64).tobytes()).hexdigest()
    return json.dumps({"source": _source_hash(request), "frames": frames, "limit": limit, **versions}, sort_keys=True)


def _source_hash(request: RecoverRequest) -> str:
    """Of a file's bytes; of numbered pictures their names, sizes and times, which are quicker told."""
    digest, path = hashlib.sha256(), Path(request.source)
    if request.data is not None:
        digest.update(request.data)
    elif path.is_file():
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    else:
        folder = path if path.is_dir() else path.parent
        for picture in sorted(folder.iterdir()):
            told = picture.stat()
            digest.update(f"{picture.name} {told.st_size} {told.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- arrays


def _arrays(progress: Progress, first: int, last: int) -> dict[str, np.ndarray]:
    tracker, drift = progress.tracker, progress.drift
    rows = [(t, i, s) for t, track in enumerate(tracker.tracks) for i, s in track.sightings.items() if i >= first]
    seen = [sighting for *_, sighting in rows]
    arrays = {
        "first": np.array(first),
        "last": np.array(last),
        "who": np.array([t for t, *_ in rows], int),
        "index": np.array([i for _, i, _ in rows], int),
        "looks": np.array([t.look for t in tracker.tracks]),
        "velocities_px": np.array([t.velocity_px for t in tracker.tracks]),
        "ended": np.array([t.is_ended for t in tracker.tracks], bool),
        "done": np.array([tracker.searched, tracker.searched_tiles, tracker.detailed]),
        "unreadable": np.array(progress.unreadable, int),
        "cuts": np.array(progress.cuts, int),
        "shots_last": progress.shots.last,
        "shots_usual": np.array(progress.shots.usual),
        "drift_last": drift.last,
        "drift_T": drift.T_now_first,
        "drift_looked": np.array(drift.looked).reshape(-1, 2),
    }
    for name in _PLAIN:
        arrays[name] = np.array([getattr(s, name) for s in seen])
    arrays["regions"] = np.array([_region_row(s.next_region) for s in seen])
    arrays["masks"] = np.frombuffer(b"".join(s.mask.packed for s in seen), np.uint8)
    arrays["mask_sizes"] = np.array([len(s.mask.packed) for s in seen], int)
    arrays["mask_places"] = np.array([[getattr(s.mask, name) for name in _MASK] for s in seen], int)
    arrays["mask_scales"] = np.array([s.mask.scale for s in seen])
    for name in _DETAILS:
        whose = [row for row, s in enumerate(seen) if getattr(s.details, name) is not None]
        arrays[f"{name}_rows"] = np.array(whose, int)
        arrays[name] = np.array([getattr(seen[row].details, name) for row in whose])
    return arrays


def _restore(progress: Progress, arrays: dict[str, np.ndarray]) -> None:
    tracker, drift, shots = progress.tracker, progress.drift, progress.shots
    sightings = _sightings(arrays)
    while len(tracker.tracks) < len(arrays["ended"]):
        tracker.tracks.append(Track(fps=tracker.fps))
    for who, index, sighting in zip(arrays["who"].tolist(), arrays["index"].tolist(), sightings, strict=True):
        tracker.tracks[who].sightings[index] = sighting
    for number, track in enumerate(tracker.tracks):
        track.look, track.velocity_px = arrays["looks"][number], arrays["velocities_px"][number]
        track.is_ended = bool(arrays["ended"][number])
    tracker.searched, tracker.searched_tiles, tracker.detailed = arrays["done"].tolist()
    progress.unreadable[:], progress.cuts[:] = arrays["unreadable"].tolist(), arrays["cuts"].tolist()
    shots.last, shots.usual = arrays["shots_last"], float(arrays["shots_usual"])
    drift.last, drift.T_now_first = arrays["drift_last"], arrays["drift_T"]
    drift.looked[:] = [(index, value) for index, value in arrays["drift_looked"].tolist()]
    progress.kept = int(arrays["last"])


def _sightings(arrays: dict[str, np.ndarray]) -> list[Sighting]:
    count, ends = len(arrays["index"]), np.cumsum(arrays["mask_sizes"])
    packed = arrays["masks"].tobytes()
    details: list[dict] = [{} for _ in range(count)]
    for name in _DETAILS:
        for row, points in zip(arrays[f"{name}_rows"].tolist(), arrays[name], strict=True):
            details[row][name] = points
    found = []
    for row in range(count):
        place = dict(zip(_MASK, arrays["mask_places"][row].tolist(), strict=True))
        own = packed[ends[row] - arrays["mask_sizes"][row] : ends[row]]
        x, y, side, angle, score = arrays["regions"][row].tolist()
        values = {name: arrays[name][row] for name in _PLAIN}
        found.append(
            Sighting(
                **{**values, "score": float(values["score"]), "angle_rad": float(values["angle_rad"])},
                mask=PackedMask(own, **place, scale=float(arrays["mask_scales"][row])),
                details=Details(**{name: details[row].get(name) for name in _DETAILS}),
                next_region=Region(np.array([x, y]), side, angle, score),
            )
        )
    return found


def _region_row(region: Region) -> tuple[float, ...]:
    return (*region.centre_px, region.side_px, region.angle_rad, region.score)


_PLAIN = ("box_px", "score", "points_px", "visibility", "metric_points", "look", "angle_rad", "appearance")
_MASK = ("left", "top", "width", "height", "image_width", "image_height")
_DETAILS = ("left_hand", "right_hand", "face")
