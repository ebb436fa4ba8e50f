# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's part: scenes to pictures, in a process of its own.

    python -m recover_body.tests.synthetic.render FOLDER --seed 0 --count 60 --size 448 --motions FOLDER

Writes NNNN.png and NNNN.npz (see `scenes.labels`) and skips what is there. It ends with `os._exit`: a bpy process may
hang when it ends in the ordinary way.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("BLENDER_USER_RESOURCES", tempfile.mkdtemp(prefix="recover-body-synthetic-"))
import bpy
import cv2

from recover_body.models.body_model import BodyModel
from recover_body.wire.frames import blender_camera_matrix, lens_from_intrinsics

from .poses import load_clips
from .scenes import Actor, Camera, Scene, labels, make_scene

SAMPLES = 6
MIDDLE_GREY = 0.18
CLOTH_TILE_M = 0.9
"""So far apart the same fold comes again."""


def render(scene: Scene, path: Path, cutout: bool = False) -> None:
    """Write the picture. A `cutout` has the people alone before nothing: its alpha is their silhouette."""
    rng = np.random.default_rng(scene.surroundings_seed)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender = bpy.context.scene
    _use_cycles(blender)
    blender.camera = _camera(scene.camera, blender)
    for actor in scene.actors:
        _link(_person(rng, actor))
    _lights(rng, scene)
    if cutout:
        blender.render.film_transparent = True
        blender.render.image_settings.color_depth = "8"
        blender.cycles.use_denoising = False
    else:
        _surroundings(rng, scene)
    blender.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    if not cutout:
        _expose(rng, path)


def _expose(rng: np.random.Generator, path: Path) -> None:
    """As cameras do: the picture, its middle above all, becomes middle grey, highlights roll off, a little noise."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    height, width = picture.shape[:2]
    light = (picture / 65535) ** 2.2
    middle = light[height // 4 : height - height // 4, width // 4 : width - width // 4].mean()
    exposed = light * np.clip(MIDDLE_GREY / np.sqrt(middle * light.mean()), 0.4, 6)
    exposed = np.where(exposed < 0.5, exposed, 0.5 + 0.5 * np.tanh((exposed - 0.5) / 0.5))
    levels = 255 * exposed ** (1 / 2.2) + rng.normal(0, rng.uniform(0.5, 4), picture.shape)
    cv2.imwrite(str(path), np.round(levels).clip(0, 255).astype(np.uint8))


def _use_cycles(blender) -> None:
    blender.render.engine = "CYCLES"
    blender.cycles.device = "CPU"
    blender.cycles.samples = SAMPLES
    blender.cycles.use_denoising = True
    blender.cycles.denoiser, blender.cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
    blender.cycles.denoising_quality = "FAST"
    blender.cycles.max_bounces = 2
    blender.cycles.use_adaptive_sampling = False
    blender.render.image_settings.file_format = "PNG"
    blender.render.image_settings.color_mode = "RGBA"
    blender.render.image_settings.color_depth = "16"  # it is exposed anew
    blender.world = bpy.data.worlds.new("world")
    # Importance sampling of the surroundings would first evaluate them everywhere: seconds for each picture.
    blender.world.cycles.sampling_method = "NONE"


def _camera(camera: Camera, blender):
    lens = lens_from_intrinsics(
        *(camera.focal_px, camera.focal_px, camera.width / 2, camera.height / 2, camera.width, camera.height)
    )
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.lens, data.clip_start = lens.sensor_fit, lens.lens_mm, 0.01
    data.sensor_width = data.sensor_height = lens.sensor_mm
    made = bpy.data.objects.new("camera", data)
    made.matrix_world = blender_camera_matrix(camera.T_world_camera).T.tolist()
    blender.render.resolution_x, blender.render.resolution_y = camera.width, camera.height
    blender.render.resolution_percentage = 100
    return _link(made)


def _link(made):
    bpy.context.scene.collection.objects.link(made)
    return made


def _person(rng: np.random.Generator, actor: Actor):
    """Skin and cloth: folds and weave in cloth, a little unevenness in skin."""
    vertices, faces = actor.clothed_world, actor.body.faces
    mesh = bpy.data.meshes.new("person")
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.ravel().astype(np.int32))
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    colours = mesh.color_attributes.new("colour", "FLOAT_COLOR", "CORNER")
    corner_colours = _soft_hems(_linear(actor.look.face_colours), actor.body)
    is_worn = (actor.look.offsets_m[faces] > 0).all(1).repeat(3)
    corner_colours = np.c_[corner_colours, np.where(is_worn, 1.0, 0.1)]
    colours.data.foreach_set("color", corner_colours.astype(np.float32).ravel())
    rest = actor.body.v_template @ ((1, 0), (0, 1), (0.7, 0.4)) / CLOTH_TILE_M
    mesh.uv_layers.new(name="cloth").data.foreach_set("uv", rest[faces.ravel()].astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.materials.append(_skin_and_cloth(rng))
    return bpy.data.objects.new("person", mesh)


def _soft_hems(colours: np.ndarray, body: BodyModel) -> np.ndarray:
    """(F, 3) -> (3 F, 3) colours of the faces' corners, the mean of the skin and cloth around; eyes stay sharp."""
    faces, is_skin = body.faces, body.face_materials == 0
    around = faces[is_skin].ravel()
    count = np.maximum(np.bincount(around, minlength=len(body.v_template)), 1)
    own = np.repeat(colours, 3, axis=0)
    sums = [np.bincount(around, own[:, c][is_skin.repeat(3)], len(body.v_template)) for c in range(3)]
    return np.where(is_skin.repeat(3)[:, None], (np.stack(sums, 1) / count[:, None])[faces.ravel()], own)


