# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on as Blender sees it: what it registers, that nothing stays behind, and that its buttons do what its
functions do, with the real engine's `fake` backend in a real child process."""

import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recover_body.addon.orientation import exif_orientation, upright

from ..addon.test_client import write_picture
from .test_scene import inventory

NAME = "recover_body"


class Enabled:
    """The package, registered as Blender registers an enabled extension."""

    def __enter__(self):
        import recover_body

        recover_body.register()
        return recover_body

    def __exit__(self, *_):
        import recover_body

        recover_body.unregister()


@pytest.fixture
def addon(bpy, monkeypatch):
    if "RECOVER_BODY_ENGINE_PYTHON" not in os.environ:
        monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
    with Enabled() as package:
        bpy.context.scene.recover_body.backend = "fake"
        yield package


@pytest.fixture
def picture(tmp_path):
    return str(write_picture(tmp_path / "Ünser Foto.png"))


def registered(bpy):
    from recover_body.addon import jobs, people_overlay

    kinds = {n for n in dir(bpy.types) if "recover_body" in n.lower()}
    operators = {n for n in dir(bpy.ops) if n == NAME} and set(dir(bpy.ops.recover_body))
    every_list = (getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers))
    handlers = [h for some in every_list if isinstance(some, list) for h in some if h.__module__.startswith(NAME)]
    keys = [
        item.idname
        for keymap in bpy.context.window_manager.keyconfigs.addon.keymaps
        for item in keymap.keymap_items
        if item.idname.startswith(NAME)
    ]
    on_types = {name for kind in (bpy.types.Scene, bpy.types.Object) for name in dir(kind) if NAME in name}
    ticking = bpy.app.timers.is_registered(jobs._tick)
    return kinds, operators, on_types, handlers, keys, len(people_overlay._handles), ticking, children()


