# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's part for clips: a labelled person, dressed, in fixed surroundings, frame after frame.

    python -m recover_body.tests.synthetic.clip_render LABEL.npz OUT.mp4 --frames 40:76 --width 640

A process of its own, which ends with `os._exit`, as `render` does.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from recover_body.engine.movie import movie
from recover_body.engine.synth import people
from recover_body.models.body_model import BodyModel

from . import render
from .clip_takes import read_label
from .clips import Label
from .render import bpy, cv2
from .scenes import Actor, Camera, Scene


def render_clip(label: Label, path: Path, frames: range, width: int, seed: int) -> None:
    """Write the frames as a movie at the label's rate."""
    rng = np.random.default_rng(seed)
    body = _own_body(label)
    look = people.random_look(rng, body)
    dressed = people.clothed(body, look)
    small = Camera(
        width,
        round(width * label.camera.height / label.camera.width),
        label.camera.lens_mm,
        label.camera.T_world_camera,
    )
    first = _actor(label, body, dressed, look, frames[0])
    scene = Scene(0, (first,), small, seed)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender = bpy.context.scene
    render._use_cycles(blender)
    blender.camera = render._camera(small, blender)
    person = render._link(render._person(rng, first))
    surroundings = np.random.default_rng(seed)
    render._lights(surroundings, scene)
    render._surroundings(surroundings, scene)
    with tempfile.TemporaryDirectory() as folder, movie(path, Fraction(label.fps).limit_denominator(1001)) as add:
        for number, frame in enumerate(frames):
            vertices = _actor(label, body, dressed, look, frame).clothed_world
            person.data.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
            person.data.update()
            picture = Path(folder, f"{number:04}.png")
            blender.render.filepath = str(picture)
            bpy.ops.render.render(write_still=True)
            render._expose(rng, picture)
            add(cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB), number)


def _own_body(label: Label) -> BodyModel:
    """The label's shape as a body of its own, as `people` dresses them."""
    rest = label.body.rest_vertices(label.betas[None])[0].astype(np.float32)
    own = replace(label.body, v_template=rest, shapedirs=np.zeros((len(rest), 3, 0), np.float32))
    own.__dict__["joints_template"] = label.body.rest_joints(label.betas[None])[0]
    return own


def _actor(label: Label, body: BodyModel, dressed: BodyModel, look: people.Look, frame: int) -> Actor:
    one, no_shape = slice(frame, frame + 1), np.zeros((1, 0))
    place = label.pelvis_world[one] - body.joints_template[0]
    naked, worn = (b.forward(label.pose[one], no_shape, None, place) for b in (body, dressed))
    return Actor(
        body=body,
        look=look,
        pose=label.pose[frame],
        expression=np.zeros(10),
        pose_name=label.name,
        vertices_world=naked.vertices[0],
        clothed_world=worn.vertices[0],
        joints_world=naked.joints[0],
        R_world_body=np.eye(3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("label", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", default="0:36", metavar="A:B")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    os.dup2(2, 1)  # Blender tells of every file it saves
    first, last = map(int, options.frames.split(":"))
    unfinished = options.out.with_name(f".{options.out.name}")
    render_clip(read_label(options.label), unfinished, range(first, last), options.width, options.seed)
    unfinished.rename(options.out)


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
