# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip that Blender installs: built and validated by Blender's own builder, and everything in it that must be."""

import hashlib
import importlib.util
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import recover_body

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"LICENSES", "addon", "blender_scripts", "engine", "models", "requirements", "wire"}
FILES = {"LICENSE", "NOTICE.md", "README.md", "CHANGELOG.md", "__init__.py", "blender_manifest.toml", "pyproject.toml"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender's builder comes with its Python module: run `python dev.py setup`.")
    out = tmp_path_factory.mktemp("dist")
    script = ROOT / "blender_scripts" / "build_extension.py"
    done = subprocess.run([sys.executable, script, "--out", out], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def names(built) -> set[str]:
    (path,) = built.glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("folder", ["addon", "engine", "wire", "models", "blender_scripts"])
def test_every_module_of_the_product_is_inside(names, folder):
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
    assert expected and expected <= names


def test_bodies_and_texts_are_inside(names):
    bodies = {path.relative_to(ROOT).as_posix() for path in (ROOT / "models" / "body").glob("*.npz")}
    assert bodies and bodies <= names
    assert {"LICENSE", "LICENSES/Apache-2.0.txt", "NOTICE.md", "__init__.py", "blender_manifest.toml"} <= names


def test_nothing_else_is_inside(names):
    strangers = {name for name in names if name.split("/")[0] not in FOLDERS and name not in FILES}
    assert not strangers
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".egg-info"))]


def test_the_version_is_told_once():
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["version"] == recover_body.__version__


def test_every_package_folder_is_installed_by_pip_too():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {
        path.parent.relative_to(ROOT)
        for folder in ("addon", "blender_scripts", "engine", "models", "wire")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    expected = {".".join(["recover_body", *folder.parts]) for folder in folders} | {"recover_body"}
    assert set(settings["tool"]["setuptools"]["packages"]) == expected, "add it in pyproject.toml, [tool.setuptools]"


def test_what_the_engines_set_up_needs_is_inside(names):
    assert {"requirements/base.txt", "requirements/torch.txt", "blender_scripts/setup_engine.py"} <= names


def test_it_is_pure_python(names):
    compiled = (".so", ".pyd", ".dll", ".dylib", ".exe", ".whl", ".pth", ".pkl")
    assert not [name for name in names if name.endswith(compiled)]


def test_permissions_are_the_two_that_are_used_with_a_reason():
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert set(manifest["permissions"]) == {"files", "network"}
    assert all(0 < len(reason) <= 64 for reason in manifest["permissions"].values())
    assert "wheels" not in manifest and "platforms" not in manifest and "blender_version_max" not in manifest


def test_a_static_repository_serves_exactly_this_zip(built):
    index = json.loads((built / "repository" / "index.json").read_text(encoding="utf-8"))
    (entry,) = index["data"]
    served = built / "repository" / entry["archive_url"]
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    assert entry["archive_hash"] == f"sha256:{digest}" and entry["archive_size"] == served.stat().st_size
    (zipped,) = built.glob("*.zip")
    assert served.read_bytes() == zipped.read_bytes()