def children():
    """Processes that this one started and that still run."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    return listing.read_text().split() if listing.exists() else []


def test_register_unregister_register_leaves_nothing(bpy):
    before = registered(bpy)
    for _ in range(3):
        with Enabled():
            kinds, operators, settings, handlers, keys, boxes, _, _ = registered(bpy)
            assert {"RECOVER_BODY_OT_recover", "RECOVER_BODY_PT_view3d", "RECOVER_BODY_FH_footage"} <= kinds
            assert {"recover", "cancel"} <= operators and NAME in settings and handlers
            assert keys == ["recover_body.cancel"] and boxes == 2
        assert registered(bpy) == before


def test_unregistering_ends_the_engine(bpy, addon, picture):
    from recover_body.addon import jobs

    from ..addon.test_client import wait_for_end

    bpy.ops.recover_body.recover(filepath=picture)
    pid = jobs._client.pid
    addon.unregister()
    assert wait_for_end(pid)
    addon.register()


def test_the_operator_does_what_the_function_does(bpy, addon, picture):
    from recover_body.addon.client import EngineClient
    from recover_body.addon.engine_command import engine_command
    from recover_body.addon.scene import draw_recovery
    from recover_body.wire.messages import RecoverRequest

    assert bpy.ops.recover_body.recover(filepath=picture) == {"FINISHED"}
    by_operator = inventory(bpy), shape_of(bpy)

    bpy.ops.wm.read_factory_settings(use_empty=True)
    with EngineClient(engine_command()) as client:
        client.submit(RecoverRequest("one", picture, backend="fake"))
        recovery = client.wait("one", 60)
    draw_recovery(recovery, bpy.data.images.load(picture))
    assert inventory(bpy) == by_operator[0]
    for found, expected in zip(shape_of(bpy), by_operator[1], strict=True):
        assert np.array_equal(found, expected)


def shape_of(bpy):
    """Everything that decides where the character is seen."""
    rig = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    camera = bpy.context.scene.camera
    lens = [camera.data.lens, camera.data.shift_x, camera.data.shift_y, camera.data.sensor_width]
    bones = np.array([b.matrix for b in rig.pose.bones], np.float64)
    return bones, np.array(camera.matrix_world, np.float64), np.array(lens)


def test_one_undo_step(bpy, addon, picture):
    from recover_body.addon.identity import SOURCE

    bpy.ops.ed.undo_push(message="before")
    bpy.ops.recover_body.recover(filepath=picture)
    assert any(SOURCE in c for c in bpy.data.collections)
    bpy.ops.ed.undo()
    assert not any(SOURCE in c for c in bpy.data.collections) and bpy.context.scene.camera is None
    bpy.ops.ed.redo()
    assert any(SOURCE in c for c in bpy.data.collections) and bpy.context.scene.camera is not None


def test_pressing_twice_updates_in_place(bpy, addon, picture):
    bpy.ops.recover_body.recover(filepath=picture)
    before = inventory(bpy)
    bpy.ops.recover_body.recover(filepath=picture)
    assert inventory(bpy) == before


def test_a_failure_is_told_and_changes_nothing(bpy, addon, tmp_path):
    before = inventory(bpy)
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    with pytest.raises(RuntimeError, match="empty"):
        bpy.ops.recover_body.recover(filepath=str(empty))
    with pytest.raises(RuntimeError, match="There is no file"):
        bpy.ops.recover_body.recover(filepath=str(tmp_path / "nothing.png"))
    with pytest.raises(RuntimeError, match="No picture is chosen"):
        bpy.ops.recover_body.recover()
    assert inventory(bpy) == before


def test_no_engine_is_told_with_a_remedy(bpy, addon, picture, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", os.path.join(os.sep, "nowhere", "python"))
    with pytest.raises(RuntimeError, match=r"could not be started.*preferences"):
        bpy.ops.recover_body.recover(filepath=picture)


def test_settings_become_the_request(bpy, addon):
    settings = bpy.context.scene.recover_body
    settings.people, settings.people_count = "COUNT", 3
    settings.focal, settings.focal_mm, settings.sensor_mm = "MM", 50.0, 24.0
    settings.height_m, settings.body = 1.75, "female"
    assert settings.request_fields()["height_m"] is None
    settings.use_height = True
    fields = settings.request_fields()
    assert fields["people"] == "3" and fields["body"] == "female" and fields["backend"] == "fake"
    assert fields["camera"].focal_mm == 50.0 and fields["camera"].sensor_mm == 24.0
    assert fields["height_m"] == pytest.approx(1.75)


# ---- pictures that are not plain files


def paint(bpy, name="painting", width=96, height=64, float_buffer=False):
    image = bpy.data.images.new(name, width, height, float_buffer=float_buffer)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = 0.5
    pixels[-1, :, 0] = 1.0  # the top row is reddish
    image.pixels.foreach_set(pixels.ravel())
    return image


@pytest.mark.parametrize("float_buffer", [False, True])
def test_a_generated_image(bpy, addon, float_buffer):
    image = paint(bpy, float_buffer=float_buffer)
    assert bpy.ops.recover_body.recover(image="painting") == {"FINISHED"}
    camera = bpy.context.scene.camera
    assert camera.data.background_images[0].image == image
    assert "Recover Body: painting" in bpy.data.collections
    assert [i.name for i in bpy.data.images] == ["painting"]


def test_a_packed_image_and_one_with_unsaved_strokes(bpy, addon, picture):
    from recover_body.addon.source_image import source_from_image

    image = bpy.data.images.load(picture)
    assert source_from_image(image).data is None
    image.pack()
    assert source_from_image(image).data == Path(picture).read_bytes()
    image.pixels[0] = 0.9
    assert source_from_image(image).data not in (None, Path(picture).read_bytes())
    image.filepath, image.name = "", "only here.png"
    assert bpy.ops.recover_body.recover(image="only here.png") == {"FINISHED"}


def test_the_image_whose_file_is_gone(bpy, addon, picture):
    image = bpy.data.images.load(picture)
    image.filepath = picture + ".moved"
    image.reload()
    with pytest.raises(RuntimeError, match=r"missing|There is no file"):
        bpy.ops.recover_body.recover(image=image.name)


def with_orientation(png, orientation):
    """The PNG with an eXIf chunk that says how the camera was held."""
    import struct
    import zlib

    exif = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0)
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    return png[:33] + chunk + png[33:]


def test_a_photo_taken_with_the_camera_on_its_side(bpy, addon, tmp_path):
    """Blender ignores EXIF orientation, the engine does not: the background is turned to fit."""
    from recover_body.addon.background import footage_behind
    from recover_body.addon.pixels import read_pixels
    from recover_body.addon.sources import source_from_file

    path = tmp_path / "side.png"
    path.write_bytes(with_orientation(write_picture(path).read_bytes(), 6))
    assert exif_orientation(path.read_bytes()) == 6
    for _ in range(2):
        bpy.ops.recover_body.recover(filepath=str(path))
        scene = bpy.context.scene
        assert (scene.render.resolution_x, scene.render.resolution_y) == (120, 160)
        background = scene.camera.data.background_images[0].image
        assert tuple(background.size) == (120, 160) and background.packed_file is not None
        assert len(bpy.data.images) == 2
    sent = read_pixels(background)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "side.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "side.blend"))
    background = bpy.context.scene.camera.data.background_images[0].image
    assert np.array_equal(read_pixels(background), sent), "it is in the .blend"
    bpy.data.images.remove(background)
    turned_here = footage_behind(source_from_file(str(path)), 120, 160)
    assert np.abs(read_pixels(turned_here) - sent).max() < 0.05, "the engine's and our own are the same"


def test_upright_turns_as_exif_means_it():
    """Where the first row and the first column of the stored picture belong, from the standard's table."""
    pixels = np.arange(6).reshape(2, 3)  # 0 1 2 / 3 4 5
    expected = {
        1: [[0, 1, 2], [3, 4, 5]],
        2: [[2, 1, 0], [5, 4, 3]],
        3: [[5, 4, 3], [2, 1, 0]],
        4: [[3, 4, 5], [0, 1, 2]],
        5: [[0, 3], [1, 4], [2, 5]],
        6: [[3, 0], [4, 1], [5, 2]],
        7: [[5, 2], [4, 1], [3, 0]],
        8: [[2, 5], [1, 4], [0, 3]],
    }
    for orientation, rows in expected.items():
        assert upright(pixels, orientation).tolist() == rows


