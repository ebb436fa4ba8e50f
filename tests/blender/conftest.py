# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests in this folder load Blender into their process, which gets its own user folder; each test gets an empty file.

How such a process ends is settled in `tests/conftest.py`.
"""

import atexit
import os
import shutil
import tempfile

import pytest

# Before anything imports bpy: preferences and extensions of the person who runs the tests are neither read nor changed.
_user_resources = tempfile.mkdtemp(prefix="recover-body-blender-")
os.environ["BLENDER_USER_RESOURCES"] = _user_resources
atexit.register(shutil.rmtree, _user_resources, ignore_errors=True)


def pytest_unconfigure(config):
    """atexit is not reached by `os._exit`."""
    shutil.rmtree(_user_resources, ignore_errors=True)


@pytest.fixture(scope="session")
def bpy():
    """Blender's module."""
    return pytest.importorskip("bpy", reason="Blender's module is not installed: run `python dev.py setup`.")


@pytest.fixture(autouse=True)
def empty_file(bpy):
    """Every test starts in an empty Blender file; about 0.1 s."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
