# SPDX-License-Identifier: GPL-3.0-or-later
"""The preferences: setting the engine up, models, doctor and bug report, with real children."""

import importlib.util
import json
import os
import socket
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from ..addon.test_client import wait_for_end, write_picture
from ..addon.wheels import lend_packages
from ..models.smplx_files import smplx_npz
from .recording_layout import RecordingLayout
from .test_addon import Enabled


@pytest.fixture
def chosen(bpy, monkeypatch, tmp_path):
    """The preferences of the enabled add-on, with a data folder of their own."""
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    if "RECOVER_BODY_ENGINE_PYTHON" not in os.environ:
        monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
    with Enabled():
        addon = bpy.context.preferences.addons.new()
        addon.module = "recover_body"
        from recover_body.addon import setup_panel

        setup_panel.status(fresh=True)
        yield addon.preferences
        bpy.context.preferences.addons.remove(addon)


def draw(bpy, chosen, tab):
    """What a section shows."""
    from recover_body.addon import help_panel, models_panel, setup_panel

    chosen.tab = tab
    rna = bpy.context.preferences.system.bl_rna
    system = SimpleNamespace(ui_scale=1.0, bl_rna=rna)  # without a window Blender's own scale is 0
    context = SimpleNamespace(region=SimpleNamespace(width=700), preferences=SimpleNamespace(system=system))
    layout = RecordingLayout()
    {"ENGINE": setup_panel, "MODELS": models_panel, "HELP": help_panel}[tab].draw(layout, context, chosen)
    return layout.shown


def test_without_network_the_button_says_why_and_a_bundle_still_works(bpy, chosen, tmp_path):
    shown = draw(bpy, chosen, "ENGINE")
    assert "not installed yet" in shown.all_text() and "MB to download" in shown.all_text()
    if not bpy.app.online_access:
        assert "Online access is off" in shown.all_text()
        assert not next(enabled for name, _, enabled in shown.operators if name == "recover_body.set_up_engine")
        with pytest.raises(RuntimeError, match="offline bundle"):
            bpy.ops.recover_body.set_up_engine(action="install")
    chosen.bundle = str(tmp_path / "nothing.zip")
    with pytest.raises(RuntimeError, match="no offline bundle"):
        bpy.ops.recover_body.set_up_engine(action="install")
    shown = draw(bpy, chosen, "ENGINE")
    assert next(enabled for name, _, enabled in shown.operators if name == "recover_body.set_up_engine")
    assert "no offline bundle" in shown.all_text(), "the reason stays to be read"


def test_install_by_the_button_recover_with_it_and_uninstall(bpy, chosen, tmp_path, monkeypatch):
    """What the engine needs is lent by this Python, so that only the way is tested, and not the network."""
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("This Python has no engine to lend; the same runs on Blender 4.5.")
    from recover_body.addon import setup_panel
    from recover_body.addon.engine_command import engine_command
    from recover_body.addon.engine_setup.state import State

    lend_packages(tmp_path / "wheels", "lender", "1.0")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "base.txt").write_text("lender==1.0\n")
    (lists / "torch.txt").write_text("none==0\n")
    ours = setup_panel.setup_command
    requirements = ["--requirements", str(lists)]
    monkeypatch.setattr(
        setup_panel, "setup_command", lambda action, p: ours(action, p) + requirements * (action == "install")
    )
    monkeypatch.delenv("RECOVER_BODY_ENGINE_PYTHON")
    chosen.accelerator, chosen.find_links, chosen.python = "none", str(tmp_path / "wheels"), sys._base_executable

    assert bpy.ops.recover_body.set_up_engine(action="install") == {"FINISHED"}
    environment = setup_panel.status().environment
    assert environment.is_relative_to(tmp_path / "data") and setup_panel.status().record.state == "complete"
    if not (Path(setup_panel.PACKAGE_ROOT) / ".venv").exists():
        assert engine_command()[0].startswith(str(environment))
    monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", str(environment / "bin" / "python"))
    bpy.context.scene.recover_body.backend = "fake"
    picture = str(write_picture(tmp_path / "photo.png"))
    assert bpy.ops.recover_body.recover(filepath=picture) == {"FINISHED"}
    assert any(o.type == "ARMATURE" for o in bpy.data.objects)

    next(environment.glob("lib/python3*/site-packages/lender.pth")).write_text("\n")
    with pytest.raises(RuntimeError, match=r"lender\.pth of lender was altered"):
        bpy.ops.recover_body.set_up_engine(action="verify")
    assert setup_panel.status().state is State.DAMAGED
    assert bpy.ops.recover_body.set_up_engine(action="uninstall") == {"FINISHED"}
    assert setup_panel.status().state is State.ABSENT and not environment.exists()


