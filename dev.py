#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything a newcomer or a contributor types, in one script that needs nothing but Python.

It finds a Python 3.11, makes `.venv`, installs the pinned layers of `requirements/`, and then does what was asked.
What is installed already is recognised by a hash, so that the second time costs next to nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
REQUIREMENTS = ROOT / "requirements"
CACHE = ROOT / ".cache"
WINDOWS = os.name == "nt"

OK, FAILED, USAGE, MISSING, INTERRUPTED = 0, 1, 2, 3, 130

EXAMPLES = """\
examples:
  python dev.py demo                           a real photograph becomes a .blend, an overlay picture and a report
  python dev.py demo --image photo.jpg         the same for yours
  python dev.py test                           all tests, on Blender 4.5, 5.0 and 5.2
  python dev.py test --blender 4.5 -- -k wire  some of them; what follows -- goes to pytest
  python dev.py check --fix                    lint, format, types, import boundaries
  python dev.py build                          the extension zip for Blender, validated, in dist/
  python dev.py bench fit                      one benchmark (without a name: lists them)

exit codes: 0 done, 1 something failed, 2 wrong usage, 3 something required is missing
"""

# Per Linux package manager: how to install, and the system libraries that the bpy wheel links to.
SYSTEM_PACKAGES = {
    "apt-get": (
        "sudo apt-get install -y --no-install-recommends",
        "libx11-6 libxrender1 libxxf86vm1 libxfixes3 libxi6 libxkbcommon0 libgomp1 libsm6 libgl1 libegl1",
    ),
    "dnf": (
        "sudo dnf install -y",
        "libX11 libXrender libXxf86vm libXfixes libXi libxkbcommon libgomp libSM libglvnd-glx libglvnd-egl",
    ),
    "pacman": (
        "sudo pacman -S --needed",
        "libx11 libxrender libxxf86vm libxfixes libxi libxkbcommon gcc-libs libsm libglvnd mesa",
    ),
}

TEST_LIMIT_S = 1500  # a bpy process that cannot end must not hold up the caller for ever

# Each test file in one process, with one thread: most tests wait for something, or are too small to be shared out.
SIDE_BY_SIDE = ("-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


class Missing(Exception):
    """Something required is not on this machine: one sentence, and a remedy. Ends with exit code 3."""

    def __init__(self, sentence: str, remedy: str) -> None:
        super().__init__(f"{sentence}\n{remedy}")


@dataclass(frozen=True)
class Environment:
    """A virtual environment of this project and the layers of `requirements/` that may lie in it."""

    folder: Path
    layers: tuple[str, ...]
    """In the order of installation. torch comes first: pinned and alone, before anything could ask for another one."""
    python_version: str = "3.11"
    """The only one that its packages are built for."""

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if WINDOWS else "bin/python")

    def stamp(self, name: str) -> Path:
        return self.folder / "recover-body-layers" / name


MAIN = Environment(
    ROOT / ".venv", ("tools", "torch", "train", "base", "blender", "demo", "onnx", "tests", "dev", "smplx", "package")
)
BLENDER_50 = Environment(ROOT / ".venv-bpy50", ("tools", "blender50", "tests", "package"))
BLENDER_52 = Environment(ROOT / ".venv-bpy52", ("tools", "blender52", "tests", "package"), "3.13")
OTHER_BLENDERS = {"blender50": BLENDER_50, "blender52": BLENDER_52}
"""Layer -> the environment that is made for it alone: one process can hold only one Blender."""

ENGINE_LAYERS = ("tools", "base", "package")
MAIN_LAYERS = ("tools", "torch", "train", "base", "blender", "demo", "onnx", "tests", "dev", "package")
EVERYTHING = (*MAIN_LAYERS, *OTHER_BLENDERS)


# -- progress ---------------------------------------------------------------------------------------------------------