# ---- polling, as with a window


def start(bpy, picture, **fields):
    """A job that nobody waits for."""
    from recover_body.addon import recovering
    from recover_body.addon.sources import source_from_file

    return recovering.start(source_from_file(picture), bpy.context.scene, backend="fake", **fields)


def test_polling_and_cancelling(bpy, addon, picture, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:30")
    before = inventory(bpy)
    job = start(bpy, picture)
    deadline = time.monotonic() + 60
    while job.progress is None and time.monotonic() < deadline:
        assert jobs.step()
        time.sleep(0.02)
    assert bpy.ops.recover_body.cancel.poll()
    started = time.monotonic()
    bpy.ops.recover_body.cancel()
    jobs.wait(job)
    assert job.failure.code == "cancelled" and time.monotonic() - started < 1.0
    assert inventory(bpy) == before
    assert bpy.ops.recover_body.recover.poll()


def test_opening_another_file_forgets_the_job(bpy, addon, picture, monkeypatch):
    from recover_body.addon import jobs

    monkeypatch.setenv("RECOVER_BODY_FAKE", "slow:1")
    start(bpy, picture)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not jobs.is_running() and jobs.last_done() is None
    for _ in range(60):
        jobs.step()
        time.sleep(0.05)
    assert not bpy.data.objects


def test_select_inferred_bones(bpy, addon, picture):
    from recover_body.addon import compat

    bpy.ops.recover_body.recover(filepath=picture)
    rig = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    for bone in rig.pose.bones:
        compat.select_pose_bone(bone, True)
    bpy.ops.recover_body.select_inferred(rig=rig.name)
    selected = {b.name for b in rig.pose.bones if (b.select if hasattr(b, "select") else b.bone.select)}
    assert selected == set(rig["inferred_joints"].split())


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("ssh gpu-box recover-body serve", ("ssh", "gpu-box", "recover-body", "serve")),
        ('"with space/recover-body" serve', ("with space/recover-body", "serve")),
    ],
)
def test_a_command_of_ones_own(bpy, told, expected):
    from recover_body.addon.engine_command import engine_command

    assert engine_command(told) == expected


def test_a_missing_engine_is_known_before_anybody_presses_the_button(bpy, monkeypatch, tmp_path):
    from recover_body.addon import engine_command

    monkeypatch.delenv("RECOVER_BODY_ENGINE_PYTHON", raising=False)
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path))
    monkeypatch.setattr(engine_command, "PACKAGE_ROOT", tmp_path)
    monkeypatch.setattr(engine_command.sys, "executable", "")
    assert engine_command.is_engine_missing()
    assert not engine_command.is_engine_missing("ssh gpu-box recover-body serve")


def test_a_python_of_ones_own(bpy):
    from recover_body.addon.engine_command import engine_command

    command = engine_command("python3.11")
    assert command[0] == "python3.11" and command[-1] == "serve" and command[-2].endswith("launch.py")


def test_every_icon_exists(bpy):
    """An icon that this version of Blender does not know stops the drawing of the whole panel."""
    known = bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items.keys()
    sources = (Path(__file__).resolve().parents[2] / "addon").rglob("*.py")
    used = {icon for source in sources for icon in re.findall(r'icon="(\w+)"', source.read_text("utf-8"))}
    assert len(used) > 20 and used <= set(known)
