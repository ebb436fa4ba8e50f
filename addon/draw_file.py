# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery that the engine computed, drawn into a .blend of its own. The file is whole or absent."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ..wire import codec
from ..wire.messages import FrameRange, Recovery
from .background import footage_behind
from .editors import look_through_camera
from .errors import SourceError
from .export import export_people
from .key_reduction import reduce_character
from .render import render_over_picture
from .scene import draw_recovery
from .scene_replace import ROLE
from .sources import Source, is_numbered, source_from_file
from .take_store import TAKE


@dataclass(frozen=True)
class Extras:
    """What is made beside the .blend."""

    export: tuple[str, ...] = ()
    """Kinds of files, of `export.FORMATS`."""
    reduce_keys_px: float | None = None
    """Keep only the keys needed to stay within so many pixels."""
    render: Path | None = None
    """Picture of the characters over the footage; for several files only whether it is wanted."""

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return self != NO_EXTRAS


NO_EXTRAS = Extras()


def draw_file(message: Path, blend: Path, picture: str = "", take: str = "") -> None:
    """Draw the encoded `Recovery` in the file `message`; `picture` is what lies behind, by default the take's source,
    and `take` the name of the take's file beside the .blend. Raises AddonError.
    """
    recovery = _read(message)
    named = picture or recovery.take.source
    source = source_from_file(named) if picture or Path(named).is_file() or is_numbered(named) else None
    if source is not None and source.is_clip:
        numbers = recovery.take.frame_numbers
        source = replace(source, frames=FrameRange(int(numbers[0]), int(numbers[-1])))
    write_blend(recovery, source, blend, take)


def _read(message: Path) -> Recovery:
    try:
        recovery = codec.decode(message.read_bytes())
    except OSError as error:
        raise SourceError(f"{message} cannot be read ({error.strerror}).", "Check the file name.") from None
    except codec.WireError as error:
        raise SourceError(f"{message} is not a recovery ({error}).", "Recover the picture again.") from None
    if not isinstance(recovery, Recovery):
        raise SourceError(f"{message} is a {type(recovery).__name__}, not a recovery.", "Check the file name.")
    return recovery


def write_blend(recovery: Recovery, picture: Source | None, path: Path, take: str, extras: Extras = NO_EXTRAS) -> None:
    """Draw into an empty file and save it; the file is whole or absent. Raises AddonError.

    `take` is the name of the take's file beside it.
    """
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    camera = recovery.take.camera
    image = footage_behind(picture, camera.width, camera.height, recovery.upright) if picture else None
    if picture and image is None:
        print(f"Blender cannot show {picture.path}, so the camera has no background.", file=sys.stderr)
    drawing = draw_recovery(recovery, image, scene)
    if take:
        drawing.collection[TAKE] = f"//{take}"
    _light(scene)
    rigs = [body.rig for body in drawing.bodies]
    if drawing.camera is not None and len(recovery.take.frame_numbers) > 2:
        _reduce(rigs, drawing.camera, scene, extras.reduce_keys_px)
    for screen in bpy.data.screens:
        look_through_camera(screen)
    if image is not None and image.packed_file is None:
        _point_nearby(image, path)
    _save(path)
    print(f"Saved {path}: {len(drawing.bodies)} people", flush=True)
    _export(rigs, path, scene, extras.export)
    if extras.render is not None:
        render_over_picture(scene, image, extras.render)
        print(f"Rendered {extras.render}", flush=True)


def add_to_blend(path: Path, extras: Extras) -> None:
    """Reduce the keys of a .blend that `write_blend` made, and export its characters beside it."""
    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    rigs = [o for o in scene.objects if str(o.get(ROLE, "")).startswith("rig")]
    if extras.reduce_keys_px is not None and scene.camera is not None:
        _reduce(rigs, scene.camera, scene, extras.reduce_keys_px)
        _save(path)
    _export(rigs, path, scene, extras.export)
    if extras.render is not None:
        behind = next(iter(scene.camera.data.background_images), None) if scene.camera else None
        render_over_picture(scene, behind and behind.image, path.with_suffix(".render.png"))


def _reduce(rigs: list[bpy.types.Object], camera: bpy.types.Object, scene: bpy.types.Scene, px: float | None) -> None:
    for rig in rigs if px is not None else ():
        done = reduce_character(rig, camera, scene, px)
        print(f"{rig.name}: {done.keys_before} keys became {done.keys_after}, {done.error_px:.2f} px", flush=True)


def _export(rigs: list[bpy.types.Object], path: Path, scene: bpy.types.Scene, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        for written in export_people(rigs, path, kind, scene):
            print(f"Wrote {written}", flush=True)


def _light(scene: bpy.types.Scene) -> None:
    """A sun over the photographer's shoulder, and a grey sky: enough for a first render."""
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle = 3.0, math.radians(10)
    sun.rotation_euler = (math.radians(50), 0.0, math.radians(-30))
    scene.collection.objects.link(sun)
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.3, 0.3, 0.3)


def _point_nearby(image: bpy.types.Image, blend: Path) -> None:
    """A picture beside the .blend is named relative to it, so that the folder can be moved as a whole."""
    picture, folder = Path(bpy.path.abspath(image.filepath)).resolve(), blend.resolve().parent
    image.filepath = f"//{picture.name}" if picture.parent == folder else str(picture)


def _save(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".blend", dir=path.parent)
        os.close(handle)
        try:
            bpy.ops.wm.save_as_mainfile(
                filepath=temporary, copy=True, relative_remap=False, compress=True, check_existing=False
            )
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
            Path(f"{temporary}1").unlink(missing_ok=True)  # Blender's backup of the empty temporary file
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{path} cannot be written ({error}).", "Choose another folder.") from None
