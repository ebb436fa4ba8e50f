# SPDX-License-Identifier: GPL-3.0-or-later
"""Body poses for the pose tokenizer and the pose discriminator, out of motion capture files.

Five layouts are read, told apart by their fields:

* clips (`poses` (F, J, 3), `clip_start`): ours; every clip counts the same, however long it is
* tokenization data of TokenHMR (`pose_body` (N, 63)), thinned out already
* AMASS (`poses` (F, 156 or 165), `mocap_frame_rate`)
* MOYO's SMPL fits (`body_pose` (F, 63 or more))
* our tars of labelled pictures, whose people are posed; every picture is a clip

Poses are (N, 21, 3) rotation vectors of SMPL's joints 1..21, without root and hands.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....models.rotations import matrix_to_rotvec, rotvec_to_matrix
from ..augment import MIRRORED_BODY
from .bad_data import BadSample, Tally, Where, array_of
from .layout import PeopleLabels, read_npz
from .shards import read_index

JOINTS = 21
_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
HELD_OUT = 1 / 8
"""Of the clips, where no data are named for validation."""

# Sampling weights of the released tokenizer; the names are those of AMASS's folders.
RELEASED_WEIGHTS = {
    **{"CMU": 0.12, "KIT": 0.11, "BMLrub": 0.11, "DanceDB": 0.05, "BMLmovi": 0.05, "EyesJapan": 0.05},
    **{"BMLhandball": 0.05, "TotalCapture": 0.05, "EKUT": 0.03, "ACCAD": 0.03, "TCDHands": 0.03},
    **{"MPI-Limits": 0.16, "MOYO": 0.16},
}
# Of the paper's ablation without MOYO.
PAPER_WEIGHTS = {
    **{"CMU": 0.14, "KIT": 0.14, "BMLrub": 0.14, "DanceDB": 0.06, "BMLmovi": 0.06, "EyesJapan": 0.06},
    **{"BMLhandball": 0.06, "TotalCapture": 0.06, "EKUT": 0.04, "ACCAD": 0.04, "TCDHands": 0.04, "MPI-Limits": 0.16},
}
UNKNOWN_WEIGHT = 0.1
"""Of a set that neither table names."""


@dataclass(frozen=True)
class PoseSet:
    """Poses of one data set."""

    name: str
    poses: np.ndarray
    """(N, 21, 3) float32."""
    starts: np.ndarray
    """(C + 1,) where its clips begin, and N."""
    clip_names: tuple[str, ...]
    by_clip: bool = False
    """Whether every clip counts the same, or every frame."""
    roots: np.ndarray | None = None
    """(N, 3) rotation vectors of the pelvis in a world whose y points up, where the layout tells them."""

    def __len__(self) -> int:
        return len(self.poses)

    def clips(self, chosen: np.ndarray) -> PoseSet:
        """The clips (K,) by number."""
        starts = np.cumsum([0, *np.diff(self.starts)[chosen]])
        frames = np.concatenate([np.arange(self.starts[n], self.starts[n + 1]) for n in chosen] or [np.zeros(0, int)])
        return replace(
            self,
            poses=self.poses[frames],
            starts=starts,
            clip_names=tuple(self.clip_names[n] for n in chosen),
            roots=None if self.roots is None else self.roots[frames],
        )


def read_sets(folder: Path, bad_data: str = "stop", tally: Tally | None = None) -> list[PoseSet]:
    """Every set below a folder, or of one file. Files of a sub-folder belong together (AMASS has one per set).

    Raises `BadSample`, or counts it in `tally` with `bad_data` "skip".
    """
    files = sorted([*folder.rglob("*.npz"), *folder.rglob("*.tar")]) if folder.is_dir() else [folder]
    by_name: dict[str, list[PoseSet]] = {}
    for path in files:
        try:
            problems: list[BadSample] = []
            found = _of_pictures(path, problems) if path.suffix == ".tar" else read_file(path, problems)
            for problem in problems:
                if bad_data == "stop":
                    raise problem
                if tally is not None:
                    tally.add(problem.sentence)
        except BadSample as error:
            if bad_data == "stop":
                raise
            if tally is not None:
                tally.add(error.sentence)
            continue
        if found is None:
            continue  # AMASS keeps a body shape without motion beside the motions
        name = path.relative_to(folder).parts[0] if path.parent != folder and folder.is_dir() else _set_name(path)
        by_name.setdefault(name, []).append(found)
    if not by_name:
        raise Where(folder).bad("there are no motions in it (.npz as docs/training.md describes them)")
    return [_joined(name, parts) for name, parts in by_name.items()]


def read_file(path: Path, problems: list[BadSample]) -> PoseSet | None:
    """The poses of one file; None where it holds no motion.

    Clips that are not finite are left out and told in `problems`. Raises `BadSample` for the file as a whole.
    """
    where = Where(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise where.bad(f"it cannot be read ({error.strerror})") from error
    data = read_npz(raw, where)
    if "clip_start" in data:
        return _clips(path, data, where, problems)
    roots = None
    if "pose_body" in data:
        poses = array_of(data, "pose_body", (None, 3 * JOINTS), where)
    elif "body_pose" in data:
        poses = _thinned(array_of(data, "body_pose", (None, None), where), 0.1, 5)[:, : 3 * JOINTS]
    elif "poses" in data:
        whole = _thinned(array_of(data, "poses", (None, None), where), 0.2, 10)
        poses, roots = whole[:, 3 : 3 + 3 * JOINTS], _from_z_up(whole[:, :3])
    elif "betas" in data:
        return None
    else:
        raise where.bad("poses is missing (or pose_body, or body_pose)")
    if poses.shape[1] != 3 * JOINTS:
        raise where.bad(f"its poses have {poses.shape[1]} numbers, where {3 * JOINTS} of the body are needed")
    poses = np.ascontiguousarray(poses, np.float32).reshape(-1, JOINTS, 3)
    return PoseSet(path.stem, poses, np.array([0, len(poses)]), (path.stem,), roots=roots)


def _clips(path: Path, data: dict[str, np.ndarray], where: Where, problems: list[BadSample]) -> PoseSet:
    starts = array_of(data, "clip_start", (None,), where, dtype=np.int64)
    poses = array_of(data, "poses", (None, None, 3), where, finite=False)
    if poses.shape[1] <= JOINTS or len(starts) < 2 or starts[0] != 0 or starts[-1] != len(poses):
        raise where.bad(f"clip_start does not divide its {len(poses)} frames of {poses.shape[1]} joints")
    if (np.diff(starts) < 0).any():
        raise where.bad("clip_start does not ascend")
    names = data.get("clip_name", np.arange(len(starts) - 1))
    clip_names = tuple(str(name) for name in names)
    whole = PoseSet(path.stem, poses[:, 1 : 1 + JOINTS], starts, clip_names, by_clip=True, roots=poses[:, 0])
    spoilt = np.searchsorted(starts, np.flatnonzero(~np.isfinite(poses).all((1, 2))), "right") - 1
    if not len(spoilt):
        return whole
    for clip in np.unique(spoilt):
        problems.append(Where(path, clip_names[clip]).bad("poses has numbers that are not finite"))
    kept = whole.clips(np.setdiff1d(np.arange(len(clip_names)), spoilt))
    if not len(kept):
        raise problems.pop()
    return kept


def _from_z_up(roots: np.ndarray) -> np.ndarray:
    """AMASS' world has z up: (N, 3) -> (N, 3) in a world whose y points up."""
    return matrix_to_rotvec(_Y_UP @ rotvec_to_matrix(roots.astype(np.float64))).astype(np.float32)


