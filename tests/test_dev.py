# SPDX-License-Identifier: GPL-3.0-or-later
"""`dev.py`: its words, its exit codes, and that an interrupted set-up is taken up again. Real pip, no network."""

import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def dev():
    """A fresh copy of the script as a module."""
    spec = importlib.util.spec_from_file_location("dev_under_test", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def environment_folder(tmp_path_factory) -> Path:
    """Shared, because making an environment takes seconds."""
    return tmp_path_factory.mktemp("project") / "env"


@pytest.fixture
def tiny(dev, environment_folder, tmp_path, monkeypatch):
    """A one-layer environment in a temporary folder; its only package is a wheel written here."""
    wheel = tmp_path / "tiny_layer-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_layer.py", "")
        archive.writestr("tiny_layer-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-layer\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr("tiny_layer-1.0.dist-info/WHEEL", tags)
        archive.writestr("tiny_layer-1.0.dist-info/RECORD", "")
    (tmp_path / "tiny.txt").write_text(f"tiny-layer @ {wheel.as_uri()}\n")
    monkeypatch.setattr(dev, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "CACHE", tmp_path / ".cache")
    environment = dev.Environment(environment_folder, ("tiny",))
    environment.stamp("tiny").unlink(missing_ok=True)
    return environment


def imports(environment, name: str) -> bool:
    return subprocess.run([environment.python, "-c", f"import {name}"], capture_output=True).returncode == 0


def test_setting_up_twice_installs_once_and_an_interrupted_layer_again(dev, tiny, capsys):
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Environments are made with Python 3.11.")
    dev.set_up_environment(tiny, ["tiny"], None)
    assert imports(tiny, "tiny_layer")
    assert "tiny" in capsys.readouterr().out

    started_s = time.monotonic()
    dev.set_up_environment(tiny, ["tiny"], None)
    assert time.monotonic() - started_s < 1
    assert capsys.readouterr().out == ""

    # What an interruption leaves: files, but no stamp.
    tiny.stamp("tiny").unlink()
    tiny.stamp("python").unlink()
    dev.set_up_environment(tiny, ["tiny"], None)
    out = capsys.readouterr().out
    assert "tiny" in out and "✓ env (" not in out, "the layer again, but not the environment, which works"

    # A half-made environment is made anew.
    tiny.stamp("python").unlink()
    next(tiny.folder.glob("[Ll]ib/**/pip/__init__.py")).unlink()
    dev.set_up_environment(tiny, ["tiny"], None)
    assert "✓ env (" in capsys.readouterr().out
    assert imports(tiny, "tiny_layer")


def test_a_changed_requirement_is_installed(dev, tiny):
    before = dev.layer_digest("tiny", None)
    with (dev.REQUIREMENTS / "tiny.txt").open("a") as file:
        file.write("another==1.0\n")
    assert dev.layer_digest("tiny", None) != before


def test_a_failed_installation_says_where_its_log_is(dev, tiny):
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Environments are made with Python 3.11.")
    dev.REQUIREMENTS.joinpath("tiny.txt").write_text("tiny-layer @ file:///nowhere/tiny_layer-1.0-py3-none-any.whl\n")
    with pytest.raises(dev.Missing, match=r"env-tiny\.log"):
        dev.set_up_environment(tiny, ["tiny"], None)
    assert not tiny.stamp("tiny").exists()


def test_without_python_311_the_remedy_is_told(dev):
    with pytest.raises(dev.Missing, match=r"3\.11[\s\S]*uv python install"):
        dev.find_python(candidates=[["no-such-python"], [sys.executable, "-c", "raise SystemExit(1)", "--"]])


def test_a_blender_whose_python_is_absent_is_left_out_with_a_sentence(dev, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dev, "OTHER_BLENDERS", {"blender52": dev.Environment(tmp_path, (), "3.13")})
    monkeypatch.setattr(dev, "python_candidates", lambda version: [["no-such-python"]])
    assert dev.without_absent_pythons(("blender", "blender52")) == ("blender",)
    assert "blender52" in (said := capsys.readouterr().out) and "3.13" in said
    with pytest.raises(dev.Missing, match=r"3\.13"):  # asked for by name, it is required
        dev.set_up_environment(dev.OTHER_BLENDERS["blender52"], [], None)


def test_a_python_311_is_found(dev):
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Only a Python 3.11 can find itself.")
    assert Path(dev.find_python()).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="System libraries are only asked for on Linux.")
