# SPDX-License-Identifier: GPL-3.0-or-later
"""Random instances of every message, made from the annotations, so that a new field or message is never forgotten."""

from __future__ import annotations

import dataclasses
import random
import string
import types
import typing

import numpy as np

from recover_body.wire import messages, take

_LETTERS = string.ascii_letters + ' äß写真\n"\\\x00🙂'


class Maker:
    """Makes values; `seed` decides all of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(seed)

    def message(self, kind: type) -> object:
        special = getattr(self, kind.__name__.lower(), None)
        return special() if special else self.plain(kind)

    def plain(self, kind: type, **given: object) -> object:
        """A dataclass whose fields are free of each other."""
        hints = typing.get_type_hints(kind)
        return kind(
            **{
                f.name: given[f.name] if f.name in given else self.value(hints[f.name])
                for f in dataclasses.fields(kind)
            }
        )

    def value(self, kind: object) -> object:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self.value(self.random.choice([k for k in inner if k is not type(None)] + [None]) or type(None))
        if origin is tuple and inner[-1] is Ellipsis:
            return tuple(self.value(inner[0]) for _ in range(self.random.randrange(4)))
        if origin is tuple:
            return tuple(self.value(k) for k in inner)
        if dataclasses.is_dataclass(kind):
            return self.message(kind)
        if kind is dict:
            return {self.text(): self.random.random() for _ in range(3)}
        makers = {
            str: self.text, int: lambda: self.random.randrange(1, 1 << 40), bool: lambda: self.random.random() < 0.5,
            float: lambda: self.random.uniform(0.1, 99.0), bytes: lambda: self.random.randbytes(50),
            type(None): lambda: None, np.ndarray: lambda: self.array(3, 2),
        }  # fmt: skip
        return makers[kind]()

    def text(self) -> str:
        return "".join(self.random.choice(_LETTERS) for _ in range(self.random.randrange(12)))

    def array(self, *shape: int, dtype: str = "f8") -> np.ndarray:
        return (self.numpy.normal(size=shape) * 100).astype(dtype)

    # ---- what has to fit together ----

    def cameratrack(self, count: int = 1) -> take.CameraTrack:
        values = {name: self.array(count) for name in ("fx_px", "fy_px", "cx_px", "cy_px")}
        return self.plain(take.CameraTrack, **values, T_world_camera=self.array(count, 4, 4))

    def givencamera(self) -> messages.GivenCamera:
        track = self.cameratrack(count := self.random.randrange(1, 4))
        places = np.tile(np.eye(4), (count, 1, 1))
        places[:, :3, 3] = self.array(count, 3)
        lenses = {name: 1 + np.abs(self.array(count)) for name in ("fx_px", "fy_px")}
        track = dataclasses.replace(track, **lenses, T_world_camera=places)
        return messages.GivenCamera(np.arange(count) * 2, track)

    def persontrack(self, frames: int = 2) -> take.PersonTrack:
        names = tuple(self.text() for _ in range(5))
        flag = self.numpy.random
        return self.plain(
            take.PersonTrack,
            present=flag(frames) > 0.5,
            boxes_px=self.array(frames, 4, dtype="f4"),
            score=self.array(frames),
            pose=self.array(frames, 55, 3),
            betas=self.array(10),
            expression=self.array(frames, 10),
            translation=self.array(frames, 3),
            keypoint_names=names,
            keypoints_px=self.array(frames, 5, 3),
            joint_confidence=self.array(frames, 55),
            joint_inferred=flag((frames, 55)) > 0.5,
            overlay_iou=np.full(frames, np.nan),
            reprojection_px=self.array(frames),
            reprojection_percent=np.array([np.inf] * frames),
            contacts=self.random.choice((None, flag((frames, 7)) > 0.5)),
            masks=self.masktrack(frames),
            joint_error_mm=self.random.choice((None, self.array(frames, 22, dtype="f4"))),
        )

    def masktrack(self, frames: int = 2) -> take.MaskTrack:
        sizes = self.numpy.integers(0, 9, frames)
        return take.MaskTrack(
            packed=self.numpy.integers(0, 256, sizes.sum(), np.uint8),
            sizes=sizes,
            cuts=self.numpy.integers(0, 99, (frames, 4)),
            scale=self.numpy.random(frames),
        )

    def take(self) -> take.Take:
        frames = self.random.randrange(1, 4)
        return self.plain(
            take.Take,
            frame_numbers=np.arange(frames) + 1,
            camera=self.cameratrack(self.random.choice((1, frames))),
            people=tuple(self.persontrack(frames) for _ in range(self.random.randrange(3))),
            seen=tuple(self.persontrack(frames) for _ in range(self.random.randrange(3))),
            seen_camera=self.cameratrack(),
            drift_px=self.random.choice((None, self.array(frames))),
        )

    def motionoptions(self) -> messages.MotionOptions:
        return self.plain(messages.MotionOptions, smoothing_s=self.random.choice((None, self.random.random())))

    def rigplan(self) -> take.RigPlan:
        vertices, faces, bones, shapes, correctives = 7, 5, 4, 3, 2
        return self.plain(
            take.RigPlan,
            vertices=self.array(vertices, 3, dtype="f4"),
            faces=self.numpy.integers(0, vertices, (faces, 3)),
            face_materials=np.zeros(faces, np.uint8),
            uvs=self.array(6, 2),
            face_uvs=self.numpy.integers(0, 6, (faces, 3)),
            bone_names=tuple(self.text() for _ in range(bones)),
            bone_parents=np.arange(bones) - 1,
            bone_heads=self.array(bones, 3),
            bone_tails=self.array(bones, 3),
            bone_z_axes=self.array(bones, 3),
            weight_bones=self.numpy.integers(0, bones, (vertices, 4)),
            weights=self.array(vertices, 4),
            shape_names=tuple(self.text() for _ in range(shapes)),
            shape_offsets=self.array(shapes, vertices, 3),
            shape_values=self.array(shapes),
            correctives=tuple(self.plain(take.Corrective) for _ in range(correctives)),
            corrective_offsets=self.array(correctives, vertices, 3),
            bone_offsets=self.array(shapes, bones, 3),
        )


def any_message(kind: type, seed: int = 0) -> object:
    return Maker(seed).message(kind)


def any_take(seed: int = 0) -> take.Take:
    return Maker(seed).take()


ALL_KINDS = tuple(messages.KINDS.values())


def assert_same(one: object, other: object) -> None:
    """Equal to the last bit, arrays with dtype and shape, NaN equal to NaN."""
    assert type(one) is type(other)
    if dataclasses.is_dataclass(one):
        for f in dataclasses.fields(one):
            assert_same(getattr(one, f.name), getattr(other, f.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other
