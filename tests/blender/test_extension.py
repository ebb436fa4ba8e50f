# SPDX-License-Identifier: GPL-3.0-or-later
"""The built zip, installed as artists install it, in a Blender of its own: its button gives what the function gives."""

import os
import subprocess
import sys

import numpy as np
import pytest

from recover_body.addon.engine_command import engine_command
from recover_body.wire.messages import RecoverRequest

from ..addon.test_client import write_picture
from ..conftest import ROOT
from .test_addon import shape_of

SCRIPT = """
import os, sys
from pathlib import Path
import bpy
import numpy as np

package, picture, out = sys.argv[1:]
name = "bl_ext.user_default.recover_body"
bpy.ops.extensions.package_install_files(filepath=package, repo="user_default", enable_on_install=True)
addon = bpy.context.preferences.addons[name]
assert addon.preferences.engine == "", "the preferences belong to the root package"
assert "recover_body" not in sys.modules, "inside the extension all imports are relative"

bpy.ops.wm.read_homefile(use_empty=True)
bpy.context.scene.recover_body.backend = "fake"
assert bpy.ops.recover_body.recover(filepath=picture) == {"FINISHED"}
rig = next(o for o in bpy.data.objects if o.type == "ARMATURE")
camera = bpy.context.scene.camera
lens = [camera.data.lens, camera.data.shift_x, camera.data.shift_y, camera.data.sensor_width]
bones = np.array([b.matrix for b in rig.pose.bones], np.float64)
np.savez(out, bones, np.array(camera.matrix_world, np.float64), np.array(lens))

folder = Path(sys.modules[name].__file__).parent
assert not list((folder / "engine").rglob("__pycache__")), "the engine writes nothing into the extension's folder"

bpy.ops.preferences.addon_disable(module=name)
assert not hasattr(bpy.types.Scene, "recover_body") and not hasattr(bpy.types, "RECOVER_BODY_OT_recover")
bpy.ops.preferences.addon_enable(module=name)
assert hasattr(bpy.types, "RECOVER_BODY_OT_recover")
bpy.ops.extensions.package_uninstall(repo_index=0, pkg_id="recover_body")
bpy.ops.extensions.package_uninstall(repo_index=1, pkg_id="recover_body")
assert name not in bpy.context.preferences.addons and not hasattr(bpy.types, "RECOVER_BODY_OT_recover")
print("all well")
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def package(tmp_path):
    script = ROOT / "blender_scripts" / "build_extension.py"
    done = subprocess.run([sys.executable, script, "--out", tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(tmp_path.glob("*.zip"))


def test_installed_enabled_used_and_removed(bpy, package, tmp_path):
    from recover_body.addon.client import EngineClient
    from recover_body.addon.scene import draw_recovery

    picture, out = write_picture(tmp_path / "photo.png"), tmp_path / "shape.npz"
    python = os.environ.get("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(home), "RECOVER_BODY_ENGINE_PYTHON": python}
    environment["RECOVER_BODY_DATA"] = str(tmp_path / "data")
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", SCRIPT, package, picture, out]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 and "all well" in done.stdout, done.stdout + done.stderr

    with EngineClient(engine_command(python)) as client:
        client.submit(RecoverRequest("one", str(picture), backend="fake"))
        draw_recovery(client.wait("one", 60))
    with np.load(out) as data:
        for found, expected in zip((data[k] for k in data.files), shape_of(bpy), strict=True):
            assert np.array_equal(found, expected)
