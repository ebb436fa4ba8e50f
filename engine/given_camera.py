# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera that was solved or animated elsewhere: from a file or a request to the frames of the footage.

The file is a .npz or a .json. As .npz it holds `frames` (C,), `fx_px` (C,), `T_world_camera` (C, 4, 4), `width` and
`height`, and may hold `fy_px`, `cx_px` and `cy_px` (C,). As .json it is an object with `width`, `height` and a list
`frames`, each an object with `frame`, `fx_px`, `T_world_camera` (a list of four rows), and the same extras.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..models.rotations import matrix_to_rotvec, quaternion_to_rotvec, rotvec_to_matrix, rotvec_to_quaternion, slerp
from ..wire.messages import GivenCamera
from ..wire.take import CameraTrack
from .cameras import FilmedCamera
from .errors import BadRequest, UnreadableCamera
from .frames import Footage

_SQUARE = 0.01
"""Pixels whose sides differ by less than this share are square."""


def read(path: Path) -> GivenCamera:
    """The camera in a file. Raises UnreadableCamera."""
    try:
        if path.suffix.lower() == ".json":
            rows = _of_json(json.loads(path.read_text(encoding="utf-8")))
        else:
            with np.load(path, allow_pickle=False) as stored:
                rows = dict(stored)
        return _of_rows(rows)
    except FileNotFoundError:
        raise UnreadableCamera(f"There is no file {path}.", "Check the spelling and the folder.") from None
    except KeyError as error:
        raise UnreadableCamera(f"{path.name} is not a camera: {error.args[0]} is missing.") from None
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
    ) as error:
        raise UnreadableCamera(f"{path.name} is not a camera ({error}).") from None


def filmed(given: GivenCamera, footage: Footage) -> FilmedCamera:
    """The camera in the frames of the footage. Raises BadRequest where it does not fit the footage."""
    track, numbers = _at_size(given.track, footage), given.frame_numbers
    if not track.is_static:
        first, last = (int(number) for number in footage.frame_numbers[[0, -1]])
        if first < numbers[0] or last > numbers[-1]:
            raise BadRequest(
                f"The camera has the frames {numbers[0]} to {numbers[-1]}, but {first} to {last} of {footage.name} are "
                "to be recovered.",
                "Recover fewer frames, or solve or animate the camera in all of them.",
            )
        track = _between(track, numbers, footage.frame_numbers)
    if np.abs(track.fy_px / track.fx_px - 1).max() > _SQUARE:
        raise BadRequest(
            f"The pixels of the given camera are not square in {footage.name} ({track.width} x {track.height}).",
            "Give the camera for the picture with square pixels.",
        )
    return FilmedCamera.of(replace(track, source="given", fx_sigma=0.0, is_placed=True))


def _at_size(track: CameraTrack, footage: Footage) -> CameraTrack:
    """The camera of the same picture at the footage's size."""
    across, down = footage.width / track.width, footage.height / track.height
    return replace(
        track,
        fx_px=track.fx_px * across,
        fy_px=track.fy_px * down,
        cx_px=track.cx_px * across,
        cy_px=track.cy_px * down,
        width=footage.width,
        height=footage.height,
    )


def _between(track: CameraTrack, numbers: np.ndarray, wanted: np.ndarray) -> CameraTrack:
    """The track's rows at `numbers` (C,), moved evenly to the frames `wanted` (F,) between them."""
    after = np.clip(np.searchsorted(numbers, wanted), 1, len(numbers) - 1)
    before = after - 1
    share = (wanted - numbers[before]) / (numbers[after] - numbers[before])

    def even(values: np.ndarray) -> np.ndarray:
        at = share.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - at) * values[before] + at * values[after]

    T_world_camera = even(track.T_world_camera)
    quaternions = rotvec_to_quaternion(matrix_to_rotvec(track.T_world_camera[:, :3, :3].astype(np.float64)))
    turned = np.array([slerp(quaternions[a], quaternions[b], t) for a, b, t in zip(before, after, share, strict=True)])
    T_world_camera[:, :3, :3] = rotvec_to_matrix(quaternion_to_rotvec(turned))
    return replace(
        track,
        fx_px=even(track.fx_px),
        fy_px=even(track.fy_px),
        cx_px=even(track.cx_px),
        cy_px=even(track.cy_px),
        T_world_camera=T_world_camera,
    )


def _of_json(tree: dict) -> dict[str, np.ndarray]:
    frames = tree["frames"]
    names = [name for name in ("fx_px", "fy_px", "cx_px", "cy_px", "T_world_camera") if name in frames[0]]
    rows = {name: np.array([frame[name] for frame in frames], np.float64) for name in names}
    return {
        **rows,
        "frames": np.array([frame["frame"] for frame in frames]),
        "width": np.array(tree["width"]),
        "height": np.array(tree["height"]),
    }


def _of_rows(rows: dict[str, np.ndarray]) -> GivenCamera:
    numbers, width, height = np.atleast_1d(rows["frames"]).astype(np.int64), int(rows["width"]), int(rows["height"])

    def in_every_frame(values: np.ndarray | float) -> np.ndarray:
        return np.array(np.broadcast_to(values, numbers.shape), np.float64)

    track = CameraTrack(
        fx_px=in_every_frame(rows["fx_px"]),
        fy_px=in_every_frame(rows.get("fy_px", rows["fx_px"])),
        cx_px=in_every_frame(rows.get("cx_px", width / 2)),
        cy_px=in_every_frame(rows.get("cy_px", height / 2)),
        width=width,
        height=height,
        T_world_camera=np.asarray(rows["T_world_camera"], np.float64).reshape(-1, 4, 4),
        source="given",
        is_placed=True,
    )
    return GivenCamera(numbers, track)
