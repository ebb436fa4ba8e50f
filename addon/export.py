# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovered characters as files for other programs, by Blender's own exporters with settings that are tested.

What is written is what Blender shows: an artist's changes, constraints and drivers included. A file is whole or absent.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bpy

from . import compat
from .chosen_result import body_of
from .errors import ExportError
from .export_copies import CM_PER_M, copies
from .export_motion import write_rig_as_amass
from .pose_sampling import action_frames
from .scene_facts import joint_names


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    title: str
    about: str
    """For the tooltip."""
    suffix: str
    write: Callable[[list[bpy.types.Object], Path, bpy.types.Scene], None]
    """Write these rigs, which are selected with their meshes, the scene having the length of their animation."""
    operator: str = ""
    """Blender's operator that does it, which some builds leave out."""
    one_person: bool = False
    """Whether a file holds one person; several then become several files."""


def export_people(
    rigs: Sequence[bpy.types.Object], path: str | Path, kind: str, scene: bpy.types.Scene
) -> tuple[Path, ...]:
    """Write `rigs` with their bodies to `path` as `kind`, a key of `FORMATS`; returns the files. Raises ExportError.

    Where a file of that kind holds one person only, several people get a file each, named after them.
    """
    if not rigs:
        raise ExportError("There is nobody to export.", "Recover somebody first, or select a recovered character.")
    for rig in rigs:
        if not joint_names(rig):
            raise ExportError(f"{rig.name} is not a recovered character.", "Select a rig that Recover Body made.")
    made = FORMATS[kind]
    if made.operator and not compat.has_operator(made.operator):
        raise ExportError(f"This Blender was built without {made.title}.", "Choose another format.")
    path = with_suffix(Path(path).expanduser(), made.suffix)
    if not made.one_person or len(rigs) == 1:
        jobs = {path: list(rigs)}
    else:
        stem = path.name.removesuffix(made.suffix)
        jobs = {path.with_name(f"{stem}_{bpy.path.clean_name(rig.name)}{made.suffix}"): [rig] for rig in rigs}
    for target, people in jobs.items():
        with _selected(people, scene), _length_of(people, scene):
            _write_whole(target, lambda temporary, people=people: made.write(people, temporary, scene))
    return tuple(jobs)


def with_suffix(path: Path, suffix: str) -> Path:
    """`path` as a file of that kind, whatever kind of ours it was before; other dots belong to the name."""
    name = path.name
    for known in sorted({made.suffix for made in FORMATS.values()} | {".npz", ".blend"}, key=len, reverse=True):
        if name.lower().endswith(known):
            name = name[: -len(known)]
            break
    return path.with_name(name + suffix)


def _bodies(rigs: Sequence[bpy.types.Object]) -> list[bpy.types.Object | None]:
    return [body_of(rig) for rig in rigs]


# ---------------------------------------------------------------------------------------------- formats


_UNREAL_NAME = "Armature"
"""Unreal makes an extra bone of the armature's node unless it is called so."""


def _write_fbx(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene) -> None:
    """In centimetres and without any scale on nodes or bones, as Unreal and Unity want it."""
    with copies(rigs, _bodies(rigs), scene, CM_PER_M, _UNREAL_NAME) as made, _selected(made, scene):
        bpy.ops.export_scene.fbx(
            filepath=str(path),
            use_selection=True,
            object_types={"ARMATURE", "MESH"},
            apply_scale_options="FBX_SCALE_NONE",
            axis_forward="-Z",
            axis_up="Y",
            add_leaf_bones=False,
            mesh_smooth_type="FACE",
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
            bake_anim_simplify_factor=0.0,
        )


def _write_glb(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene) -> None:
    with copies(rigs, _bodies(rigs), scene) as made, _selected(made, scene):
        bpy.ops.export_scene.gltf(
            filepath=str(path),
            export_format="GLB",
            use_selection=True,
            export_animation_mode="SCENE",  # as it is seen: with NLA, constraints and drivers
            export_anim_scene_split_object=False,
            export_optimize_animation_size=False,
            export_influence_nb=4,
            export_morph_normal=False,
        )