def test_every_state_draws_its_buttons(bpy, chosen, monkeypatch):
    from recover_body.addon import setup_panel
    from recover_body.addon.engine_setup.places import Record
    from recover_body.addon.engine_setup.state import ACTIONS, State, Status

    for state in State:
        status = Status(state, "So it is.", Path("/somewhere"), Record(accelerator="cpu"), Record(failure="No room."))
        monkeypatch.setattr(setup_panel, "status", lambda fresh=False, status=status: status)
        shown = draw(bpy, chosen, "ENGINE")
        offered = [given.action for name, given, _ in shown.operators if name == "recover_body.set_up_engine"]
        assert offered == ([] if state is State.WORKING else list(ACTIONS[state]))
        assert "So it is." in shown.all_text()
    chosen.accelerator = "none"
    status = Status(State.READY, "So it is.", Path("/somewhere"), Record(accelerator="cpu"))
    monkeypatch.setattr(setup_panel, "status", lambda fresh=False: status)
    shown = draw(bpy, chosen, "ENGINE")
    assert "Change" in shown.all_text(), "another accelerator was chosen than is installed"


def test_the_same_set_up_from_the_command_line(bpy, chosen, capsys):
    from recover_body.addon import command

    assert command._run(["setup", "status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["state"] == "absent"
    assert command._run(["setup", "verify"]) == 3 and command._run(["setup", "dance"]) == 2


def test_children_end_with_the_add_on(bpy, chosen):
    from recover_body.addon import tasks
    from recover_body.addon.child_task import ChildTask

    half = json.dumps({"event": "progress", "fraction": 0.5, "text": "half"})
    task = ChildTask([sys.executable, "-c", f"import time; print({half!r}, flush=True); time.sleep(60)"])
    tasks._tasks["test"], tasks._endings["test"] = task, lambda _task: None
    while not task.text:
        assert not task.poll()
    assert (task.fraction, task.text) == (0.5, "half") and tasks.is_running("test")
    tasks.stop()
    assert wait_for_end(task.pid) and not tasks.is_running("test")


def test_a_child_that_fails_or_is_none(bpy):
    from recover_body.addon.child_task import ChildTask

    task = ChildTask([os.path.join(os.sep, "nowhere", "python")])
    assert task.is_done and "could not be started" in task.failure.sentence
    task = ChildTask([sys.executable, "-c", "raise SystemExit('so sad')"])
    task.wait()
    assert "so sad" in task.failure.sentence
    task = ChildTask([sys.executable, "-c", "import time; time.sleep(60)"])
    task.cancel()
    task._deadline = 0.0  # it does not look at its stdin
    task.wait()
    assert task.failure.code == "cancelled"


# ---- models


def test_models_are_told_imported_and_refused(bpy, chosen, tmp_path):
    shown = draw(bpy, chosen, "MODELS")  # opening the section asks the engine
    text = shown.all_text()
    assert "TokenHMR" in text and "No commercial use" in text and "Needs no file" in text
    pages = [given.address for name, given, _ in shown.operators if name == "recover_body.open_model_page"]
    assert pages and all(address.startswith("https://") for address in pages)

    (tmp_path / "holiday.zip").write_bytes(b"no zip at all")
    with pytest.raises(RuntimeError, match="holiday"):
        bpy.ops.recover_body.import_models(filepath=str(tmp_path / "holiday.zip"))
    assert "holiday" in draw(bpy, chosen, "MODELS").all_text()
    chosen.send_pictures = True
    assert not bpy.ops.recover_body.import_models.poll(), "the files would be on the wrong machine"


def test_a_body_is_imported_verified_and_removed(bpy, chosen, tmp_path):
    pytest.importorskip("torch", reason="The stand-in of SMPL's file is made with torch; the same runs on Blender 4.5.")
    from ..models.weight_files import smpl_pickle

    (tmp_path / "downloads").mkdir()
    smpl_pickle(tmp_path / "downloads" / "SMPL_NEUTRAL.pkl")
    assert bpy.ops.recover_body.import_models(directory=str(tmp_path / "downloads")) == {"FINISHED"}
    shown = draw(bpy, chosen, "MODELS")
    assert "smpl-neutral imported." in shown.all_text()
    assert [g.model for n, g, _ in shown.operators if n == "recover_body.remove_model"] == ["smpl-neutral"]
    (stored,) = (tmp_path / "data" / "models" / "smpl-neutral").glob("*.npz")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    bpy.ops.recover_body.verify_models(model="smpl-neutral")
    assert "altered" in draw(bpy, chosen, "MODELS").all_text()
    assert bpy.ops.recover_body.remove_model(model="smpl-neutral") == {"FINISHED"}
    assert not stored.exists() and (tmp_path / "downloads" / "SMPL_NEUTRAL.pkl").exists()


# ---- doctor and bug report


def test_an_imported_smplx_is_offered_as_a_body(bpy, chosen, tmp_path):
    """Before an engine has run by what it told the preferences, then by its Hello; and then it is recovered."""
    pytest.importorskip("torch", reason="Importing needs torch; the same runs on Blender 4.5.")
    from recover_body.addon import jobs, properties

    def offered():
        return properties._bodies(None, None, "")

    assert offered() == ["neutral", "female", "male"]
    smplx_npz(tmp_path / "SMPLX_NEUTRAL.npz")
    folder, files = str(tmp_path), [{"name": "SMPLX_NEUTRAL.npz"}]
    assert bpy.ops.recover_body.import_models(directory=folder, files=files) == {"FINISHED"}
    assert jobs.engine_hello() is None and offered()[3:] == ["smplx-neutral"]
    settings = bpy.context.scene.recover_body
    settings.backend, settings.body = "fake", offered()[-1]
    picture = str(write_picture(tmp_path / "photo.png"))
    assert bpy.ops.recover_body.recover(filepath=picture) == {"FINISHED"}
    assert jobs.engine_hello().bodies == tuple(offered()) == ("neutral", "female", "male", "smplx-neutral")
    assert next(o for o in bpy.data.objects if o.type == "ARMATURE")["recover_body_body"] == "smplx-neutral"


def test_the_doctor_tells_and_writes_a_text(bpy, chosen):
    from recover_body.addon import doctor

    assert bpy.ops.recover_body.doctor() == {"FINISHED"}
    text = bpy.data.texts[doctor.TEXT].as_string()
    for expected in (bpy.app.version_string, "said Hello after", "landmarks: ", "Engine's installation", "numpy"):
        assert expected in text
    assert "not installed yet" in draw(bpy, chosen, "HELP").all_text()


def test_the_doctor_without_an_engine(bpy, chosen, monkeypatch):
    from recover_body.addon import doctor

    monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", os.path.join(os.sep, "nowhere", "python"))
    bpy.ops.recover_body.doctor()
    assert any("could not be started" in sentence for sentence in doctor.found().trouble)
    assert any("does not answer" in sentence for sentence in doctor.found().trouble)


def test_the_bug_report_keeps_secrets(bpy, chosen, tmp_path, monkeypatch):
    """Secrets are planted wherever a report could pick them up."""
    from recover_body.addon import jobs
    from recover_body.addon.engine_setup.places import engine_places

    secrets = {
        "user": "wilhelmina",
        "machine": "renderknecht7",
        "project": "Blue Whale",
        "picture": "hero_closeup_v012",
        "password": "hunter2swordfish",
        "host": "gpu.secret-studio.example",
    }
    monkeypatch.setenv("USER", secrets["user"])
    monkeypatch.setenv("HOME", f"/home/{secrets['user']}")
    monkeypatch.setattr(socket, "gethostname", lambda: secrets["machine"])
    folder = tmp_path / secrets["project"]
    folder.mkdir()
    picture = folder / f"{secrets['picture']}.jpg"
    picture.write_bytes(b"")  # empty, so that the failure names it
    with pytest.raises(RuntimeError, match="empty"):
        bpy.ops.recover_body.recover(filepath=str(picture))
    assert secrets["picture"] in jobs.last_done().failure.sentence, "else this proves nothing"
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "Blue Whale shot.blend"), copy=False)
    with pytest.raises(RuntimeError, match="empty"):
        bpy.ops.recover_body.recover(filepath=str(picture))
    chosen.index_url = f"https://ada:{secrets['password']}@{secrets['host']}/simple"
    log = engine_places().log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(
        f"$ pip install --index-url {chosen.index_url} --proxy http://{secrets['host']}:3128\n"
        f"/home/{secrets['user']}/Documents/{secrets['project']}/cut 3.mov was read on {secrets['machine']}\n"
        rf"C:\Users\{secrets['user']}\Desktop\{secrets['picture']}.exr and token={secrets['password']} from 10.1.2.3"
        "\n"
        "keep this line about numpy==1.26.4\n"
    )
    target = tmp_path / "report.zip"
    assert bpy.ops.recover_body.bug_report(filepath=str(target)) == {"FINISHED"}
    with zipfile.ZipFile(target) as archive:
        assert set(archive.namelist()) == {
            *("READ ME.txt", "doctor.txt", "last-failure.txt", "preferences.txt", "set-up.log")
        }
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    everything = "\n".join(texts.values()).lower()
    for what, secret in secrets.items():
        assert secret.lower() not in everything, f"the {what} is in the report"
    for part in ("ada:", "10.1.2.3", str(tmp_path).lower(), "whale"):
        assert part not in everything
    assert "numpy==1.26.4" in texts["set-up.log"] and "empty_file" in texts["last-failure.txt"]
    assert "index_url: filled in" in texts["preferences.txt"] and "said Hello" in texts["doctor.txt"]
    assert "<add-on>" in texts["doctor.txt"], "our own paths keep their shape"