def _skin_and_cloth(rng: np.random.Generator):
    """Colour from the corners, modulated and embossed by one pattern as strongly as their alpha says."""
    material = bpy.data.materials.new("person")
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    colour, folds, mix = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("VertexColor", "TexImage", "MixRGB"))
    colour.layer_name, folds.image, mix.blend_type = "colour", _folds(rng), "OVERLAY"
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Distance"].default_value = rng.uniform(0.01, 0.035)
    for source, target in (
        (colour.outputs["Alpha"], mix.inputs["Fac"]),
        (colour.outputs["Color"], mix.inputs["Color1"]),
        (folds.outputs["Color"], mix.inputs["Color2"]),
        (mix.outputs["Color"], shader.inputs["Base Color"]),
        (folds.outputs["Color"], bump.inputs["Height"]),
        (colour.outputs["Alpha"], bump.inputs["Strength"]),
        (bump.outputs["Normal"], shader.inputs["Normal"]),
    ):
        tree.links.new(source, target)
    shader.inputs["Roughness"].default_value = rng.uniform(0.55, 0.95)
    shader.inputs["Specular IOR Level"].default_value = rng.uniform(0.1, 0.4)
    return material


def _folds(rng: np.random.Generator, side: int = 512):
    """A Blender image: creases of several widths and a weave, around 0.5."""
    height = sum(
        (1 - 2 * abs(2 * _smooth_noise(rng, side, cells) - 1)) * size
        for cells, size in ((5, 0.16), (11, 0.12), (26, 0.05))
    )
    height = 0.5 + height + rng.normal(0, 0.03, (side, side))
    image = bpy.data.images.new("folds", side, side)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.dstack([height.clip(0, 1)] * 3 + [np.ones((side, side))]).astype(np.float32).ravel())
    image.pack()
    return image


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


# ---- light and surroundings ----


def _lights(rng: np.random.Generator, scene: Scene) -> None:
    """One to three lamps around the person, or the sun."""
    middle = scene.actors[0].joints_world[0]
    if rng.random() < 0.4:
        lamp = bpy.data.lights.new("sun", "SUN")
        lamp.energy, lamp.angle = rng.uniform(1, 4), rng.uniform(0.02, 0.5)
        _aim(_link(bpy.data.objects.new("sun", lamp)), middle + _above(rng) * 5, middle)
        return
    for number in range(rng.integers(1, 4)):
        lamp = bpy.data.lights.new("lamp", "AREA")
        lamp.energy, lamp.size = rng.uniform(60, 260) / (1 + number), rng.uniform(0.5, 2.5)
        lamp.color = 1 - rng.uniform(0, 0.15) * np.array([0, 0.4, 1])
        _aim(_link(bpy.data.objects.new("lamp", lamp)), middle + _above(rng) * rng.uniform(2.5, 4), middle)


def _above(rng: np.random.Generator) -> np.ndarray:
    """A direction from the upper half of the sphere, not too low."""
    direction = rng.normal(0, 1, 3)
    direction[2] = abs(direction[2]) + 0.3
    return direction / np.linalg.norm(direction)


def _aim(made, eye: np.ndarray, target: np.ndarray) -> None:
    """Blender's lamps shine along their -z."""
    backward = (eye - target) / np.linalg.norm(eye - target)
    across = np.cross(backward, [0.3, 1, 0.2])
    across /= np.linalg.norm(across)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([across, np.cross(backward, across), backward], 1)
    matrix[:3, 3] = eye
    made.matrix_world = matrix.T.tolist()


def _surroundings(rng: np.random.Generator, scene: Scene) -> None:
    """Sky or room colours all around, a floor, sometimes a wall behind, and boxes that stand about."""
    world = bpy.context.scene.world
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Strength"].default_value = rng.uniform(0.5, 1.3)
    world.node_tree.links.new(
        _pattern(rng, world.node_tree, "Generated", rng.uniform(0.3, 1.5)), background.inputs["Color"]
    )
    _link(_box(rng, (0, 0, -0.05), (40, 40, 0.1), 0, rng.uniform(0.1, 0.6)))
    eye, person = scene.camera.T_world_camera[:3, 3], scene.actors[0].joints_world[0]
    ahead = np.array([*(person - eye)[:2], 0])
    ahead /= max(np.linalg.norm(ahead), 1e-6)
    side, yaw_rad = np.array([-ahead[1], ahead[0], 0]), np.arctan2(ahead[1], ahead[0])
    if rng.random() < 0.5:
        centre = person + ahead * rng.uniform(2.5, 5)
        _link(_box(rng, (*centre[:2], 3), (0.1, 30, 6), yaw_rad + rng.normal(0, 0.2), rng.uniform(0.1, 1)))
    for _ in range(rng.integers(0, 7)):
        size = rng.uniform((0.15, 0.15, 0.2), (0.9, 0.9, 2.2))
        place = person + ahead * rng.uniform(1.6, 5) + side * rng.normal(0, 1.6)
        _link(_box(rng, (*place[:2], size[2] / 2), size, rng.uniform(0, 3.1), rng.uniform(0.5, 4)))