def _of_pictures(path: Path, problems: list[BadSample]) -> PoseSet:
    """The people of a tar that `recover-body synth` has made; `problems` as in `read_file`. Raises `BadSample`."""
    index = read_index(path)
    poses, starts, names = [np.zeros((0, JOINTS, 3), np.float32)], [0], []
    problems += index.problems
    for sample in index.samples:
        try:
            labels = PeopleLabels.from_npz(sample.read(sample.suffix(("people.npz",), "the label file")), sample.where)
        except BadSample as error:
            problems.append(error)
            continue
        poses.append(labels.pose[labels.has_pose > 0, 1 : 1 + JOINTS])
        starts.append(starts[-1] + len(poses[-1]))
        names.append(sample.where.sample)
    if starts[-1] == 0:
        raise Where(path).bad("nobody's pose is labelled in it")
    return PoseSet(path.stem, np.concatenate(poses), np.array(starts), tuple(names))


def _thinned(frames: np.ndarray, margin: float, step: int) -> np.ndarray:
    """Sequences begin and end with people taking their places, and neighbouring frames are alike."""
    count = len(frames)
    return frames[int(margin * count) : int((1 - margin) * count) : step]


def _set_name(path: Path) -> str:
    """`train_CMU.npz` -> CMU."""
    stem = path.stem
    return stem.split("_", 1)[1] if stem.startswith(("train_", "val_", "test_")) else stem


