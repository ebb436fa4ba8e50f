# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line as other tools see it: files, exit codes, what is printed where. Runs as a real process."""

import importlib.util
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recover_body import __version__
from recover_body.wire.take import read_take

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(ROOT / "engine" / "launch.py")]
TIMEOUT_S = 120


def environment(mischief=""):
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RECOVER_BODY_BLENDER")}
    return {**kept, "RECOVER_BODY_FAKE": mischief}


def call(*arguments, mischief="", **options):
    options = {"env": environment(mischief), "capture_output": True, "timeout": TIMEOUT_S, **options}
    done = subprocess.run([*COMMAND, *map(str, arguments)], **options)
    done.stdout, done.stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    return done


def recover(*arguments, backend="fake", **options):
    return call("recover", *arguments, "--backend", backend, **options)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "mein Foto – 写真.png"
    Image.fromarray(np.full((240, 320, 3), 90, np.uint8)).save(path)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "Ergebnisse – 結果"


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def events(done):
    return [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]


# ---------------------------------------------------------------------------------------------- files


def test_files_and_report(photo, out):
    done = recover(photo, "--out", out, "--overlay")
    assert done.returncode == 0, done.stderr
    assert names(out) == sorted(f"{photo.stem}.{ending}" for ending in ("take.npz", "report.json", "overlay.png"))

    report = json.loads((out / f"{photo.stem}.report.json").read_text(encoding="utf-8"))
    assert {"source", "backend", "device", "seconds", "camera", "people", "versions", "notes"} <= set(report)
    assert report["source"] == str(photo) and report["backend"] == "fake"
    assert {"read", "recover", "verdict", "overlay", "total"} <= set(report["seconds"])
    camera = report["camera"]
    assert {"fx_px", "fy_px", "cx_px", "cy_px", "width", "height", "source", "fx_sigma"} == set(camera)
    assert (camera["width"], camera["height"], camera["cx_px"], camera["source"]) == (320, 240, 160, "assumed")
    (person,) = report["people"]
    wanted = {"id", "frames", "overlay_iou", "reprojection_px", "reprojection_percent", "inferred_joints"}
    assert wanted <= set(person)
    assert (person["frames"], person["overlay_iou"]) == (1, 1)
    assert "jaw" in person["inferred_joints"] and "left_knee" not in person["inferred_joints"]
    assert report["versions"]["recover-body"] == __version__

    take = read_take(out / f"{photo.stem}.take.npz")
    assert take.source == str(photo) and len(take.people) == 1
    overlay = Image.open(out / f"{photo.stem}.overlay.png")
    assert overlay.width >= 320 and overlay.mode == "RGB"


def test_camera_and_people_options_reach_the_take(photo, out):
    assert recover(photo, "--out", out, "--focal-mm", 25, "--sensor-mm", 18, "--people", 2).returncode == 0
    camera = read_take(out / f"{photo.stem}.take.npz").camera
    assert camera.fx_px[0] == pytest.approx(25 / 18 * 320) and camera.source == "given"
    assert recover(photo, "--out", out, "--focal-px", 444, "--body", "neutral", "--height", 1.8).returncode == 0
    assert read_take(out / f"{photo.stem}.take.npz").camera.fx_px[0] == 444