def _write_usd(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene) -> None:
    with copies(rigs, _bodies(rigs), scene) as made, _selected(made, scene):
        bpy.ops.wm.usd_export(
            filepath=str(path),
            selected_objects_only=True,
            export_animation=True,
            export_armatures=True,
            export_shapekeys=True,
            export_custom_properties=False,
            convert_orientation=True,
            evaluation_mode="VIEWPORT",
        )


def _write_bvh(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene) -> None:
    bpy.ops.export_anim.bvh(filepath=str(path), frame_start=scene.frame_start, frame_end=scene.frame_end)


def _write_alembic(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene) -> None:
    bpy.ops.wm.alembic_export(
        filepath=str(path),
        selected=True,
        start=scene.frame_start,
        end=scene.frame_end,
        evaluation_mode="VIEWPORT",
        as_background_job=False,
    )


def _write_amass(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene) -> None:
    write_rig_as_amass(rigs[0], body_of(rigs[0]), path, scene)


FORMATS = {
    "FBX": Format(
        "FBX",
        "Skinned character with motion, in centimetres: Unreal, Unity, …",
        ".fbx",
        _write_fbx,
        "export_scene.fbx",
    ),
    "GLTF": Format(
        "glTF",
        "Skinned character with motion: the web, Godot, …",
        ".glb",
        _write_glb,
        "export_scene.gltf",
    ),
    "USD": Format("USD", "Skinned character with motion, as UsdSkel", ".usdc", _write_usd, "wm.usd_export"),
    "ALEMBIC": Format(
        "Alembic", "The moving surface, vertex by vertex, without bones", ".abc", _write_alembic, "wm.alembic_export"
    ),
    "BVH": Format(
        "BVH", "Bones and motion only; one file a person", ".bvh", _write_bvh, "export_anim.bvh", one_person=True
    ),
    "AMASS": Format(
        "AMASS / SMPL-X",
        "Rotations, place and shape as numbers (.npz); one file a person",
        ".amass.npz",
        _write_amass,
        one_person=True,
    ),
}


# ---------------------------------------------------------------------------------------------- around a writer


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write under another name first; what was at `target` stays until the new file is whole."""
    temporary = target.with_name(f"{secrets.token_hex(4)}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            if not temporary.is_file():
                raise ExportError(f"Blender wrote no {target.suffix} file.")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        raise ExportError(f"{target} cannot be written ({error}).") from None


@contextmanager
def _selected(objects: Sequence[bpy.types.Object], scene: bpy.types.Scene) -> Iterator[None]:
    """Nothing but these rigs and their bodies is selected, in object mode; afterwards everything is as it was."""
    layer = bpy.context.view_layer
    active, before = layer.objects.active, [o for o in layer.objects if o.select_get()]
    mode = active.mode if active is not None else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    wanted = [*objects, *(body for o in objects if o.type == "ARMATURE" and (body := body_of(o)) is not None)]
    hidden = {o: (o.hide_get(), o.hide_viewport) for o in wanted if o.name in layer.objects}
    if len(hidden) < len(set(wanted)):
        raise ExportError("The character is not in this scene's view layer.", "Show its collection first.")
    try:
        for other in before:
            other.select_set(False)
        for chosen in hidden:
            chosen.hide_viewport = False
            chosen.hide_set(False)
            chosen.select_set(True)
        layer.objects.active = objects[0]
        yield
    finally:
        for chosen, (is_hidden, is_off) in hidden.items():
            chosen.select_set(False)
            chosen.hide_set(is_hidden)
            chosen.hide_viewport = is_off
        for other in before:
            other.select_set(True)
        layer.objects.active = active
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)


@contextmanager
def _length_of(rigs: Sequence[bpy.types.Object], scene: bpy.types.Scene) -> Iterator[None]:
    """The scene lasts as long as the animation of `rigs`."""
    before = scene.frame_start, scene.frame_end, scene.frame_current
    ranges = [action_frames(rig, scene) for rig in rigs]
    scene.frame_start, scene.frame_end = int(min(r[0] for r in ranges)), int(max(r[-1] for r in ranges))
    try:
        yield
    finally:
        scene.frame_start, scene.frame_end = before[:2]
        scene.frame_set(before[2])