def test_a_missing_system_library_is_told_with_its_install_line(dev, tiny):
    """The loader's own words, from an interpreter whose `bpy` needs a library that does not exist."""
    if not tiny.python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tiny.folder], check=True)
    site = next(tiny.folder.glob("lib/python*/site-packages"))
    (site / "bpy.py").write_text("import ctypes\nctypes.CDLL('libXmissing.so.6')\n")
    with pytest.raises(dev.Missing, match=r"libXmissing\.so\.6: cannot open shared object file[\s\S]*install.*lib"):
        dev.check_blender_module(tiny)


def test_layers_exist_as_files_and_every_pin_is_exact(dev):
    layers = {*dev.MAIN.layers, *dev.OTHER_BLENDERS} - {"package"}
    assert layers == {path.stem for path in (ROOT / "requirements").glob("*.txt")}
    for layer in layers:
        for line in (ROOT / "requirements" / f"{layer}.txt").read_text().splitlines():
            requirement = line.split("#")[0].split(";")[0].strip()
            assert not requirement or requirement.count("==") == 1, f"{layer}: {line}"


def test_layers_agree_on_versions(dev):
    """Two layers of one environment must not overwrite each other's packages."""
    for environment in (dev.MAIN, *dev.OTHER_BLENDERS.values()):
        pins = {}
        for layer in environment.layers:
            if layer == "package":
                continue
            for line in (ROOT / "requirements" / f"{layer}.txt").read_text().splitlines():
                name, _, version = line.split("#")[0].split(";")[0].strip().partition("==")
                assert not name or pins.setdefault(name.lower(), version) == version, f"{layer}: {name}"


def test_torch_is_installed_before_anything_that_could_ask_for_another(dev):
    assert dev.MAIN.layers[:2] == ("tools", "torch")


def test_the_demo_needs_no_torch(dev):
    assert "torch" not in dev.ENGINE_LAYERS


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "examples:"),
        (["demo", "--help"], 0, "--image"),
        ([], 2, "COMMAND"),
        (["dance"], 2, "invalid choice"),
        (["setup", "nonsense"], 2, "unknown layer"),
        (["bench", "nonsense"], 2, "no benchmark"),
    ],
)
def test_words_and_exit_codes(arguments, status, words, tmp_path):
    command = [sys.executable, ROOT / "dev.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == status
    assert words in done.stdout + done.stderr


def test_other_pythons_variables_are_not_handed_on(dev, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.sep + "elsewhere")
    assert "PYTHONPATH" not in dev.clean_environment()
    assert dev.clean_environment(ONE="1")["ONE"] == "1"


def test_summary_speaks_like_pytest(dev, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip('x')\n"
    )
    report = tmp_path / "report.xml"
    pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", tmp_path]
    status = subprocess.run(pytest_command, capture_output=True, cwd=tmp_path).returncode
    assert dev.summary(report, status).startswith("1 failed, 1 passed, 1 skipped in")
    assert "did not finish" in dev.summary(tmp_path / "none.xml", 139)


def test_a_folder_of_torch_wheels_is_searched_as_one(dev, tiny, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(dev, "run_step", lambda title, command, log: commands.append([str(part) for part in command]))
    dev.install_torch(["pip"], "torch", tmp_path / "log", str(tmp_path))
    dev.install_torch(["pip"], "torch", tmp_path / "log", "https://example.org/cpu")
    assert commands[0][-2:] == ["--find-links", str(tmp_path)]
    assert commands[1][-2:] == ["--extra-index-url", "https://example.org/cpu"]


def test_the_demo_leaves_a_blend_an_overlay_and_a_report(dev, tmp_path, monkeypatch, capfd):
    """All of it but the setting up, in the environment that runs the tests."""
    if importlib.util.find_spec("skimage") is None or importlib.util.find_spec("bpy") is None:
        pytest.skip("The demo's layers are not installed: run `python dev.py setup`.")
    monkeypatch.setattr(dev, "MAIN", dev.Environment(Path(sys.prefix), ()))
    monkeypatch.setattr(dev, "set_up", lambda layers: None)
    status = dev.main(["demo", "--out", str(tmp_path)])
    out, err = capfd.readouterr()
    assert status == 0, out + err
    for ending in dev.DEMO_RESULTS.values():
        path = tmp_path / f"astronaut.{ending}"
        assert path.stat().st_size > 0
        assert str(path) in out
