# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's set-up, really done: environments are made, killed on the way, taken up, damaged, mended and removed.

Kept small: the pinned lists are replaced by two of ours, and packages come from a folder; what the engine needs is lent
by the Python that runs this. The engine that is started at the end is the real one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recover_body.addon.engine_setup import errors, installer, options, state, torch_build
from recover_body.addon.engine_setup.bundle import make_bundle
from recover_body.addon.engine_setup.options import Accelerator, Layer, SetupOptions
from recover_body.addon.engine_setup.places import Places, read_record, site_packages
from recover_body.addon.engine_setup.report import Report
from recover_body.addon.engine_setup.state import State, look

from ..conftest import ROOT
from .test_client import wait_for_end
from .wheels import lend_packages, make_wheel

SCRIPT = ROOT / "blender_scripts" / "setup_engine.py"


@pytest.fixture(scope="module", autouse=True)
def small_layers():
    """The same two layers, with less in them."""
    patch = pytest.MonkeyPatch()
    base = Layer("base", "Engine", ("numpy",))
    torch = Layer("torch", "Torch", ("toytorch",), resolves=True)
    for module in (options, torch_build):
        patch.setattr(module, "TORCH", torch)
    patch.setattr(options, "BASE", base)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder of wheels, and pinned lists that ask for them."""
    folder = tmp_path_factory.mktemp("sources")
    make_wheel(folder / "wheels", "toytorch", "1.0", {"toytorch.py": b"value = 1\n"})
    lend_packages(folder / "wheels", "lender", "1.0")
    write_lists(folder / "lists", "toytorch==1.0", "lender==1.0")
    return folder


def write_lists(folder, torch, base):
    folder.mkdir(exist_ok=True)
    (folder / "torch.txt").write_text(torch + "\n")
    (folder / "base.txt").write_text(base + "\n")
    return folder


@pytest.fixture(scope="module")
def chosen(sources):
    return SetupOptions(
        accelerator=Accelerator.CPU,
        python=sys._base_executable,
        find_links=str(sources / "wheels"),
        offline=True,
        requirements=sources / "lists",
    )


def report_of(places, told=None):
    return Report(places.log, lambda fraction, text: told.append((fraction, text)) if told is not None else None)


def test_the_life_of_an_engine(tmp_path, sources, chosen, monkeypatch):
    """Killed, resumed, damaged, mended, badly upgraded, well upgraded from an offline bundle, and removed."""
    monkeypatch.setenv("RECOVER_BODY_DATA", str(tmp_path / "data"))
    places = Places(tmp_path / "data" / "engine")
    lists = chosen.requirements
    weights = tmp_path / "data" / "models" / "tokenhmr" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"mine")
    assert look(places, lists).state is State.ABSENT and state.ACTIONS[State.ABSENT] == ("install",)

    # Killed when the first layer lies there, as by a power cut: nothing can say goodbye.
    child = subprocess.Popen(
        [sys.executable, SCRIPT, "install", "--json", *as_arguments(chosen)], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: any(read_record(folder).python for folder in places.others()), child)
    assert look(places, lists).state is State.WORKING, "also as seen from another process"
    with pytest.raises(errors.SetupBusy):
        installer.verify(places, report_of(places))
    child.kill()
    child.wait()
    wait_until(lambda: look(places, lists).state is State.INTERRUPTED)
    (begun,) = places.others()
    assert read_record(begun).state == "incomplete" and places.current() is None

    # Taken up in the same folder.
    told = []
    record = installer.install(chosen, places, report := report_of(places, told))
    assert places.current() == begun and record.layers == ("torch", "base") and record.state == "complete"
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and any("MB" in text for _, text in told)
    if torch_build._default_brings_cuda():
        assert "toytorch==1.0 for the processor alone" in report.notes[0], "the +cpu build was asked for first"
    assert f"resuming {begun.name}" in places.log.read_text("utf-8")
    assert look(places, lists).state is State.READY
    installer.verify(places, report_of(places))

    # One byte of one file.
    package = site_packages(begun) / "toytorch.py"
    package.write_bytes(b"value = 2\n")
    with pytest.raises(errors.EngineDamaged, match=r"toytorch\.py of toytorch was altered"):
        installer.verify(places, report_of(places))
    assert look(places, lists).state is State.DAMAGED and "repair" in state.ACTIONS[State.DAMAGED]
    installer.repair(chosen, places, report_of(places))
    assert package.read_bytes() == b"value = 1\n" and look(places, lists).state is State.READY
    assert places.current() == begun, "mended, not made anew"

    # An upgrade that fails leaves the old one in use, whether a package is missing …
    newer = replace(chosen, requirements=write_lists(sources / "newer", "toytorch==2.0", "lender==1.0"))
    assert look(places, newer.requirements).state is State.OUTDATED
    with pytest.raises(errors.NotInSources, match=r"toytorch==2\.0"):
        installer.install(newer, places, report_of(places))
    # … or everything is there and does not work. Packages come from a bundle now, and from nowhere else.
    moody = b"import os\nif 'NO_CARD' in os.environ:\n    raise ImportError('no card')\n"
    make_wheel(sources / "wheels", "toytorch", "2.0", {"toytorch.py": moody})
    bundle = make_bundle(tmp_path / "bundle.zip", Accelerator.CPU, newer, places, report_of(places))
    bundled = replace(newer, find_links=str(tmp_path / "nowhere"), bundle=str(bundle))
    monkeypatch.setenv("NO_CARD", "1")
    with pytest.raises(errors.EngineDamaged, match="no card"):
        installer.install(bundled, places, report_of(places))
    monkeypatch.delenv("NO_CARD")
    assert places.current() == begun and package.read_bytes() == b"value = 1\n"
    status = look(places, lists)
    assert status.state is State.READY and "no card" in status.unfinished.failure

    # One that succeeds takes its place, and clears up.
    assert installer.install(bundled, places, report_of(places)).accelerator == "cpu"
    assert places.current() != begun and not begun.exists() and not places.others()
    assert look(places, newer.requirements).state is State.READY

    # A damaged bundle, or one for another kind of machine, changes nothing.
    damaged = bytearray(bundle.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(errors.UnusableBundle):
        installer.install(replace(bundled, bundle=str(tmp_path / "damaged.zip")), places, report_of(places))
    with monkeypatch.context() as other, pytest.raises(errors.UnusableBundle, match="abacus"):
        other.setattr("platform.machine", lambda: "abacus")
        installer.install(bundled, places, report_of(places))
    assert look(places, newer.requirements).state is State.READY

    assert installer.uninstall(places, report_of(places)) > 5
    assert look(places, lists).state is State.ABSENT and not places.root.exists()
    assert weights.read_bytes() == b"mine"


def as_arguments(chosen):
    return [
        *("--accelerator", chosen.accelerator.value, "--python", chosen.python, "--offline"),
        *("--find-links", chosen.find_links, "--requirements", str(chosen.requirements)),
    ]


def wait_until(happened, child=None, limit_s=180):
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline and (child is None or child.poll() is None), "it did not happen"
        time.sleep(0.02)


def test_a_python_that_is_none(tmp_path, chosen):
    places = Places(tmp_path / "engine")
    with pytest.raises(errors.NoPython, match="nowhere"):
        installer.install(replace(chosen, python="/nowhere/python"), places, report_of(places))
    assert "nowhere" in look(places, chosen.requirements).sentence


def test_cancelling_and_the_end_of_blender(tmp_path, chosen):
    """When stdin ends, because Blender asked or has gone, the child and its pip end too."""
    places = Places(tmp_path / "data" / "engine")
    child = subprocess.Popen(
        [sys.executable, SCRIPT, "install", "--json", "--watch-stdin", *as_arguments(chosen)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RECOVER_BODY_DATA": str(tmp_path / "data")},
    )
    assert json.loads(child.stdout.readline())["event"] == "progress"
    started = time.monotonic()
    child.stdin.close()
    events = [json.loads(line) for line in child.stdout]
    assert time.monotonic() - started < 3 and child.wait() == 1
    assert events[-1]["event"] == "failure" and events[-1]["code"] == "setup_cancelled"
    assert look(places, chosen.requirements).state is State.INTERRUPTED


@pytest.mark.skipif(os.name == "nt", reason="Signals as on POSIX.")
def test_pip_does_not_outlive_its_parent(tmp_path):
    from recover_body.addon.engine_setup.process import WATCHED

    (tmp_path / "sleeper.py").write_text("import time; print('up', flush=True); time.sleep(60)")
    program = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-u', '-c', sys.argv[1], 'sleeper'], "
        "stdin=subprocess.PIPE); print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, WATCHED], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == "up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_for_end(pid)


def test_exit_codes_and_words(tmp_path):
    def run(*arguments):
        environment = {**os.environ, "RECOVER_BODY_DATA": str(tmp_path)}
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, env=environment)

    assert run("status").returncode == 3 and json.loads(run("status", "--json").stdout)["state"] == "absent"
    assert run("verify").returncode == 3 and "Press Install Engine" in run("verify").stderr
    assert run("fly").returncode == 2
    bundle = run("install", "--bundle", str(tmp_path))
    assert bundle.returncode == 2 and "no offline bundle" in bundle.stderr
    assert "make-bundle" in run("--help").stdout


def test_passwords_stay_out_of_the_log(tmp_path):
    report = Report(tmp_path / "setup.log")
    report.log("--index-url https://ada:geheim@packages.example/simple token=abc123")
    text = (tmp_path / "setup.log").read_text("utf-8")
    assert "geheim" not in text and "abc123" not in text and "packages.example/simple" in text


def test_every_state_offers_something():
    assert set(state.ACTIONS) == set(State) and all(state.ACTIONS.values())


def test_shipped_lists_are_those_of_the_layers():
    for accelerator in Accelerator:
        if accelerator is not Accelerator.AUTO:
            assert len(options.digest(options.REQUIREMENTS, accelerator)) == 64
            assert options.total_mb(accelerator)[1] > 100
    assert options.torch_pin(Path(options.REQUIREMENTS)).startswith("torch==")


def test_the_set_up_needs_only_the_standard_library():
    """It runs in whichever Python there is, before anything is installed."""
    program = f"import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]; sys.argv = ['x', 'status']; \
import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys._base_executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    assert done.returncode in (0, 3) and "engine" in done.stdout, done.stderr
