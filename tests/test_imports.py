# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may know whom: every import is parsed, and the light entrances start where heavy libraries are refused."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "recover_body"

# Which of the project's folders each folder may import, besides itself.
MAY_IMPORT = {
    "wire": set(),
    "models": {"wire"},
    "engine": {"wire", "models"},
    "addon": {"wire"},
    "blender_scripts": {"addon", "wire"},
}
# Beyond the standard library. Whoever adds one also pins it in requirements/ (or explains why it may be absent).
LIBRARIES = {
    "wire": {"numpy"},
    "models": {"numpy", "onnxruntime", "safetensors", "torch"},
    "engine": {
        *("numpy", "torch", "accelerate", "av", "cv2", "matplotlib", "mediapipe", "PIL", "pillow_heif", "safetensors"),
        *("threadpoolctl", "tqdm", "onnx", "onnxruntime"),
    },
    "addon": {"numpy", "bpy", "blf", "bmesh", "mathutils", "gpu", "gpu_extras"},
    "blender_scripts": {"numpy", "bpy", "mathutils"},
}
# These write shipped data files once; what they need is told in their own documentation.
BUILDERS = ("models/body/builder/", "models/pose_prior.py")

NAMES_THE_PACKAGE = ROOT / "engine" / "launch.py"
LIGHT_ENTRANCES = (
    "recover_body",
    "recover_body.wire",
    "recover_body.addon.client",
    "recover_body.addon.engine_setup.cli",
    "recover_body.engine.__main__",
)


def product_files() -> list[Path]:
    return [path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]


def imported_modules(path: Path) -> set[str]:
    """Absolute dotted names of everything the file imports, at the top or inside functions."""
    package = [PACKAGE, *path.relative_to(ROOT).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = ".".join(part for part in base if part)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", product_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_folder_imports_only_what_it_may(path):
    folder = path.relative_to(ROOT).parts[0]
    is_builder = path.relative_to(ROOT).as_posix().startswith(BUILDERS)
    for name in sorted(imported_modules(path)):
        top, *rest = name.split(".")
        if top != PACKAGE:
            assert is_builder or top in sys.stdlib_module_names | LIBRARIES[folder], f"{folder} must not import {top}"
        elif rest and (ROOT / rest[0]).is_dir():
            assert rest[0] == folder or rest[0] in MAY_IMPORT[folder], f"{folder} must not import {rest[0]}"


@pytest.mark.parametrize("path", product_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_inside_the_package_are_relative(path):
    """Blender decides what the package is called, so no file may name it."""
    if path == NAMES_THE_PACKAGE:
        pytest.skip("This file gives the folder its name before it imports it.")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module)
        assert not any(name.split(".")[0] == PACKAGE for name in names), f"line {node.lineno}: import relatively"


@pytest.mark.parametrize("entrance", LIGHT_ENTRANCES)
def test_light_entrances_need_no_heavy_library(entrance):
    program = f"""
        import importlib.abc, sys

        class Refuse(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {{"torch", "bpy", "mediapipe", "cv2"}}:
                    raise ImportError(name + " is refused in this test")

        sys.meta_path.insert(0, Refuse())
        import {entrance}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
