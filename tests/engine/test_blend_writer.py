# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding Blender, and what happens when it is not there, too old, lacks a library, or fails."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recover_body.engine import blend_writer, blenders, errors
from recover_body.engine.blenders import Blender
from recover_body.engine.pipeline import recover
from recover_body.wire.messages import RecoverRequest

needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for Blender are shell scripts")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "photo.png"
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def recovery(picture):
    return recover(RecoverRequest("1", str(picture), backend="fake"))


@pytest.fixture
def program(tmp_path):
    """A program that says `words` and ends with `status`, in the place of Blender."""

    def program(words, status=0, name="blender"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{words}\nEND\nexit {status}\n")
        path.chmod(0o755)
        return path

    return program


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No Blender in this system's usual places, none on PATH, none named."""
    monkeypatch.setattr(blenders, "_usual_places", lambda: iter(()))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(blenders.shutil, "which", lambda name: name if Path(name).is_file() else None)
    monkeypatch.delenv(blenders.VARIABLE, raising=False)


@needs_shell
def test_order_named_then_variable_then_usual_places_newest_first(alone, program, monkeypatch):
    old = program("Blender 3.6.0", name="blender-3.6/blender")
    lts = program("Blender 4.2.1 LTS\n\tbuild date: 2024", name="blender-4.2/blender")
    new = program("Blender 5.0.1", name="blender-5.0/blender")
    monkeypatch.setattr(blenders, "_usual_places", lambda: iter((old, lts, new)))
    assert blenders.find() == Blender((str(new),), (5, 0, 1), is_module=False)
    monkeypatch.setenv(blenders.VARIABLE, str(lts))
    assert blenders.find().version == (4, 2, 1)
    assert blenders.find(str(new)).version == (5, 0, 1)
    assert "Blender 5.0.1" in blenders.find(str(new)).title


@needs_shell
def test_a_named_blender_must_be_one_and_new_enough(alone, program, monkeypatch):
    with pytest.raises(errors.BlenderNotFound, match=r"is Blender 3\.6\.0; at least 4\.2"):
        blenders.find(str(program("Blender 3.6.0")))
    for path in (program("hello", name="other"), "does-not-exist"):
        with pytest.raises(errors.BlenderNotFound, match="not a Blender that starts"):
            blenders.find(str(path))
    monkeypatch.setenv(blenders.VARIABLE, "does-not-exist")
    with pytest.raises(errors.BlenderNotFound, match=blenders.VARIABLE):
        blenders.find()


def test_else_the_python_package_else_an_error_that_says_what_to_install(alone, monkeypatch):
    if importlib.util.find_spec("bpy"):
        found = blenders.find()
        assert found.is_module and found.command == (sys.executable,) and found.version >= blenders.MINIMUM
    monkeypatch.setitem(sys.modules, "bpy", None)
    with pytest.raises(errors.BlenderNotFound) as caught:
        blenders.find()
    assert caught.value.exit_code == 3 and "bpy" in caught.value.remedy


def test_command_lines(tmp_path):
    script = tmp_path / "s.py"
    application = Blender(("blender",), (4, 5, 0), is_module=False).run_script(script, "--x", 1)
    assert application[:3] == ["blender", "--background", "--factory-startup"]
    assert application.index("--python-exit-code") < application.index("--python")  # it counts for what follows
    assert application[-3:] == ["--", "--x", "1"]
    module = Blender(("python",), (4, 5, 0), is_module=True).run_script(script, "--x", 1)
    assert module == ["python", str(script), "--", "--x", "1"]


@needs_shell
def test_a_missing_system_library_comes_with_the_line_that_installs_it(program, recovery, tmp_path):
    words = "ImportError: libXxf86vm.so.1: cannot open shared object file: No such file or directory"
    blender = Blender((str(program(words, 1)),), (4, 5, 0), is_module=True)
    with pytest.raises(errors.MissingPackage, match=r"libXxf86vm\.so\.1 is missing") as caught:
        blend_writer.write_blend(recovery, tmp_path / "a.blend", blender)
    assert caught.value.exit_code == 3
    assert blend_writer.install_line() in caught.value.remedy and "install" in caught.value.remedy


@needs_shell
@pytest.mark.parametrize("status, words", [(1, "exit status 1"), (0, "without writing")])
def test_a_blender_that_fails_is_an_error(program, recovery, tmp_path, status, words, capsys):
    blender = Blender((str(program("RuntimeError: no cake", status)),), (4, 5, 0), is_module=False)
    with pytest.raises(errors.BlendNotWritten, match=words):
        blend_writer.write_blend(recovery, tmp_path / "a.blend", blender)
    assert "no cake" in capsys.readouterr().err


def test_a_blender_that_has_gone_is_an_error(recovery, tmp_path):
    blender = Blender((str(tmp_path / "nothing"),), (4, 5, 0), is_module=False)
    with pytest.raises(errors.BlendNotWritten, match="does not start"):
        blend_writer.write_blend(recovery, tmp_path / "a.blend", blender)


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs the package bpy")
def test_a_real_blend_is_written(recovery, picture, tmp_path, alone):
    path = tmp_path / "Szene – 写真.blend"
    blend_writer.write_blend(recovery, path, blenders.find(), picture)
    assert path.read_bytes()[:7] in (b"BLENDER", b"(\xb5/\xfd" + path.read_bytes()[4:7])  # plain, or Zstandard
