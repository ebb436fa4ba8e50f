# SPDX-License-Identifier: GPL-3.0-or-later
"""The .blend against its take: silhouette rendered through the camera, and joints of the armature.

    python dev.py bench blend                 # recovers the photographs in ../shared/fixtures/images, Blender 4.5
    .venv-bpy50/bin/python tests/benchmarks/blend.py out/bench_blend/*.blend      # the same files in Blender 5.0

The silhouette is rendered by Workbench in the file as it was saved, and compared with the body model's, drawn by the
engine from the take. Joints are the armature's bone heads in the world, against the body model's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np

from recover_body.engine.raster import silhouette
from recover_body.models.body_model import load_body
from recover_body.wire.frames import transform
from recover_body.wire.take import Take, read_take

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared" / "fixtures" / "images"
OUT = ROOT / "out" / "bench_blend"


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blends", nargs="*", type=Path, help=".blend files whose .take.npz lies beside them")
    options = parser.parse_args()
    blends = options.blends or recovered()
    print(f"Blender {bpy.app.version_string}\n")
    print("| file | rendered and recovered silhouette, IoU | joints, mean | joints, largest |")
    print("| --- | ---: | ---: | ---: |")
    for blend in blends:
        take = read_take(blend.with_name(f"{blend.stem}.take.npz"))
        bpy.ops.wm.open_mainfile(filepath=str(blend.resolve()))
        apart_mm = 1000 * joint_distances_m(take)
        overlap = intersection_over_union(rendered_mask(), body_mask(take))
        print(f"| {blend.name} | {overlap:.4f} | {apart_mm.mean():.3f} mm | {apart_mm.max():.3f} mm |")
    # Blender's module may crash on its own way out.
    sys.stdout.flush()
    os._exit(0)


def recovered() -> list[Path]:
    """Recover the photographs with the command line."""
    photos = sorted(PHOTOS.glob("*.jpg"))
    if not photos:
        sys.exit(f"There are no photographs in {os.path.relpath(PHOTOS, ROOT)}: name .blend files.")
    command = [sys.executable, str(ROOT / "engine" / "launch.py"), "recover", *map(str, photos)]
    subprocess.run([*command, "--out", str(OUT), "--blend"], check=True, stdout=subprocess.DEVNULL)
    return [OUT / f"{photo.stem}.blend" for photo in photos]


def body_mask(take: Take) -> np.ndarray:
    """(H, W) bool, everybody's body through the take's camera."""
    mask = np.zeros((take.camera.height, take.camera.width), bool)
    for person in take.people:
        body = load_body(person.body)
        vertices = body.forward(person.pose, person.betas, person.expression, person.translation).vertices[0]
        mask |= silhouette(vertices, body.faces, take.camera.intrinsics(), take.camera.width, take.camera.height)
    return mask


def rendered_mask() -> np.ndarray:
    """(H, W) bool, what the scene's camera sees of the characters."""
    scene = bpy.context.scene
    render = scene.render
    render.engine, render.film_transparent, render.resolution_percentage = "BLENDER_WORKBENCH", True, 100
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    with tempfile.TemporaryDirectory() as folder:
        render.filepath = str(Path(folder) / "mask.png")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(render.filepath)
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1, :, 3] > 0.5


def joint_distances_m(take: Take) -> np.ndarray:
    """(people * 55,) distance of each bone's head from the body model's joint, in the world."""
    rigs = {rig.name: rig for rig in bpy.data.objects if rig.type == "ARMATURE"}
    apart = []
    for person in take.people:
        rig = next(rig for name, rig in rigs.items() if name.startswith(f"{person.name} "))
        body = load_body(person.body)
        joints_cam = body.forward(person.pose, person.betas, person.expression, person.translation).joints[0]
        joints = transform(take.camera.pose(), joints_cam.astype(np.float64))
        heads = [rig.matrix_world @ rig.pose.bones[name].head for name in body.joint_names]
        apart.append(np.linalg.norm(np.array([tuple(h) for h in heads]) - joints, axis=1))
    return np.concatenate(apart)


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks."""
    return float((one & other).sum() / (one | other).sum())


if __name__ == "__main__":
    main()
