# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for all tests: where the shared test data lies, and a clean exit for processes that loaded Blender."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def shared_file(relative: str) -> Path:
    """A file or folder of the test data beside the repository; skips the test on machines that have no such data.

    Where the data exists, a missing file is a failure in CI: a test that is silently left out protects nobody.
    """
    path = SHARED / relative
    if path.exists():
        return path
    if SHARED.exists() and os.environ.get("CI") == "true":
        pytest.fail(f"The test data folder {SHARED} exists, but {relative} is missing in it.")
    pytest.skip(f"This test needs {relative} in a folder `shared` next to the repository.")


@pytest.fixture
def shared():
    """`shared("fixtures/images")` is that path, or skips the test with a sentence."""
    return shared_file


def pytest_collection_modifyitems(config, items):
    """Leave slow tests out unless they are asked for."""
    if "slow" in (config.option.markexpr or ""):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="This test takes minutes: run it with `pytest -m slow`."))


_exit_status = 0


def pytest_sessionfinish(session, exitstatus):
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """End at once when Blender was loaded: its ordinary exit crashes or hangs while a class or timer is registered."""
    if "bpy" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_status)


@pytest.fixture(scope="session")
def blade_data(tmp_path_factory) -> Path:
    """A data folder into which generated files of BLADE, AiOS and Depth Anything, of reduced sizes, were imported."""
    from recover_body.engine.importer import import_files
    from recover_body.tests.models.blade_files import aios_checkpoint, blade_checkpoint, depth_anything_checkpoint

    files, data = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOVER_BODY_DATA", str(data))
        import_files(
            [
                blade_checkpoint(files / "epoch_2.pth"),
                aios_checkpoint(files / "aios_checkpoint.pth"),
                depth_anything_checkpoint(files / "depth_anything.pth"),
            ]
        )
    return data


@pytest.fixture
def blade_imported(blade_data, monkeypatch) -> Path:
    """The same, in use."""
    monkeypatch.setenv("RECOVER_BODY_DATA", str(blade_data))
    return blade_data
