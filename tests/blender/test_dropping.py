# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are dropped on Blender's window: who takes them, and what becomes of them."""

from types import SimpleNamespace

from recover_body.wire.take import write_take

from ..addon.test_client import write_picture
from .sample import sample
from .test_jobs import addon  # noqa: F401 - a fixture


def editor(kind, tab=""):
    """An editor whose sidebar shows a tab."""
    sidebar = SimpleNamespace(type="UI", width=200 if tab else 1, active_panel_category=tab)
    return SimpleNamespace(area=SimpleNamespace(type=kind, regions=[sidebar]))


def test_pictures_are_taken_only_where_our_tab_is_open(bpy, addon):  # noqa: F811
    from recover_body.addon.dropping import RECOVER_BODY_FH_footage as Footage

    assert Footage.poll_drop(editor("IMAGE_EDITOR", "Recover Body"))
    assert not Footage.poll_drop(editor("VIEW_3D", "Item")) and not Footage.poll_drop(editor("VIEW_3D"))
    assert {".png", ".mp4", ".jpg", ".mov"} <= set(Footage.bl_file_extensions.split(";"))


def test_a_dropped_picture_is_what_the_button_takes(bpy, addon, tmp_path):  # noqa: F811
    from recover_body.addon.sources import chosen_source

    picture = str(write_picture(tmp_path / "dropped.png"))
    assert bpy.ops.recover_body.take_footage(filepath=picture) == {"FINISHED"}
    assert chosen_source(bpy.context, setting=bpy.context.scene.recover_body.filepath).path == picture


def test_a_take_that_is_dropped_on_a_3d_view_is_drawn(bpy, addon, tmp_path):  # noqa: F811
    """By the operator that Blender itself calls for a dropped file, which looks for whoever takes it."""
    made = sample(2, source="gone.png")
    write_take(tmp_path / "shot.take.npz", made.recovery.take)
    bpy.ops.wm.read_factory_settings()
    window = bpy.context.window_manager.windows[0]
    area = next(each for each in window.screen.areas if each.type == "VIEW_3D")
    region = next(each for each in area.regions if each.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        dropped = bpy.ops.wm.drop_import_file(
            "INVOKE_DEFAULT", directory=str(tmp_path), files=[{"name": "shot.take.npz"}]
        )
    assert dropped == {"FINISHED"} and "Recover Body: gone" in bpy.data.collections
