# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a real child process: it says Hello, keeps its stream clean, can be stopped, and never outlives us."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recover_body import __version__
from recover_body.wire import codec, messages
from recover_body.wire.messages import Cancel, Failure, Hello, Progress, RecoverRequest, Recovery, Shutdown

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
"""How long a test waits before it says that nothing came; far above what anything takes."""


class Engine:
    """A child process and its conversation."""

    def __init__(self, mischief="", command=(str(ROOT / "engine" / "launch.py"), "serve"), **popen):
        environment = {**os.environ, "RECOVER_BODY_FAKE": mischief}
        environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            **popen,
        )
        self._watch = threading.Timer(PATIENCE_S, self.process.kill)
        self._watch.start()

    def send(self, message):
        codec.write_message(self.process.stdin, message)

    def receive(self):
        return codec.read_message(self.process.stdout)

    def answer(self):
        """The next message that is no Progress."""
        while isinstance(message := self.receive(), Progress):
            pass
        return message

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def close(self):
        self._watch.cancel()
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):  # unsent bytes for a process that has gone
                stream.close()
        self.process.wait()


@pytest.fixture
def start():
    engines = []

    def start(*arguments, **options):
        engines.append(Engine(*arguments, **options))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("Bilder") / "Ein Foto – 写真.png"
    Image.fromarray(np.full((240, 320, 3), 90, np.uint8)).save(path)
    return str(path)


def ask(picture, request_id="1", **fields):
    return RecoverRequest(request_id, picture, backend="fake", **fields)


# ---------------------------------------------------------------------------------------------- the ordinary course


def test_hello_comes_first_and_soon(start):
    started = time.monotonic()
    hello = start().receive()
    took = time.monotonic() - started
    assert isinstance(hello, Hello)
    assert (hello.package_version, hello.protocol) == (__version__, codec.PROTOCOL)
    assert hello.device.split(":")[0] in ("cpu", "cuda", "mps")
    assert [backend.name for backend in hello.backends][-1] == "fake"
    assert all(backend.ready != bool(backend.missing) for backend in hello.backends)
    assert took < 10  # measured 0.4 s; the figure of 2 s belongs to the benchmark


def test_neither_hello_nor_a_fake_recovery_needs_heavy_libraries(start, picture):
    refusing = "import runpy, sys; sys.modules.update(dict.fromkeys(('torch', 'bpy', 'mediapipe')));"
    launching = "sys.argv = ['launch.py', 'serve']; runpy.run_path(LAUNCHER, run_name='__main__')"
    launcher = repr(str(ROOT / "engine" / "launch.py"))
    engine = start(command=("-c", refusing + launching.replace("LAUNCHER", launcher)))
    engine.receive()
    engine.send(ask(picture))
    answer = engine.answer()
    assert isinstance(answer, Recovery), answer


def test_a_request_is_answered_with_progress_and_one_recovery(start, picture):
    engine = start()
    engine.receive()
    engine.send(ask(picture))
    progress = []
    while isinstance(message := engine.receive(), Progress):
        progress.append(message)
    assert isinstance(message, Recovery) and message.request_id == "1"
    assert message.take.source == picture and message.take.backend == "fake"
    assert len(message.rigs) == len(message.take.people) == 1
    assert {p.request_id for p in progress} == {"1"}
    fractions = [p.fraction for p in progress]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] == 1
    assert {"read", "verdict", "rig"} <= {p.stage for p in progress}


def test_a_picture_may_travel_as_bytes(start, picture):
    engine = start()
    engine.receive()
    engine.send(ask("only a name.png", data=Path(picture).read_bytes(), want_rigs=False))
    recovery = engine.answer()
    assert recovery.take.source == "only a name.png" and recovery.take.camera.width == 320
    assert recovery.rigs == ()


def test_several_requests_are_answered_in_order_and_shutdown_ends(start, picture):
    engine = start()
    engine.receive()
    for number in range(4):
        engine.send(ask(picture if number != 2 else "missing.png", str(number)))
    engine.send(Shutdown())
    answers = [engine.answer() for _ in range(4)]
    assert [answer.request_id for answer in answers] == ["0", "1", "2", "3"]
    assert [type(answer) for answer in answers] == [Recovery, Recovery, Failure, Recovery]
    assert engine.receive() is None
    assert engine.wait() == 0


def test_the_same_request_gives_the_same_recovery(start, picture):
    engine = start()
    engine.receive()
    takes = []
    for _ in range(2):
        engine.send(ask(picture))
        takes.append(engine.answer().take)
    assert np.array_equal(takes[0].people[0].pose, takes[1].people[0].pose)


def test_works_from_a_folder_of_any_name(start, picture, tmp_path):
    """As inside Blender, where the extension's folder has another name and nothing is installed."""
    folder = tmp_path / "some extension"
    folder.mkdir()
    for name in ("__init__.py", "wire", "engine", "models"):
        (folder / name).symlink_to(ROOT / name)
    launcher = folder / "engine" / "launch.py"
    engine = start(command=(str(launcher), "serve"), cwd=tmp_path)
    assert isinstance(engine.receive(), Hello)
    engine.send(ask(picture))
    assert isinstance(engine.answer(), Recovery)


# ---------------------------------------------------------------------------------------------- misbehaving libraries


def test_libraries_that_print_do_not_spoil_the_stream(start, picture):
    engine = start("print")
    engine.receive()
    for number in "12":
        engine.send(ask(picture, number))
        assert isinstance(engine.answer(), Recovery)
    engine.send(Shutdown())
    assert engine.receive() is None
    words = engine.process.stderr.read()
    assert b"hello on stdout" in words and b"written in C" in words


