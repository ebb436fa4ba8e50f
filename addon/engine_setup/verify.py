# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the engine as it was installed, and does it answer?

Every package carries a RECORD with the hash of each of its files. The installation notes the hash of every RECORD; so
one altered byte, wherever, is found, and it is known which package to install again.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import queue
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ... import __version__
from .errors import EngineDamaged
from .options import PACKAGE_ROOT, Layer
from .places import Record, python_of, site_packages
from .process import clean_environment, run_watched
from .report import Report

_HELLO_S = 120.0  # the first start compiles every module, perhaps on a slow disk, under a virus scanner
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Damage:
    """A package that is not as it was installed."""

    package: str
    """name==version, as pip takes it."""
    sentence: str


def fingerprints(environment: Path) -> dict[str, str]:
    """Metadata folder of each installed package -> sha256 of its RECORD."""
    found = sorted(site_packages(environment).glob("*.dist-info/RECORD"))
    return {record.parent.name: hashlib.sha256(record.read_bytes()).hexdigest() for record in found}


def damages(environment: Path, record: Record, on_progress: Callable[[float], None]) -> list[Damage]:
    """Compare every installed file with its hash."""
    packages, found = site_packages(environment), []
    for number, (folder, expected) in enumerate(sorted(record.distributions.items())):
        on_progress(number / len(record.distributions))
        name, version = folder.removesuffix(".dist-info").split("-")[:2]
        requirement = f"{name}=={version}"
        path = packages / folder / "RECORD"
        try:
            content = path.read_bytes()
        except OSError:
            found.append(Damage(requirement, f"{name} is missing."))
            continue
        if hashlib.sha256(content).hexdigest() != expected:
            found.append(Damage(requirement, f"The list of files of {name} was altered."))
            continue
        wrong = [line[0] for line in csv.reader(content.decode("utf-8").splitlines()) if not _is_whole(packages, line)]
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            found.append(Damage(requirement, f"{wrong[0]}{more} of {name} was altered or is missing."))
    return found


def _is_whole(packages: Path, line: list[str]) -> bool:
    """Whether the file of a RECORD's line (path, algorithm=hash, size) is as it says; lines without a hash pass."""
    path, told = packages / line[0], line[1] if len(line) > 1 else ""
    algorithm, _, expected = told.partition("=")
    if not expected:
        return True
    try:
        if line[2] and path.stat().st_size != int(line[2]):
            return False
        hasher = hashlib.new(algorithm)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
    except OSError:
        return False
    return base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode() == expected


def check_imports(environment: Path, layers: tuple[Layer, ...], report: Report) -> None:
    """Import what each layer is for, in its Python. Raises EngineDamaged."""
    modules = [module for layer in layers for module in layer.imports]
    program = f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)"
    status, words = run_watched([*_python(environment), "-c", program], report)
    if status != 0:
        last = words.splitlines()[-1] if words else f"status {status}"
        raise EngineDamaged(f"The engine's packages do not load: {last}.")


def torch_devices(environment: Path, report: Report) -> str:
    """What the installed torch can use besides the processor: cuda, mps or ""."""
    program = (
        "import torch; print('cuda' if torch.cuda.is_available() else "
        "'mps' if torch.backends.mps.is_available() else '')"
    )
    status, words = run_watched([*_python(environment), "-c", program], report)
    return words.splitlines()[-1].strip() if status == 0 and words else ""


def serve_command(environment: Path) -> tuple[str, ...]:
    """What starts the engine of this add-on in that environment."""
    return (*_python(environment), str(PACKAGE_ROOT / "engine" / "launch.py"), "serve")


def _python(environment: Path) -> tuple[str, ...]:
    """Its Python, which keeps compiled modules in the environment: those of the add-on must not land beside them."""
    return (str(python_of(environment)), "-s", "-u", "-X", f"pycache_prefix={environment / 'compiled'}")


def handshake(command: tuple[str, ...], report: Report) -> dict:
    """Start the engine and take its Hello, as plain values (device, backends, …). Raises EngineDamaged."""
    report.log(f"$ {' '.join(command)}")
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    words: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=lambda: words.put(process.stdout.readline()), daemon=True).start()
    threading.Thread(
        target=lambda: [report.log(f"  {line.decode(errors='replace').rstrip()}") for line in process.stderr],
        daemon=True,
    ).start()
    try:
        hello = json.loads(_first_line(words, report))
    except ValueError:
        raise EngineDamaged("The engine ended before it said anything; the set-up's log has its words.") from None
    finally:
        process.stdin.close()  # it ends itself then
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    told = hello.get("fields", {})
    if hello.get("kind") != "Hello" or told.get("package_version") != __version__:
        raise EngineDamaged(f"The engine is not of this add-on's version, {__version__}.")
    return told


def _first_line(words: queue.SimpleQueue[bytes], report: Report) -> bytes:
    for _ in range(int(_HELLO_S / 0.1)):
        report.check()
        try:
            return words.get(timeout=0.1)
        except queue.Empty:
            continue
    raise EngineDamaged(f"The engine said nothing for {_HELLO_S:.0f} seconds.")