class Steps:
    """Shows what runs: on a terminal one line that is rewritten, in a pipe a line now and then. Thread-safe."""

    QUIET_S = 30.0  # without a terminal, a sign of life this often

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._terminal = sys.stdout.isatty()
        self._shown_s = 0.0

    def start(self, title: str) -> None:
        with self._lock:
            self._running[title] = (time.monotonic(), "")
            if not self._terminal:
                print(f"… {title}", flush=True)

    def update(self, title: str, detail: str) -> None:
        with self._lock:
            self._running[title] = (self._running[title][0], detail)
            self._paint()

    def end(self, title: str, outcome: str) -> None:
        with self._lock:
            started_s, _ = self._running.pop(title)
            self._erase()
            print(f"{outcome} {title} ({time.monotonic() - started_s:.0f} s)", flush=True)

    def _paint(self) -> None:
        now_s = time.monotonic()
        every_s = 0.1 if self._terminal else self.QUIET_S
        if now_s - self._shown_s < every_s:
            return
        self._shown_s = now_s
        line = " | ".join(
            f"{title} {now_s - started_s:.0f} s {detail}" for title, (started_s, detail) in self._running.items()
        )
        if self._terminal:
            self._erase()
            print(line[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        elif now_s - min(started_s for started_s, _ in self._running.values()) >= every_s:
            print(f"  {line}", flush=True)

    def _erase(self) -> None:
        if self._terminal:
            print("\r\033[K", end="")


STEPS = Steps()


def run_step(title: str, command: list, log: Path) -> None:
    """Run `command` with its output in `log` and its last line beside the title; raises `CalledProcessError`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    last_line = ""
    STEPS.start(title)
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=clean_environment(),
        text=True,
        encoding="utf-8",
        errors="replace",
    )

    def read_output() -> None:
        nonlocal last_line
        with log.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if line.strip() and not line.startswith("WARNING"):
                    last_line = line.strip().split(" (from ")[0]

    reader = threading.Thread(target=read_output, daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(timeout=0.2)
            STEPS.update(title, last_line)
        status = process.wait()
    except BaseException:
        process.kill()
        raise
    STEPS.end(title, "✗" if status else "✓")
    if status:
        raise subprocess.CalledProcessError(status, command, output=log.read_text(encoding="utf-8"))


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's variables less those that would bend another Python's imports, plus `extra`."""
    bending = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    kept = {name: value for name, value in os.environ.items() if name not in bending}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", **extra}


# -- finding Pythons --------------------------------------------------------------------------------------------------

# ensurepip is asked for because Debian splits it off: such a Python cannot make a virtual environment.
# The base executable, because the one that runs may lie in the very environment that is to be made anew.
PROBE = "import sys, venv, ensurepip; assert '%d.%d' % sys.version_info[:2] == '{}'; print(sys._base_executable)"

BUILT_FOR = {"3.11": "Blender 4.5 and 5.0 are", "3.13": "Blender 5.2 is"}


def python_candidates(version):
    """Commands that may start a Python of that version, the likeliest first."""
    yield [sys.executable]
    if WINDOWS:
        yield ["py", f"-{version}"]
    for name in (f"python{version}", "python3", "python"):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            if found := shutil.which(name, path=folder):
                yield [found]
    yield from ([str(path)] for path in sorted(Path("/opt/homebrew/bin").glob(f"python{version}")))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from ([str(path)] for path in sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True))
    if uv := shutil.which("uv"):
        found = subprocess.run([uv, "python", "find", version], capture_output=True, text=True).stdout.strip()
        if found:
            yield [found]


def find_python(version: str = "3.11", candidates=None) -> str:
    """The path of a Python of that version that can make virtual environments; raises `Missing`."""
    for command in python_candidates(version) if candidates is None else candidates:
        try:
            probe = subprocess.run(
                [*command, "-c", PROBE.format(version)],
                capture_output=True,
                text=True,
                timeout=60,
                env=clean_environment(),
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if probe.returncode == 0:
            return probe.stdout.strip()
    ways = {
        "Windows": f"  winget install Python.Python.{version}",
        "Darwin": f"  brew install python@{version}",
        "Linux": f"  sudo apt-get install python{version} python{version}-venv     (Debian, Ubuntu)\n"
        f"  sudo dnf install python{version}                         (Fedora)",
    }
    way = ways.get(platform.system(), ways["Linux"])
    raise Missing(
        f"No complete Python {version} was found ({BUILT_FOR[version]} built for exactly this version).",
        f"Install one next to yours, then run this again:\n{way}\n"
        f"  uv python install {version}, or pyenv install {version}       (anywhere)",
    )


def without_absent_pythons(layers: tuple[str, ...]) -> tuple[str, ...]:
    """`layers` less those that need a Python which is not on this machine and which nobody asked for by name."""
    kept = []
    for layer in layers:
        environment = OTHER_BLENDERS.get(layer, MAIN)
        if environment.python_version != MAIN.python_version and not is_usable(environment):
            try:
                find_python(environment.python_version)
            except Missing as missing:
                print(f"Left out {layer}. {str(missing).splitlines()[0]}", flush=True)
                continue
        kept.append(layer)
    return tuple(kept)


# -- setting up -------------------------------------------------------------------------------------------------------


def set_up(layers: tuple[str, ...], torch_index: str | None = None) -> None:
    """Bring the environments to the wanted layers; what is there already costs a hash."""
    environments = [MAIN, *(environment for layer, environment in OTHER_BLENDERS.items() if layer in layers)]
    wanted = [(each, [layer for layer in each.layers if layer in layers]) for each in environments]
    # Side by side: one downloads while the other unpacks.
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        tasks = [pool.submit(set_up_environment, environment, names, torch_index) for environment, names in wanted]
    for task in tasks:
        task.result()


def set_up_environment(environment: Environment, layers: list[str], torch_index: str | None) -> None:
    make_environment(environment)
    for layer in layers:
        digest = layer_digest(layer, torch_index)
        stamp = environment.stamp(layer)
        if stamp.is_file() and stamp.read_text() == digest:
            continue
        stamp.unlink(missing_ok=True)
        install_layer(environment, layer, torch_index)
        if layer.startswith("blender"):
            check_blender_module(environment)
        # Last, so that an interrupted or failed installation is taken up again.
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest)


def make_environment(environment: Environment) -> None:
    stamp = environment.stamp("python")
    if stamp.is_file() and environment.python.exists():
        return
    if not is_usable(environment):
        python = find_python(environment.python_version)
        log = CACHE / "setup" / f"{environment.folder.name}.log"
        run_step(f"{environment.folder.name}", [python, "-m", "venv", "--clear", environment.folder], log)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(environment.python_version)


def is_usable(environment: Environment) -> bool:
    """Whether somebody made this environment already: a Python of its version whose pip answers."""
    if not environment.python.exists():
        return False
    version = environment.python_version
    question = f"import sys; from pip import main; assert '%d.%d' % sys.version_info[:2] == '{version}'"
    asked = subprocess.run([str(environment.python), "-c", question], capture_output=True, env=clean_environment())
    return asked.returncode == 0


def layer_digest(layer: str, torch_index: str | None) -> str:
    """Changes whenever the layer must be installed again."""
    if layer == "package":  # an editable installation remembers where the project lies
        content = (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()
    else:
        content = (REQUIREMENTS / f"{layer}.txt").read_bytes()
    if layer == "torch" and torch_index:
        content += torch_index.encode()
    return hashlib.sha256(content).hexdigest()


def install_layer(environment: Environment, layer: str, torch_index: str | None) -> None:
    pip = [environment.python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    pip += ["--progress-bar", "off"]
    title = f"{environment.folder.name}: {layer}"
    log = CACHE / "setup" / f"{environment.folder.name}-{layer}.log"
    try:
        if layer == "torch":
            install_torch(pip, title, log, torch_index)
        elif layer == "package":
            run_step(title, [*pip, "--no-deps", "--no-build-isolation", "-e", ROOT], log)
        else:
            run_step(title, [*pip, "--no-deps", "-r", REQUIREMENTS / f"{layer}.txt"], log)
    except subprocess.CalledProcessError as failure:
        tail = "\n".join(f"  {line}" for line in failure.output.splitlines()[-8:])
        raise Missing(
            f"Installing the layer '{layer}' failed. The last lines of {log.relative_to(ROOT)}:\n{tail}",
            "Check the network and the free disk space, then run the same command again: it goes on where it stopped.",
        ) from None


def install_torch(pip: list, title: str, log: Path, torch_index: str | None) -> None:
    """The pinned torch in the build that fits this machine.

    pip's default is right beside an NVIDIA card, on macOS and on Windows. On a Linux machine without one the default
    carries gigabytes of CUDA, so the CPU build is asked for first; whether it is found depends on pip's configuration
    or on `--torch-index`.
    """
    command = [*pip, "-r", REQUIREMENTS / "torch.txt"]
    if torch_index:
        is_folder = Path(torch_index).is_dir()
        run_step(title, [*command, "--find-links" if is_folder else "--extra-index-url", torch_index], log)
        return
    if sys.platform == "linux" and platform.machine() == "x86_64" and not has_nvidia_gpu():
        pin = (REQUIREMENTS / "torch.txt").read_text().split()[0]
        try:
            run_step(f"{title} for the CPU", [*command, f"{pin}+cpu"], log)
            return
        except subprocess.CalledProcessError as failure:
            if "No matching distribution found for torch" not in failure.output:
                raise
        print(
            f"pip knows no CPU-only build of {pin}: taking the default one, which brings gigabytes of CUDA libraries.\n"
            "To avoid this, interrupt and name a package index or a folder that has it: --torch-index or\n"
            "RECOVER_BODY_TORCH_INDEX (PyTorch's installation page lists the addresses).",
            flush=True,
        )
    run_step(title, command, log)


def has_nvidia_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True).returncode == 0


def check_blender_module(environment: Environment) -> None:
    """Import bpy once. Raises `Missing` with the install line when a system library is absent."""
    log = CACHE / "setup" / f"{environment.folder.name}-bpy.log"
    # os._exit: an ordinary end of a bpy process can crash or hang.
    question = "import os, sys, bpy; print(bpy.app.version_string); sys.stdout.flush(); os._exit(0)"
    try:
        run_step(f"{environment.folder.name}: starting Blender's module", [environment.python, "-c", question], log)
    except subprocess.CalledProcessError as failure:
        last_line = (failure.output.strip().splitlines() or [f"exit status {failure.returncode}"])[-1]
        raise Missing(f"Blender's Python module does not start: {last_line}", system_remedy()) from None


def system_remedy() -> str:
    if sys.platform != "linux":
        return "Blender's requirements are listed on blender.org/download/requirements."
    known = [tool for tool in SYSTEM_PACKAGES if shutil.which(tool)] or ["apt-get"]
    return "Install the system libraries that it needs:\n  " + " ".join(SYSTEM_PACKAGES[known[0]])


# -- commands ---------------------------------------------------------------------------------------------------------


def run_python(environment: Environment, *arguments, limit_s=None, folder: Path | None = None, **variables: str) -> int:
    """Run the environment's Python in the foreground; the exit status, 124 when the time limit ended it."""
    command = [str(environment.python), *(str(argument) for argument in arguments)]
    sys.stdout.flush()
    try:
        return subprocess.run(command, env=clean_environment(**variables), timeout=limit_s, cwd=folder).returncode
    except subprocess.TimeoutExpired:
        return 124


DEMO_RESULTS = {
    "look first": "overlay.png",
    "open in Blender": "blend",
    "figures": "report.json",
    "everything recovered": "take.npz",
}


def demo(options: argparse.Namespace) -> int:
    set_up((*ENGINE_LAYERS, "blender", "demo"))
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    images = [image.resolve() for image in options.image] or [copy_demo_photograph(out)]
    arguments = ["recover", *images, "--out", out, "--blend", "--overlay"]
    if options.blender:
        arguments += ["--blender", options.blender]
    status = run_python(MAIN, "-m", "recover_body.engine", *arguments)
    for image in images:
        written = {what: out / f"{image.stem}.{ending}" for what, ending in DEMO_RESULTS.items()}
        if any(path.exists() for path in written.values()):
            print(f"\n{image.name}")
        for what, path in written.items():
            if path.exists():
                print(f"  {what + ':':22}{path}")
    return status


def copy_demo_photograph(out: Path) -> Path:
    """Eileen Collins, NASA, public domain: read from the installed scikit-image without importing it."""
    question = "import importlib.util as u; print(u.find_spec('skimage').submodule_search_locations[0])"
    folder = subprocess.run(
        [str(MAIN.python), "-c", question], capture_output=True, text=True, check=True, env=clean_environment()
    ).stdout.strip()
    return Path(shutil.copy(Path(folder, "data", "astronaut.png"), out / "astronaut.png"))


SUITES = {"4.5": "blender", "5.0": "blender50", "5.2": "blender52"}
"""Blender -> the layer that has it."""


def test(options: argparse.Namespace) -> int:
    layers = tuple(SUITES[version] for version in options.blender or SUITES)
    if not options.blender:
        layers = without_absent_pythons(layers)
    set_up((*MAIN_LAYERS, *layers), options.torch_index)
    results, closing = [], []
    for version, layer in SUITES.items():
        if layer not in layers:
            continue
        environment = OTHER_BLENDERS.get(layer, MAIN)
        folder = "tests" if environment is MAIN else "tests/blender"
        report = CACHE / f"tests-blender-{version}.xml"
        report.parent.mkdir(exist_ok=True)
        report.unlink(missing_ok=True)
        has_paths = any(Path(ROOT, argument.split("::")[0]).exists() for argument in options.pytest)
        targets = [] if has_paths else [folder]
        print(f"\n== tests on Blender {version} ==", flush=True)
        status = run_python(
            environment,
            *("-m", "pytest", f"--rootdir={ROOT}", f"--junitxml={report}", *SIDE_BY_SIDE, *targets, *options.pytest),
            limit_s=TEST_LIMIT_S,
            RECOVER_BODY_ENGINE_PYTHON=str(MAIN.python),
            **ONE_THREAD,
        )
        results.append(status)
        closing.append(f"Blender {version}: {summary(report, status)}")
    print("\n" + "\n".join(closing), flush=True)
    return OK if all(status == 0 for status in results) else FAILED


def summary(report: Path, status: int) -> str:
    """One line in pytest's words, from its XML report: a process that crashed on the way left none."""
    if not report.is_file():
        return f"pytest did not finish (exit status {status}{', the time limit' if status == 124 else ''})"
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failed, errors, skipped = (int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped"))
    counts = {"failed": failed, "errors": errors, "passed": total - failed - errors - skipped, "skipped": skipped}
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no tests ran"
    return f"{words} in {float(suite.get('time')):.0f} s" + ("" if status == 0 else f" (exit status {status})")


def check(options: argparse.Namespace) -> int:
    set_up(("tools", "base", "tests", "dev", "package"))
    fixing = ["--fix"] if options.fix else []
    mirror, targets = mirror_for_mypy()
    steps = {
        "lint": ("-m", "ruff", "check", *fixing, ROOT),
        "format": ("-m", "ruff", "format", *([] if options.fix else ["--check"]), ROOT),
        "types": ("-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", CACHE / "mypy", *targets),
        "import boundaries": ("-m", "pytest", "-q", f"--rootdir={ROOT}", ROOT / "tests" / "test_imports.py"),
    }
    failed = []
    for name, arguments in steps.items():
        print(f"== {name} ==", flush=True)
        folder = mirror if name == "types" else None  # so that the paths that mypy prints are those in the project
        if run_python(MAIN, *arguments, folder=folder, MYPYPATH=str(mirror.parent)) != 0:
            failed.append(name)
    print("check: " + (f"failed: {', '.join(failed)}" if failed else "all well"))
    return FAILED if failed else OK


def mirror_for_mypy() -> tuple[Path, list[str]]:
    """mypy takes a package's name from its folder, and a clone may be called anything: a copy with the right name."""
    copy = CACHE / "types" / "recover_body"
    shutil.rmtree(copy, ignore_errors=True)
    packages = ("wire", "engine", "models")
    for package in packages:
        for source in (ROOT / package).rglob("*.py"):
            target = copy / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    shutil.copy2(ROOT / "__init__.py", copy)
    return copy, [part for package in packages for part in ("-p", f"recover_body.{package}")]


def build(options: argparse.Namespace) -> int:
    set_up(("tools", "blender"))
    return run_python(MAIN, ROOT / "blender_scripts" / "build_extension.py", "--out", options.out.resolve())


def benchmarks() -> dict[str, Path]:
    folder = ROOT / "tests" / "benchmarks"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def bench(options: argparse.Namespace) -> int:
    known = benchmarks()
    if options.name is None:
        print("\n".join(known) or "no benchmarks yet")
        return OK
    if options.name not in known:
        print(f"There is no benchmark '{options.name}'. Choose from: {', '.join(known)}", file=sys.stderr)
        return USAGE
    set_up(MAIN_LAYERS, options.torch_index)
    return run_python(MAIN, known[options.name], *options.arguments)


def parity(options: argparse.Namespace) -> int:
    options.name = "parity"
    return bench(options)


def setup(options: argparse.Namespace) -> int:
    if options.print_system_packages:
        print(SYSTEM_PACKAGES[options.print_system_packages][1])
        return OK
    layers = tuple(options.layers) or without_absent_pythons(EVERYTHING)
    set_up(("tools", *layers, "package"), options.torch_index)
    print(f"ready: {MAIN.python}")
    return OK


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(function.__name__, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(function=function)
        return added

    def add_torch_index(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--torch-index",
            metavar="URL_OR_FOLDER",
            default=os.environ.get("RECOVER_BODY_TORCH_INDEX"),
            help="where pip finds the wanted build of torch (default: $RECOVER_BODY_TORCH_INDEX, else pip's own)",
        )

    added = command(demo, "recover a photograph and leave a .blend, an overlay picture and a report")
    added.add_argument("--image", type=Path, nargs="+", default=[], help="your pictures (default: a public photograph)")
    added.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="folder for the results")
    added.add_argument("--blender", metavar="PATH", help="the Blender that writes the .blend (default: found, or bpy)")

    added = command(test, "run all tests")
    added.add_argument("--blender", action="append", choices=tuple(SUITES), help="only on this one")
    added.add_argument("pytest", nargs="*", help="arguments for pytest; options come after --")
    add_torch_index(added)

    added = command(check, "lint, format, types and import boundaries")
    added.add_argument("--fix", action="store_true", help="let ruff repair what it can")

    added = command(build, "build and validate the extension zip for Blender, and a repository that serves it")
    added.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip and the repository")

    added = command(bench, "run a benchmark, or list them")
    added.add_argument("name", nargs="?", help="which one")
    added.add_argument("arguments", nargs="*", help="arguments for the benchmark; options come after --")
    add_torch_index(added)

    added = command(parity, "compare the networks with the numbers of the published ones")
    added.add_argument("arguments", nargs="*", help="arguments for the comparison; options come after --")
    add_torch_index(added)

    added = command(setup, "only set up, for the other commands or for your editor")
    added.add_argument("layers", nargs="*", help=f"from requirements/ (default: {' '.join(EVERYTHING)})")
    added.add_argument(
        "--print-system-packages", choices=SYSTEM_PACKAGES, help="only print the system libraries that bpy needs"
    )
    add_torch_index(added)
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command == "setup":
        known = {*MAIN.layers, *OTHER_BLENDERS}
        if unknown := [layer for layer in options.layers if layer not in known]:
            parser.error(f"unknown layer '{unknown[0]}' (choose from {', '.join(sorted(known))})")
    try:
        return options.function(options)
    except Missing as missing:
        print(f"\n{missing}", file=sys.stderr)
        return MISSING
    except KeyboardInterrupt:
        print("\nInterrupted. The same command takes it up again.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a Windows pipe may be in a code page that lacks our ticks
        stream.reconfigure(errors="replace")
    sys.exit(main())