@pytest.mark.parametrize("mischief, code", [
    ("fault", "internal_error"), ("memory", "out_of_memory"), ("nobody", "nobody_found"),
])  # fmt: skip
def test_failures_are_answers_and_the_engine_goes_on(start, picture, mischief, code):
    engine = start(mischief)
    engine.receive()
    for number in "12":
        engine.send(ask(picture, number))
        failure = engine.answer()
        assert (failure.request_id, failure.code, failure.exit_code) == (number, code, 1)
        assert failure.sentence.endswith(".") and failure.remedy
    engine.send(Shutdown())
    assert engine.wait() == 0
    assert (b"ZeroDivisionError" in engine.process.stderr.read()) == (mischief == "fault")


@pytest.mark.parametrize("fields, code, exit_code", [
    ({"picture": "missing.png"}, "unreadable_image", 2),
    ({"backend": "nonsense"}, "unknown_backend", 3),
])  # fmt: skip
def test_expected_failures(start, picture, fields, code, exit_code):
    engine = start()
    engine.receive()
    engine.send(RecoverRequest("7", fields.get("picture", picture), backend=fields.get("backend", "fake")))
    failure = engine.answer()
    assert (failure.request_id, failure.code, failure.exit_code) == ("7", code, exit_code)


def test_a_crash_ends_the_stream_without_half_a_message(start, picture):
    engine = start("crash")
    engine.receive()
    engine.send(ask(picture))
    assert engine.answer() is None
    assert engine.wait() != 0


# ---------------------------------------------------------------------------------------------- stopping


def test_cancel_is_answered_within_a_second_and_the_engine_goes_on(start, picture):
    engine = start("slow:30")
    engine.receive()
    engine.send(ask(picture, "1"))
    while engine.receive().stage != "fit":
        pass
    started = time.monotonic()
    engine.send(Cancel("1"))
    failure = engine.answer()
    assert time.monotonic() - started < 1
    assert (failure.request_id, failure.code) == ("1", "cancelled")
    engine.send(ask("missing.png", "2"))
    assert engine.answer().request_id == "2"


def test_a_waiting_request_can_be_cancelled_and_unknown_ones_are_ignored(start, picture):
    engine = start("slow:0.5")
    engine.receive()
    for number in "12":
        engine.send(ask(picture, number))
    for number in ("2", "never heard of"):
        engine.send(Cancel(number))
    answers = [engine.answer(), engine.answer()]
    assert [type(answer) for answer in answers] == [Recovery, Failure]
    assert answers[1].code == "cancelled"
    engine.send(Cancel("1"))  # too late: it has been answered
    engine.send(Shutdown())
    assert engine.receive() is None


@pytest.mark.parametrize("mischief", ["", "slow:30", "hang"])
def test_it_ends_when_its_parent_goes(start, picture, mischief):
    """Idle, working, or stuck in native code."""
    engine = start(mischief)
    engine.receive()
    if mischief:
        engine.send(ask(picture))
        while engine.receive().stage != "detect":
            pass
    started = time.monotonic()
    engine.process.stdin.close()
    engine.wait()
    assert time.monotonic() - started < 3


def test_it_ends_when_nobody_listens_any_more(start, picture):
    engine = start("slow:30")
    engine.receive()
    engine.process.stdout.close()
    engine.send(ask(picture))
    assert engine.wait() == 0


# ---------------------------------------------------------------------------------------------- bad conversation


@pytest.mark.parametrize("data", [
    b"hello?\n", b"\n", codec.encode(Cancel("1")).replace(b'"protocol":1', b'"protocol":99'),
    codec.encode(Cancel("1")).replace(b"Cancel", b"Nonsense"), codec.encode(Failure("1", "a", "b", "c")),
    codec.encode(Cancel("1"))[:-5],
], ids=["words", "empty line", "protocol", "kind", "not for an engine", "truncated"])  # fmt: skip
def test_what_it_does_not_understand_it_says_and_ends(start, data):
    engine = start()
    engine.receive()
    engine.process.stdin.write(data)
    engine.process.stdin.flush()
    engine.process.stdin.close()
    failure = engine.answer()
    assert (failure.request_id, failure.code) == ("", "broken_conversation")
    assert failure.remedy and engine.receive() is None
    assert engine.wait() == 1


def test_a_mismatch_of_versions_is_named(start):
    engine = start()
    engine.receive()
    engine.process.stdin.write(codec.encode(Cancel("1")).replace(b'"protocol":1', b'"protocol":99'))
    engine.process.stdin.flush()
    assert "speaks protocol 99" in engine.answer().sentence


def test_one_name_for_two_requests_is_refused(start, picture):
    engine = start("slow:30")
    engine.receive()
    engine.send(ask(picture))
    engine.send(ask(picture))
    failure = engine.answer()
    assert (failure.request_id, failure.code) == ("", "broken_conversation")
    assert "twice" in failure.sentence


# ---------------------------------------------------------------------------------------------- documentation


def test_the_client_in_the_documentation_works(picture, capsys):
    text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {"LAUNCHER": str(ROOT / "engine" / "launch.py"), "PICTURE": picture}
    exec(example, names)
    assert "100% rig" in capsys.readouterr().out
    names["engine"].stdin.close()
    names["engine"].stdout.close()
    assert names["engine"].returncode == 0


def test_the_documentation_knows_every_message():
    text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    assert [name for name in messages.KINDS if f"| `{name}` |" not in text] == []
