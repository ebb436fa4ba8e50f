# SPDX-License-Identifier: GPL-3.0-or-later
"""The client with a real engine in a real child process, which the `fake` backend makes behave and misbehave."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from recover_body.addon.client import EngineClient
from recover_body.wire import codec
from recover_body.wire.messages import Failure, Hello, Progress, RecoverRequest, Recovery

from ..conftest import ROOT

PYTHON = os.environ.get("RECOVER_BODY_ENGINE_PYTHON", sys.executable)
COMMAND = (PYTHON, "-s", "-u", str(ROOT / "engine" / "launch.py"), "serve")
PATIENCE_S = 60.0


@pytest.fixture
def connect():
    clients = []

    def make(mischief="", command=COMMAND, **options) -> EngineClient:
        clients.append(EngineClient(command, environment={"RECOVER_BODY_FAKE": mischief}, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def write_picture(path):
    """A grey PNG, written with nothing but the standard library."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height = 160, 120
    rows = b"".join(b"\0" + b"\x80" * (3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.fixture
def request_for(tmp_path):
    picture = write_picture(tmp_path / "Ünser Foto.png")

    def make(name="one", **options) -> RecoverRequest:
        return RecoverRequest(name, str(picture), backend="fake", **options)

    return make


def poll_until(client, found, seconds=PATIENCE_S):
    """Poll as an interface does; the longest single poll is returned too."""
    messages, longest, deadline = [], 0.0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        started = time.perf_counter()
        messages += client.poll()
        longest = max(longest, time.perf_counter() - started)
        if any(found(m) for m in messages):
            return messages, longest
        time.sleep(0.01)
    raise AssertionError(f"nothing of the kind within {seconds} s, only {[type(m).__name__ for m in messages]}")


def test_polling_brings_hello_progress_and_the_recovery(connect, request_for):
    client = connect()
    client.submit(request_for())
    messages, _ = poll_until(client, lambda m: isinstance(m, Recovery))
    kinds = [type(m) for m in messages]
    assert kinds[0] is Hello and kinds[-1] is Recovery and Progress in kinds
    assert client.hello.pid == client.pid
    assert messages[-1].request_id == "one" and len(messages[-1].rigs) == 1


def test_waiting_gives_the_same_as_polling(connect, request_for):
    client = connect()
    stages = []
    client.submit(request_for("waited"))
    waited = client.wait("waited", PATIENCE_S, lambda progress: stages.append(progress.stage))
    client.submit(request_for("polled"))
    polled = poll_until(client, lambda m: isinstance(m, Recovery))[0][-1]
    assert np.array_equal(waited.take.people[0].pose, polled.take.people[0].pose)
    assert stages


def test_polling_returns_at_once_while_the_engine_works(connect, request_for):
    client = connect("slow:1")
    client.submit(request_for(want_rigs=False))
    _, longest = poll_until(client, lambda m: isinstance(m, Recovery))
    assert longest < 0.2


def test_a_picture_larger_than_the_pipe_does_not_block(connect, request_for, tmp_path):
    client = connect()
    data = write_picture(tmp_path / "p.png").read_bytes() + bytes(20 << 20)
    started = time.perf_counter()
    client.submit(request_for(data=data))
    assert time.perf_counter() - started < 0.5
    assert isinstance(client.wait("one", PATIENCE_S), Recovery | Failure)


def test_a_library_that_prints_does_no_harm(connect, request_for):
    client = connect("print")
    client.submit(request_for())
    assert isinstance(client.wait("one", PATIENCE_S), Recovery)


def test_several_requests_are_answered_in_order_and_not_mixed_up(connect, request_for):
    client = connect()
    for name in ("a", "b", "c"):
        client.submit(request_for(name))
    assert client.wait("b", PATIENCE_S).request_id == "b"
    messages, _ = poll_until(client, lambda m: isinstance(m, Recovery) and m.request_id == "c")
    rest = [getattr(m, "request_id", "") for m in messages]
    assert "a" in rest and "b" not in rest


def test_cancel_is_quick_and_the_engine_lives_on(connect, request_for):
    client = connect("slow:30")
    client.submit(request_for())
    poll_until(client, lambda m: isinstance(m, Progress))
    pid, started = client.pid, time.monotonic()
    client.cancel("one")
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "cancelled" and time.monotonic() - started < 1.0
    assert client.pid == pid


def test_cancelling_one_that_waits_its_turn_leaves_the_other_alone(connect, request_for):
    client = connect("slow:1", cancel_timeout_s=0.1)
    client.submit(request_for("first"))
    client.submit(request_for("second"))
    client.cancel("second")
    assert client.wait("second", PATIENCE_S).code == "cancelled"
    assert isinstance(client.wait("first", PATIENCE_S), Recovery)


def test_a_hung_engine_is_ended_and_the_next_request_starts_another(connect, request_for):
    client = connect("hang", cancel_timeout_s=0.5)
    client.submit(request_for())
    poll_until(client, lambda m: isinstance(m, Progress) and m.stage == "detect")
    pid = client.pid
    client.cancel("one")
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "cancelled" and not client.is_running
    client._environment = {}
    client.submit(request_for("two"))
    assert isinstance(client.wait("two", PATIENCE_S), Recovery)
    assert client.pid != pid


def test_who_waits_behind_a_hung_request_gets_another_engine(connect, request_for):
    client = connect("hang", cancel_timeout_s=0.5)
    client.submit(request_for("stuck"))
    poll_until(client, lambda m: isinstance(m, Progress) and m.stage == "detect")
    client._environment = {}
    client.submit(request_for("next"))
    client.cancel("stuck")
    assert client.wait("stuck", PATIENCE_S).code == "cancelled"
    assert isinstance(client.wait("next", PATIENCE_S), Recovery)


def test_a_timeout_cancels(connect, request_for):
    client = connect("slow:30")
    client.submit(request_for())
    assert client.wait("one", timeout_s=2.0).code == "cancelled"


def test_a_crash_is_a_failure_with_a_remedy_and_the_last_words(connect, request_for):
    client = connect("crash")
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "engine_ended" and "Try again" in answer.remedy
    client._environment = {}
    client.submit(request_for("two"))
    assert isinstance(client.wait("two", PATIENCE_S), Recovery)


def test_the_engines_own_failures_arrive_as_they_are(connect, request_for):
    client = connect("nobody")
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert (answer.code, answer.exit_code) == ("nobody_found", 1)


def test_a_command_that_does_not_exist(connect, request_for):
    client = connect(command=("no-such-program-anywhere", "serve"))
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "engine_not_found" and answer.exit_code == 3 and "preferences" in answer.remedy


def script(text):
    return (PYTHON, "-c", text)


def test_a_command_that_is_no_engine_and_says_why(connect, request_for):
    client = connect(command=script("import sys; sys.exit('ModuleNotFoundError: numpy is missing')"))
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "engine_ended" and "numpy is missing" in answer.remedy


def test_a_command_that_prints_something_else(connect, request_for):
    client = connect(command=script("print('Welcome!'); import time; time.sleep(60)"))
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "engine_garbled" and not client.is_running


def test_a_silent_engine(connect, request_for):
    client = connect(command=script("import time; time.sleep(60)"), hello_timeout_s=0.5)
    client.submit(request_for())
    assert client.wait("one", PATIENCE_S).code == "engine_silent" and not client.is_running


def test_an_engine_of_another_protocol(connect, request_for):
    header = '{"kind":"Hello","protocol":99,"fields":{},"arrays":[]}'
    client = connect(command=script(f"print('{header}', flush=True); import time; time.sleep(60)"))
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "version_mismatch" and "Update" in answer.remedy


def test_what_another_version_says_and_nobody_understands_is_blamed_on_the_versions(connect, request_for):
    hello = codec.encode(Hello(package_version="0.0.1", device="cpu", backends=(), pid=1))
    strange = b'{"kind":"Progress","protocol":1,"fields":{"request_id":"one","tea":1},"arrays":[]}\n'
    say = f"import sys, time; sys.stdout.buffer.write({hello + strange!r}); sys.stdout.flush(); time.sleep(60)"
    client = connect(command=script(say))
    client.submit(request_for())
    answer = client.wait("one", PATIENCE_S)
    assert answer.code == "version_mismatch" and "0.0.1" in answer.remedy and "update" in answer.remedy


def test_an_engine_of_another_version_is_mentioned(connect, request_for):
    client = connect()
    client.submit(request_for())
    client.wait("one", PATIENCE_S)
    assert client.version_note == ""
    from dataclasses import replace

    client.hello = replace(client.hello, package_version="0.0.1")
    assert "0.0.1" in client.version_note


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    status = f"/proc/{pid}/stat"
    return not os.path.exists(status) or open(status).read().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for_end(pid, seconds=5.0):
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


@pytest.mark.parametrize("mischief", ["", "hang"])
def test_closing_ends_the_engine(connect, request_for, mischief):
    client = connect(mischief)
    client.submit(request_for())
    poll_until(client, lambda m: isinstance(m, Hello))
    pid = client.pid
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 4.0
    assert wait_for_end(pid)
    client.close()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_the_engine_does_not_outlive_a_killed_parent(tmp_path):
    text = (
        "import importlib, os, sys, time\n"
        f"import runpy; runpy.run_path({str(ROOT / 'engine' / 'launch.py')!r})['load_package']()\n"
        "client = importlib.import_module('recover_body.addon.client').EngineClient(sys.argv[1:])\n"
        "client.start()\n"
        "while client.hello is None: client.poll(); time.sleep(0.01)\n"
        "print(client.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([PYTHON, "-c", text, *COMMAND], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    assert wait_for_end(pid)
