# SPDX-License-Identifier: GPL-3.0-or-later
"""recover_batch.py as scripts call it: a process of its own, files on disk, exit codes."""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recover_body.wire import codec
from recover_body.wire.take import read_take, write_take

from ..addon.test_client import write_picture
from ..conftest import ROOT
from .sample import camera, sample

SCRIPT = ROOT / "blender_scripts" / "recover_batch.py"
ENGINE = os.environ.get("RECOVER_BODY_ENGINE_PYTHON", sys.executable)


@pytest.fixture
def batch(tmp_path):
    def run(*arguments, mischief=""):
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "BLENDER_USER_RESOURCES": str(home), "RECOVER_BODY_FAKE": mischief}
        command = [sys.executable, SCRIPT, *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180)

    return run


def leftovers(folder):
    return [p.name for p in folder.rglob("*") if p.name.startswith(".") or p.suffix in (".part", ".blend1")]


def test_draw_a_recovery_computed_elsewhere(bpy, batch, tmp_path):
    made = sample(1, people=2, source="gone.png")
    (tmp_path / "recovery.bin").write_bytes(codec.encode(made.recovery))
    blend = tmp_path / "täst ordner" / "two people.blend"
    done = batch("--", "--recovery", "recovery.bin", "--save", blend)
    assert done.returncode == 0, done.stdout + done.stderr
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    rigs = sorted((o for o in bpy.data.objects if o.type == "ARMATURE"), key=lambda o: o["recover_body_role"])
    for index, rig in enumerate(rigs):
        found = np.array([rig.pose.bones[name].head for name in made.recovery.rigs[index].bone_names])
        assert np.abs(found - made.joints_world[index, 0]).max() < 1e-3
    assert not leftovers(blend.parent)


def test_takes_and_motion_files_become_other_files(bpy, batch, tmp_path):
    from recover_body.wire import amass

    made = sample(2, frames=6, track=camera(frames=6), source="gone.mp4")
    write_take(tmp_path / "shot.take.npz", made.recovery.take)
    still = amass.Motion(np.zeros((3, 55, 3)), np.zeros((3, 3)), np.zeros(10), np.zeros((3, 10)), 30.0)
    amass.write_amass(tmp_path / "dance.npz", still)
    out = tmp_path / "out"
    done = batch(
        "shot.take.npz", "dance.npz", "--out", out, "--engine", ENGINE, "--export", "bvh,amass", "--reduce-keys", "2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = (".amass.npz", ".blend", ".bvh", ".take.npz")
    assert sorted(p.name for p in out.iterdir()) == sorted(f"{n}{k}" for n in ("dance", "shot") for k in kinds)
    assert "keys became" in done.stdout and not leftovers(out)
    assert batch("shot.take.npz", "--out", out, "--export", "mp3").returncode == 2


def test_recover_several_pictures(bpy, batch, tmp_path):
    one, two = write_picture(tmp_path / "one.png"), write_picture(tmp_path / "zwei Größen.png")
    out = tmp_path / "out"
    extras = ("--render", "--export", "bvh")
    done = batch(one, two, "--out", out, "--engine", ENGINE, "--backend", "fake", "--overlay", *extras)
    assert done.returncode == 0, done.stdout + done.stderr
    for picture in (one, two):
        stem = picture.stem
        assert len(read_take(out / f"{stem}.take.npz").people) == 1
        bpy.ops.wm.open_mainfile(filepath=str(out / f"{stem}.blend"))
        camera = bpy.context.scene.camera
        background = camera.data.background_images[0].image
        assert os.path.samefile(bpy.path.abspath(background.filepath), picture)
        assert tuple(background.size) == (160, 120)
        assert (out / f"{stem}.report.json").exists()
        overlay = bpy.data.images.load(str(out / f"{stem}.overlay.png"))
        assert min(overlay.size) > 0
        assert (out / f"{stem}.render.png").exists() and list(out.glob(f"{stem}*.bvh"))
    assert not leftovers(out)


def test_a_picture_beside_its_blend_is_named_relative_to_it(bpy, batch, tmp_path):
    write_picture(tmp_path / "one.png")
    done = batch("one.png", "--out", tmp_path, "--engine", ENGINE, "--backend", "fake")
    assert done.returncode == 0, done.stdout + done.stderr
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "one.blend"))
    assert bpy.context.scene.camera.data.background_images[0].image.filepath == "//one.png"


def test_exit_codes(batch, tmp_path):
    picture = write_picture(tmp_path / "one.png")
    engine = ("--engine", ENGINE, "--backend", "fake", "--out", tmp_path / "out")
    expected = [
        (2, (), ""),
        (2, (picture,), ""),
        (2, ("nothing.png", *engine), ""),
        (2, ("--recovery", picture, "--save", tmp_path / "x.blend"), ""),
        (1, (picture, *engine), "nobody"),
        (1, (picture, *engine, "--min-iou", "0.99"), "outside"),
        (3, (picture, "--engine", "no-such-program serve", "--out", tmp_path / "out"), ""),
    ]
    with ThreadPoolExecutor(4) as pool:  # each starts a Blender, and most an engine
        done = list(pool.map(lambda case: batch(*case[1], mischief=case[2]), expected))
    assert [each.returncode for each in done] == [code for code, _, _ in expected]
    assert "preferences" in done[-1].stderr


def test_help_has_examples_and_the_engines_options(batch):
    told = batch("--help", "--engine", ENGINE)
    assert told.returncode == 0 and "examples:" in told.stdout
    engines = subprocess.run(
        [ENGINE, ROOT / "engine" / "launch.py", "recover", "--help"], capture_output=True, text=True, timeout=60
    ).stdout
    assert set(re.findall(r"--[a-z-]+", engines)) <= set(re.findall(r"--[a-z-]+", told.stdout))


def test_events_are_the_engines(batch, tmp_path):
    picture = write_picture(tmp_path / "one.png")
    done = batch(picture, "--out", tmp_path / "out", "--engine", ENGINE, "--backend", "fake", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [events[0]["event"], events[-1]] == ["started", {"event": "end", "exit_code": 0}]
    (written,) = (event for event in events if event["event"] == "done")
    assert {str(tmp_path / "out" / f"one.{ending}") for ending in ("take.npz", "report.json", "blend")} <= set(
        written["files"]
    )


def test_one_bad_picture_does_not_stop_the_rest(batch, tmp_path):
    good = write_picture(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    done = batch(bad, good, "--out", tmp_path / "out", "--engine", ENGINE, "--backend", "fake")
    assert done.returncode == 2 and "bad.png" in done.stderr
    assert (tmp_path / "out" / "good.blend").exists() and not (tmp_path / "out" / "bad.blend").exists()
    assert not leftovers(tmp_path / "out")


@pytest.mark.parametrize("mischief", ["slow:60", "hang"])
def test_the_engine_ends_with_a_blender_that_is_killed(tmp_path, mischief):
    picture, out = write_picture(tmp_path / "one.png"), tmp_path / "out"
    command = [SCRIPT, picture, "--out", out, "--engine", ENGINE, "--backend", "fake", "--json"]
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path), "RECOVER_BODY_FAKE": mischief}
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    blender = subprocess.Popen([sys.executable, *map(str, command)], env=environment, text=True, **pipes)
    try:
        while '"event": "progress"' not in (line := blender.stdout.readline()):
            assert line, "it ended before it worked"
    finally:
        blender.kill()
        blender.wait()
    started = time.monotonic()
    blender.communicate(timeout=40)  # its end: the engine writes to the same pipe, so it has gone too
    assert time.monotonic() - started < 20
    assert not leftovers(out)