def _box(rng: np.random.Generator, centre, size, yaw_rad: float, pattern_scale: float):
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh = bpy.data.meshes.new("box")
    mesh.from_pydata(corners.tolist(), [], faces)
    material = bpy.data.materials.new("box")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.remove(tree.nodes["Principled BSDF"])
    shader = tree.nodes.new("ShaderNodeBsdfDiffuse")
    tree.links.new(_pattern(rng, tree, "Object", pattern_scale), shader.inputs["Color"])
    tree.links.new(shader.outputs["BSDF"], tree.nodes["Material Output"].inputs["Surface"])
    mesh.materials.append(material)
    made = bpy.data.objects.new("box", mesh)
    made.location, made.rotation_euler[2] = centre, yaw_rad
    return made


def _pattern(rng: np.random.Generator, tree, coordinates: str, scale: float):
    """The output socket of a picture of two colours, projected from all sides (Object) or all around (Generated).

    A small picture rather than Blender's procedural textures, which cost this renderer more than everything else.
    """
    where, scaled = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeVectorMath")
    scaled.operation = "SCALE"
    scaled.inputs["Scale"].default_value = scale
    if coordinates == "Generated":
        texture = tree.nodes.new("ShaderNodeTexEnvironment")
        texture.image = _two_colours(rng, darkest=0.35)
    else:
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.image, texture.projection = _two_colours(rng), "BOX"
    tree.links.new(where.outputs[coordinates], scaled.inputs[0])
    tree.links.new(scaled.outputs["Vector"], texture.inputs["Vector"])
    return texture.outputs["Color"]


def _two_colours(rng: np.random.Generator, darkest: float = 0.08, side: int = 256):
    """A Blender image of noise, a gradient, stripes, a checkerboard, bricks or nothing, with a little grain."""
    y, x = np.mgrid[0:side, 0:side] / side
    noise = sum(_smooth_noise(rng, side, cells) / (k + 1) for k, cells in enumerate((4, 9, 24)))
    checks = ((4 * x).astype(int) + (4 * y).astype(int)) % 2
    bricks = (((4 * x + 0.5 * ((8 * y).astype(int) % 2)) % 1 > 0.06) & ((8 * y) % 1 > 0.1)).astype(float)
    mix = (noise, y, (np.sin(2 * np.pi * 5 * x) > 0), checks, bricks, np.zeros_like(x))[rng.integers(6)]
    mix = mix + 0.15 * rng.random() * noise + 0.05 * rng.normal(0, 1, x.shape)
    tint = rng.choice((0.03, 0.06, 0.15), p=(0.5, 0.35, 0.15))
    base = rng.uniform(darkest, 0.85) + rng.uniform(-tint, tint, 3)
    other = base + rng.normal(0, 0.15) + rng.uniform(-0.04, 0.04, 3)
    colours = (base + mix[..., None] * (other - base)).clip(0.02, 0.95)
    image = bpy.data.images.new("pattern", side, side)
    image.pixels.foreach_set(np.dstack([colours, np.ones_like(x)]).astype(np.float32).ravel())
    image.pack()
    return image


def _smooth_noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """(side, side) in [0, 1], random values on a grid and smooth between them."""
    values = rng.random((cells + 1, cells + 1))
    place = np.arange(side) * cells / side
    low, share = place.astype(int), place % 1
    share = share * share * (3 - 2 * share)
    rows = values[low] * (1 - share[:, None]) + values[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share


# ---- the process ----


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--cutout", action="store_true")
    options = parser.parse_args()
    clips = load_clips(options.motions)
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Blender tells of every file it saves; standard output is for progress
    started, made = time.perf_counter(), 0
    for number in range(options.count):
        picture, truth = options.folder / f"{number:04}.png", options.folder / f"{number:04}.npz"
        if picture.exists() and truth.exists():
            continue
        scene = make_scene(options.seed, number, options.size, clips)
        unfinished = options.folder / f".{number:04}.png"
        render(scene, unfinished, options.cutout)
        np.savez_compressed(truth, **labels(scene))
        unfinished.rename(picture)
        made += 1
        print(
            f"{number + 1}/{options.count}  {(time.perf_counter() - started) / made:.2f} s each",
            file=report,
            flush=True,
        )


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