def _joined(name: str, parts: list[PoseSet]) -> PoseSet:
    offsets = np.cumsum([0, *map(len, parts)])
    starts = [part.starts[:-1] + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    names = tuple(clip for part in parts for clip in part.clip_names)
    poses = np.concatenate([part.poses for part in parts])
    roots = [part.roots for part in parts if part.roots is not None]
    return PoseSet(
        name,
        poses,
        np.array([*np.concatenate(starts), offsets[-1]]),
        names,
        parts[0].by_clip,
        np.concatenate(roots) if len(roots) == len(parts) else None,
    )


def held_out(sets: list[PoseSet], share: float = HELD_OUT) -> tuple[list[PoseSet], list[PoseSet]]:
    """Training and validation sets, divided by clips. The choice depends on the clips' names alone.

    Of every action (a clip's name without its number) that was recorded often enough one clip or more is held out, so
    that both sides show the same actions; the rest count as one action together.
    """
    training, validation = [], []
    for one in sets:
        kinds = [_kind(name) for name in one.clip_names]
        enough = {kind for kind in kinds if kinds.count(kind) >= 0.5 / share}
        out = np.zeros(len(kinds), bool)
        for chosen in (*sorted(enough), None):
            clips = [n for n, kind in enumerate(kinds) if (kind if kind in enough else None) == chosen]
            clips.sort(key=lambda n: _hash(one.clip_names[n]))
            out[clips[: max(round(share * len(clips)), chosen is not None)]] = True
        training.append(one.clips(np.flatnonzero(~out)))
        if out.any():
            validation.append(one.clips(np.flatnonzero(out)))
    return training, validation


def _kind(name: str) -> str:
    return name.rstrip("0123456789_- ")


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def weights_of(sets: list[PoseSet], table: dict[str, float]) -> np.ndarray:
    """(S,) chances of drawing from each set, adding up to 1."""
    weights = np.array([table.get(one.name, UNKNOWN_WEIGHT) for one in sets])
    return weights / weights.sum()


@dataclass(frozen=True)
class PoseDraws:
    """Which poses make the n-th batch: a function of the seed and n alone."""

    sets: tuple[PoseSet, ...]
    weights: np.ndarray
    """(S,)"""
    seed: int
    mirror: bool = False
    """Half of the draws left for right, which doubles small data."""

    def batch(self, number: int, count: int) -> np.ndarray:
        """(count, 21, 3)."""
        random = np.random.default_rng((self.seed, number))
        chosen = random.choice(len(self.sets), count, p=self.weights)
        poses = np.empty((count, JOINTS, 3), np.float32)
        for n in np.unique(chosen):
            rows = np.flatnonzero(chosen == n)
            one = self.sets[n]
            poses[rows] = one.poses[_frames(one, len(rows), random)]
        if self.mirror:
            flipped = random.random(count) < 0.5
            poses[flipped] = mirrored(poses[flipped])
        return poses


def _frames(one: PoseSet, count: int, random: np.random.Generator) -> np.ndarray:
    if not one.by_clip:
        return random.integers(len(one), size=count)
    lengths = np.diff(one.starts)
    clips = random.choice(np.flatnonzero(lengths > 0), count)
    return one.starts[clips] + (random.random(count) * lengths[clips]).astype(int)


def mirrored(poses: np.ndarray) -> np.ndarray:
    """(N, 21, 3) as seen in a mirror."""
    return poses[:, list(MIRRORED_BODY[:JOINTS])] * np.array([1, -1, -1], np.float32)