def test_results_may_lie_beside_the_pictures_and_are_replaced(photo):
    for _ in range(2):
        assert recover(photo.name, "--out", ".", cwd=photo.parent).returncode == 0
    assert names(photo.parent) == sorted([photo.name, f"{photo.stem}.report.json", f"{photo.stem}.take.npz"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_a_name_that_is_no_text(photo, out):
    odd = os.fsencode(photo.parent) + b"/caf\xe9.png"
    os.rename(photo, odd)
    done = subprocess.run(
        [*COMMAND, "recover", odd, "--out", str(out), "--backend", "fake", "--json"], env=environment(),
        capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(names(out)) == 2


# ---------------------------------------------------------------------------------------------- what is printed


def test_in_a_pipe_single_lines(photo, out):
    done = recover(photo, "--out", out)
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert "\r" not in done.stdout and f"{photo}: read" in lines
    assert len(lines) == len(set(lines)) < 20
    assert any("IoU 1.00" in line and "1 person" in line for line in lines)
    assert any(line.strip() == str(out / f"{photo.stem}.take.npz") for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_a_bar(photo, out):
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "recover", str(photo), "--out", str(out), "--backend", "fake"],
        stdout=theirs, stderr=theirs, env={**environment(), "COLUMNS": "70"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux's way of saying that the other end was closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(TIMEOUT_S) == 0
    drawn = shown.decode().split("\r")
    assert any(line.startswith("[###") for line in drawn)
    assert all(len(line.rstrip("\n")) < 70 for line in drawn if line.startswith("["))


def test_json_events(photo, out):
    done = recover(photo, "missing.jpg", "--out", out, "--json", mischief="print")
    told = events(done)
    kinds = [event["event"] for event in told]
    assert kinds[0] == "started" and kinds[-1] == "end" and done.returncode == 2 == told[-1]["exit_code"]
    assert {"stage", "fraction", "eta_s", "detail", "source"} <= set(told[kinds.index("progress")])
    good, bad = told[kinds.index("done")], told[kinds.index("failed")]
    assert good["source"] == str(photo) and all(Path(path).exists() for path in good["files"])
    assert good["report"]["people"][0]["overlay_iou"] == 1
    assert (bad["source"], bad["code"], bad["exit_code"]) == ("missing.jpg", "unreadable_image", 2)
    assert bad["sentence"] and bad["remedy"]


def test_what_libraries_print_is_kept_back_until_something_fails(photo, out):
    assert recover(photo, "--out", out, mischief="print").stderr == ""
    done = recover(photo, "--out", out, mischief="fault")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr and "Traceback" in done.stderr


def test_an_old_terminal_encoding_does_no_harm(photo, out):
    done = recover(photo, "--out", out, env={**environment(), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize("mischief, status", [("nobody", 1), ("memory", 1), ("fault", 1)])
def test_failures_leave_nothing_behind(photo, out, mischief, status):
    done = recover(photo, "--out", out, "--overlay", mischief=mischief)
    assert done.returncode == status
    assert names(out) == []
    assert photo.name in done.stderr


def test_min_iou(photo, out):
    assert recover(photo, "--out", out, "--min-iou", 0.99).returncode == 0
    done = recover(photo, "--out", out, "--min-iou", 0.5, mischief="outside")
    assert done.returncode == 1 and "wanted is 0.5" in done.stderr
    assert len(names(out)) == 2  # written all the same, to be looked at
    assert recover(photo, "--out", out, mischief="outside").returncode == 0


def test_several_inputs_go_on_after_a_failure_and_return_the_worst_code(photo, out):
    (photo.parent / "broken.jpg").write_bytes(b"no picture")
    second = photo.with_name("second.png")
    second.write_bytes(photo.read_bytes())
    done = recover(photo.with_name("broken.jpg"), photo, second, "--out", out)
    assert done.returncode == 2 and "broken.jpg" in done.stderr
    assert len(names(out)) == 4


@pytest.mark.parametrize("arguments, words", [
    ([], "VERB"), (["nonsense"], "invalid choice"), (["recover"], "INPUT"), (["recover", "a.jpg"], "--out"),
    (["recover", "a.jpg", "--out", "o", "--people", "0"], "largest"),
    (["recover", "a.jpg", "--out", "o", "--people", "²"], "largest"),
    (["recover", "a.jpg", "--out", "o", "--focal-mm", "-1"], "number from"),
    (["recover", "a.jpg", "--out", "o", "--focal-mm", "nan"], "number from"),
    (["recover", "a.jpg", "--out", "o", "--focal-px", "inf"], "number from"),
    (["recover", "a.jpg", "--out", "o", "--focal-px", "900", "--focal-mm", "50"], "not allowed"),
    (["recover", "a.jpg", "--out", "o", "--sensor-mm", "36"], "--focal-mm"),
    (["recover", "a.jpg", "--out", "o", "--min-iou", "2"], "number from"),
    (["recover", "a.jpg", "--out", "o", "--body", "robot"], "There is no body"),
    (["recover", "a.jpg", "--out", "o", "--blender", "b"], "--blend"),
])  # fmt: skip
def test_wrong_usage(arguments, words, tmp_path):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""
    assert names(tmp_path) == []


def test_inputs_of_one_name_are_refused_before_work_begins(photo, out):
    other = photo.parent / "other" / photo.with_suffix(".jpg").name
    for inputs in ((photo, other), (photo, photo)):
        done = recover(*inputs, "--out", out)
        assert done.returncode == 2 and "Several inputs are called" in done.stderr
        assert names(out) == []


def test_a_result_never_replaces_an_input(photo):
    picture = photo.rename(photo.with_name("a.png"))
    overlay = photo.with_name("a.overlay.png")
    overlay.write_bytes(picture.read_bytes())
    done = recover(picture, overlay, "--out", picture.parent, "--overlay")
    assert done.returncode == 2 and "replace the input" in done.stderr


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_output_that_cannot_be_written(photo, tmp_path, place):
    (tmp_path / "file").touch()
    done = recover(photo, "--out", tmp_path / place)
    assert done.returncode == 2 and "Nothing can be written into" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that nobody may write into")
def test_output_in_a_read_only_place(photo):
    done = recover(photo, "--out", "/proc/recover-body")
    assert done.returncode == 2 and "Nothing can be written into" in done.stderr


def test_a_folder_in_the_place_of_a_result(photo, out):
    (out / f"{photo.stem}.report.json").mkdir(parents=True)
    done = recover(photo, "--out", out)
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert not [name for name in names(out) if name.startswith(".")]


def test_missing_things_are_3(photo, out):
    done = recover(photo, "--out", out, backend="nonsense")
    assert done.returncode == 3 and "doctor" in done.stderr
    done = recover(photo, "--out", out, "--blend", "--blender", photo)
    assert done.returncode == 3 and "not a Blender" in done.stderr
    assert names(out) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(photo, out, number, status):
    process = subprocess.Popen(
        [*COMMAND, "recover", str(photo), "--out", str(out), "--backend", "fake"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment("slow:30"),
        # Shells start what they put in the background deaf to SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while b"fit" not in process.stdout.readline():
        pass
    started = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == status and time.monotonic() - started < 3
    assert b"Traceback" not in stderr and names(out) == []


# ---------------------------------------------------------------------------------------------- the other verbs


def test_help_and_version():
    done = call("--help")
    assert done.returncode == 0 and "examples:" in done.stdout and "recover" in done.stdout
    done = call("recover", "--help")
    assert done.returncode == 0 and "--min-iou" in done.stdout and "exit codes" in done.stdout
    assert call("--version").stdout.strip() == f"recover-body {__version__}"


def test_doctor_in_words_and_json():
    ready = importlib.util.find_spec("mediapipe") is not None
    done = call("doctor")
    assert done.returncode == (0 if ready else 3), done.stderr
    assert "landmarks" in done.stdout and "numpy" in done.stdout
    done = call("doctor", "--json")
    told = json.loads(done.stdout)
    assert told["ready"] is ready and told["version"] == __version__
    assert [backend["name"] for backend in told["backends"]][-1] == "fake"
    assert all(backend["ready"] != bool(backend["missing"]) for backend in told["backends"])


@pytest.mark.parametrize("package", ["mediapipe", "cv2", "PIL", "numpy"])
def test_what_is_missing_is_named_and_is_3(tmp_path, photo, package):
    """An engine environment without one of its packages, which an import hook plays here."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules['{package}'] = None\n")
    without = {**environment(), "PYTHONPATH": str(tmp_path)}
    for arguments in (["doctor"], ["recover", photo, "--out", tmp_path / "out", "--json"]):
        done = call(*arguments, env=without)
        assert done.returncode == 3, done.stderr
        assert package in done.stdout + done.stderr and "dev.py setup" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert names(tmp_path / "out") == []


def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen([*COMMAND, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(TIMEOUT_S)


def test_the_documentation_knows_every_verb_option_event_and_file():
    from recover_body.engine import __main__, console

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    (verbs,) = (action for action in __main__.make_parser()._actions if hasattr(action, "choices") and action.choices)
    for name, parser in verbs.choices.items():
        assert f"## {name}" in text
        if name in ("recover", "doctor"):
            options = [option for action in parser._actions for option in action.option_strings]
            assert [o for o in options if o.startswith("--") and o != "--help" and o not in text] == []
    for event in re.findall(r"_say\(\s*\"(\w+)\"", inspect.getsource(console)):
        assert f"`{event}`" in text


# ---------------------------------------------------------------------------------------------- the built-in backend


@pytest.mark.parametrize("name", ["barbell_lunge", "dancing", "yoga_boxed"])
def test_real_photographs(name, shared, out):
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("The built-in backend needs mediapipe==0.10.21: run `python dev.py setup`.")
    picture = shared(f"fixtures/images/{name}.jpg")
    done = call("recover", picture, "--out", out, "--overlay", "--min-iou", 0.65, "--backend", "landmarks")
    assert done.returncode == 0, done.stderr
    report = json.loads((out / f"{name}.report.json").read_text(encoding="utf-8"))
    assert report["backend"] == "landmarks"
    assert report["people"][0]["reprojection_percent"] <= 3
