# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs through everything that happens while people wait: with the real child process, polled as a window polls."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest

from ..addon.test_client import is_alive, wait_for_end, write_picture
from ..conftest import ROOT
from .test_addon import Enabled, start
from .test_scene import inventory

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


@pytest.fixture
def addon(bpy, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", os.environ.get("RECOVER_BODY_ENGINE_PYTHON", sys.executable))
    with Enabled() as package:
        from recover_body.addon import client, jobs

        patient = partial(client.EngineClient, cancel_timeout_s=0.5)
        monkeypatch.setattr(jobs, "EngineClient", patient)
        bpy.context.scene.recover_body.backend = "fake"
        yield package


@pytest.fixture
def pictures(tmp_path):
    return [str(write_picture(tmp_path / f"{name}.png")) for name in ("one", "two", "three")]


def step_until(done, seconds=60.0):
    """Steps as the timer makes them; returns the longest one in seconds."""
    from recover_body.addon import jobs

    deadline, longest = time.monotonic() + seconds, 0.0
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        started = time.perf_counter()
        jobs.step()
        longest = max(longest, time.perf_counter() - started)
        time.sleep(0.02)
    return longest


def is_working(job):
    return lambda: job.progress is not None and job.progress.stage in ("fit", "detect")


def test_several_are_queued_and_any_can_be_cancelled(bpy, addon, pictures, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:0.5")
    first, second, third = (start(bpy, picture) for picture in pictures)
    assert jobs.queued() == (first, second, third) and bpy.ops.recover_body.recover.poll()
    bpy.ops.recover_body.cancel(job=second.id)
    assert second.failure.code == "cancelled" and jobs.queued() == (first, third)
    step_until(lambda: not jobs.is_running())
    assert first.is_delivered and third.is_delivered and not second.is_delivered
    assert {c.name for c in bpy.data.collections} >= {"Recover Body: one", "Recover Body: three"}
    assert "Recover Body: two" not in bpy.data.collections


def test_cancelling_is_acknowledged_at_once_even_by_a_hung_engine(bpy, addon, pictures, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "hang")
    stuck = start(bpy, pictures[0])
    step_until(is_working(stuck))
    pid = jobs._client.pid
    started = time.perf_counter()
    bpy.ops.recover_body.cancel()
    assert stuck.is_done and time.perf_counter() - started < 0.1
    monkeypatch.setenv("RECOVER_BODY_FAKE", "")
    following = start(bpy, pictures[1])
    step_until(lambda: following.is_done)
    assert following.is_delivered and jobs._client.pid != pid and wait_for_end(pid)


@posix
def test_a_stopped_engine_is_noticed_and_replaced(bpy, addon, pictures, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:30")
    monkeypatch.setattr(jobs, "SILENT_S", 0.5)
    job, waiting = start(bpy, pictures[0]), start(bpy, pictures[1])
    step_until(is_working(job))
    assert not jobs.is_engine_silent()
    pid = jobs._client.pid
    os.kill(pid, signal.SIGSTOP)
    step_until(jobs.is_engine_silent)
    monkeypatch.setenv("RECOVER_BODY_FAKE", "")
    jobs.cancel(job)
    longest = step_until(lambda: waiting.is_done)
    assert waiting.is_delivered, "who waited behind it is recovered by another engine"
    assert wait_for_end(pid) and longest < 5.0


@posix
def test_a_killed_engine_is_a_failure_with_a_remedy_that_works(bpy, addon, pictures, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:30")
    before = inventory(bpy)
    job = start(bpy, pictures[0])
    step_until(is_working(job))
    os.kill(jobs._client.pid, signal.SIGKILL)
    step_until(lambda: job.is_done)
    assert job.failure.code == "engine_ended" and "Try again" in job.failure.remedy
    assert inventory(bpy) == before and jobs.last_done() is job
    monkeypatch.setenv("RECOVER_BODY_FAKE", "")
    assert bpy.ops.recover_body.try_again() == {"FINISHED"}
    assert jobs.last_done().is_delivered and len(bpy.context.scene.objects) == 3


def test_a_crash_and_an_engine_of_another_version(bpy, addon, pictures, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "crash")
    job = start(bpy, pictures[0])
    step_until(lambda: job.is_done)
    assert job.failure.code == "engine_ended"
    monkeypatch.setenv("RECOVER_BODY_FAKE", "")
    older = "import runpy, sys; sys.argv = ['x', 'serve']\n"
    older += f"package = runpy.run_path({str(ROOT / 'engine' / 'launch.py')!r})['load_package']()\n"
    older += "import recover_body; recover_body.__version__ = '0.0.1'\n"
    older += "from recover_body.engine.server import serve; serve()\n"
    python = os.environ["RECOVER_BODY_ENGINE_PYTHON"]
    monkeypatch.setattr(jobs, "engine_command", lambda _: (python, "-c", older))
    job = start(bpy, pictures[0])
    step_until(lambda: job.is_done)
    assert job.is_delivered and any("0.0.1" in note and "update" in note for note in job.notes)
    other = '{"kind":"Hello","protocol":99,"fields":{},"arrays":[]}'
    monkeypatch.setattr(jobs, "engine_command", lambda _: (python, "-c", f"print('{other}', flush=True); input()"))
    job = start(bpy, pictures[0])
    step_until(lambda: job.is_done)
    assert job.failure.code == "version_mismatch" and "Update" in job.failure.remedy


def test_undo_and_redo_while_it_runs(bpy, addon, pictures, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:0.5")
    bpy.data.objects.new("mine", None)
    bpy.ops.ed.undo_push(message="one")
    bpy.context.scene.frame_end = 123
    bpy.ops.ed.undo_push(message="two")
    job = start(bpy, pictures[0])
    step_until(is_working(job))
    bpy.ops.ed.undo()
    bpy.ops.ed.redo()
    bpy.ops.ed.undo()
    step_until(lambda: job.is_done)
    assert job.is_delivered and "Recover Body: one" in bpy.data.collections


def test_the_scene_is_deleted_or_renamed_while_it_runs(bpy, addon, pictures, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:0.3")
    other = bpy.data.scenes.new("other")
    bpy.context.window_manager.windows[0].scene = other
    renamed = bpy.data.scenes.new("to be renamed")

    from recover_body.addon import recovering
    from recover_body.addon.sources import source_from_file

    lost = bpy.data.scenes.new("lost")
    jobs_started = [
        recovering.start(source_from_file(picture), scene, backend="fake")
        for picture, scene in zip(pictures, (lost, renamed), strict=False)
    ]
    bpy.data.scenes.remove(lost)
    renamed.name = "renamed"
    step_until(lambda: all(job.is_done for job in jobs_started))
    assert all(job.is_delivered for job in jobs_started)
    assert any("lost is gone" in note for note in jobs_started[0].notes)
    assert not jobs_started[1].notes and len(renamed.collection.children) == 1


def test_quitting_takes_the_engine_along(tmp_path, pictures):
    """Blender quits, orderly and by force, while the engine works."""
    script = (
        "import os, runpy, sys, time\n"
        f"runpy.run_path({str(ROOT / 'engine' / 'launch.py')!r})['load_package']()\n"
        "import bpy, recover_body\n"
        "recover_body.register()\n"
        "from recover_body.addon import jobs, recovering\n"
        "from recover_body.addon.sources import source_from_file\n"
        "job = recovering.start(source_from_file(sys.argv[1]), bpy.context.scene, backend='fake')\n"
        "while job.progress is None and not job.is_done: jobs.step(); time.sleep(0.02)\n"
        "assert job.progress is not None, job.failure\n"
        "print(jobs._client.pid, flush=True)\n"
        "if sys.argv[2] == 'force': time.sleep(60)\n"
        "recover_body.unregister()\n"
        "sys.stdout.flush(); os._exit(0)\n"
    )
    environment = {**os.environ, "RECOVER_BODY_FAKE": "slow:60", "BLENDER_USER_RESOURCES": str(tmp_path)}
    environment.setdefault("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
    for way in ("orderly", "force"):
        command = [sys.executable, "-c", script, pictures[0], way]
        blender = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        pid = next(int(line) for line in blender.stdout if line.strip().isdigit())
        if way == "force":
            assert is_alive(pid)
            blender.kill()
        blender.wait(60)
        assert wait_for_end(pid), way


def test_waiting_is_short_steps(bpy, addon, pictures, monkeypatch):
    """The main thread only hears what a thread has read: no timing is asserted here beyond a frozen interface."""
    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:1")
    job = start(bpy, pictures[0])
    step_until(is_working(job))
    longest = step_until(lambda: job.progress.fraction > 0.7 or job.is_done)
    assert longest < 0.25


def test_every_operator_explains_itself_and_can_be_undone(bpy, addon):
    """Whatever changes data is an undo step: by Blender's flag, or pushed when the engine's answer arrives."""
    pushes_itself = {"recover", "find_people", "try_again", "rerun", "import_motion"}
    changes_no_data = {"export"}  # and those that Blender's search does not even offer
    operators = [kind for kind in bpy.types.Operator.__subclasses__() if kind.__name__.startswith("RECOVER_BODY_OT_")]
    assert len(operators) >= 10
    for kind in operators:
        name = kind.bl_idname.split(".")[1]
        rna = getattr(bpy.ops.recover_body, name).get_rna_type()
        assert kind.bl_idname.startswith("recover_body.") and len(rna.description) > 10, kind
        for prop in rna.properties:
            assert prop.name, (kind, prop.identifier)
        excused = name in pushes_itself | changes_no_data or "INTERNAL" in kind.bl_options
        assert "UNDO" in kind.bl_options or excused, kind


def test_the_default_cube_makes_room_unless_somebody_touched_it(bpy):
    from recover_body.addon.default_cube import hide_default_cube

    bpy.ops.wm.read_factory_settings()
    scene = bpy.context.scene
    cube = scene.objects["Cube"]
    assert hide_default_cube(scene) and cube.hide_get() and cube.hide_render
    assert not hide_default_cube(scene), "it is told once"
    cube.hide_set(False)
    cube.data.vertices[0].co.x += 0.1
    assert not hide_default_cube(scene) and not cube.hide_get()


def test_a_drag_is_waited_for_and_an_add_on_that_never_lets_go_is_not(bpy, addon, pictures, monkeypatch):
    """Blender's module has no modal operators, so windows stand in that have them."""
    from recover_body.addon import compat, jobs

    def modal(*names):
        window = SimpleNamespace(modal_operators=[SimpleNamespace(bl_idname=name) for name in names])
        context = SimpleNamespace(window_manager=SimpleNamespace(windows=[window]))
        with monkeypatch.context() as patch:
            patch.setattr(compat, "bpy", SimpleNamespace(context=context, types=bpy.types))
            return [compat.is_artist_busy(waited_s) for waited_s in (0.0, 1000.0)]

    assert modal() == modal("SCREEN_OT_animation_step") == [False, False]
    assert modal("TRANSFORM_OT_translate") == [True, True]
    assert modal("RECOVER_BODY_OT_choose_people") == [True, False], "Python's, as other add-ons' are"

    held = [True]
    monkeypatch.setattr(compat, "is_artist_busy", lambda waited_s: held[0])
    job = start(bpy, pictures[0])
    step_until(lambda: job.answer is not None)
    jobs.step()
    assert not job.is_done and "Recover Body: one" not in bpy.data.collections
    held[0] = False
    jobs.step()
    assert job.is_delivered
