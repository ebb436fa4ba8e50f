# SPDX-License-Identifier: GPL-3.0-or-later
"""Install, upgrade, repair, verify and remove the engine's environment.

An environment is made in a folder of its own beside the one in use, which keeps working meanwhile. Only when the new
one is complete and the engine in it has answered does it take the other's place, in one step. So an upgrade that fails
changes nothing, and an installation that was interrupted is recognised by its record and taken up again.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ... import __version__
from ..errors import AddonError
from . import pip
from .bundle import open_bundle
from .errors import EngineDamaged, NoSpace, NotInstalled, SetupError
from .options import Accelerator, Layer, SetupOptions, detect_accelerator, digest, layer_mb, layers_for, total_mb
from .places import (
    COMPLETE,
    INCOMPLETE,
    Places,
    Record,
    change_record,
    locked,
    python_of,
    read_record,
    remove_tree,
    tree_bytes,
    write_record,
)
from .process import module_command, run_watched
from .pythons import find_python
from .report import Report
from .torch_build import with_torch_build
from .verify import check_imports, damages, fingerprints, handshake, serve_command, torch_devices


def install(options: SetupOptions, places: Places, report: Report) -> Record:
    """Install, resume or upgrade: afterwards a proven environment is in use. Raises a SetupError."""
    with locked(places):
        report.share(0.0, 0.05)
        accelerator = options.accelerator
        if options.bundle:
            options, accelerator = open_bundle(options, places, report)
        elif accelerator is Accelerator.AUTO:
            accelerator = detect_accelerator()
        environment = _begin(accelerator, options, places, report)
        try:
            _make_environment(environment, options, places, report)
            _install_layers(environment, accelerator, options, places, report)
            record = _prove(environment, accelerator, report)
        except AddonError as error:
            change_record(environment, failure=error.sentence)
            report.log(f"stopped: {error.sentence} {error.remedy}")
            raise
        places.use(environment)
        _clear_up(places)
        report.log(f"complete: {environment.name}, {record.bytes / 1e6:.0f} MB")
        return record


def verify(places: Places, report: Report) -> Record:
    """Compare files, import, start the engine; the record keeps what is wrong. Raises EngineDamaged, NotInstalled."""
    with locked(places):
        environment = _installed(places)
        record, sentences = read_record(environment), []
        report.share(0.0, 0.8)
        found = damages(
            environment, record, lambda fraction: report.progress(fraction, "Comparing files with their hashes")
        )
        sentences += [damage.sentence for damage in found]
        report.share(0.8, 1.0)
        try:
            _start_once(environment, layers_for(Accelerator(record.accelerator)), report)
        except EngineDamaged as error:
            sentences.append(error.sentence)
        record = change_record(environment, damage=tuple(sentences))
        if sentences:
            raise EngineDamaged(" ".join(sentences[:3]) + (f" And {len(sentences) - 3} more." if sentences[3:] else ""))
        return record


def repair(options: SetupOptions, places: Places, report: Report) -> Record:
    """Install damaged packages again; where that cannot help, make the whole environment anew. Raises a SetupError."""
    with locked(places):
        environment = _installed(places)
        record = read_record(environment)
        accelerator = Accelerator(record.accelerator)
        if options.bundle:
            options, _ = open_bundle(options, places, report)
        report.share(0.0, 0.3)
        found = damages(
            environment, record, lambda fraction: report.progress(fraction, "Comparing files with their hashes")
        )
        try:
            report.share(0.3, 0.9)
            if found:
                # --ignore-installed, because removing a package needs the very list that may be damaged.
                packages = [damage.package for damage in found]
                arguments = ["--no-deps", "--ignore-installed", *packages]
                pip.install(environment, arguments, "Packages", layer_mb(layers_for(accelerator)[-1], accelerator),
                            options, places, report)  # fmt: skip
            report.share(0.9, 1.0)
            return _prove(environment, accelerator, report)
        except (EngineDamaged, OSError) as error:
            report.log(f"mending was not enough: {error}")
    return install(replace(options, accelerator=accelerator), places, report)


def uninstall(places: Places, report: Report) -> int:
    """Remove the environment, its Python and all downloads; imported weights stay. Returns the MB that came free."""
    with locked(places):
        report.progress(0.0, "Removing the engine")
        freed = tree_bytes(places.root)
        (places.root / "engine.json").unlink(missing_ok=True)
        for path in places.root.iterdir():
            if path.is_dir() and not remove_tree(path):
                raise SetupError(
                    f"{path} cannot be removed, because something in it is in use.", "Close it, then try again."
                )
    shutil.rmtree(places.root, ignore_errors=True)  # the lock and the log too
    return round(freed / 1e6)


# ---- the steps of an installation


def _begin(accelerator: Accelerator, options: SetupOptions, places: Places, report: Report) -> Path:
    """The environment to work on: an interrupted one of the same kind, else a new one. Raises NoSpace."""
    wanted = digest(options.requirements, accelerator)
    for folder in places.others():
        record = read_record(folder)
        if record.state == INCOMPLETE and record.digest == wanted and python_of(folder).exists():
            report.log(f"resuming {folder.name}: {', '.join(record.layers) or 'nothing'} is there")
            change_record(folder, failure="")
            return folder
        remove_tree(folder)
    download_mb, installed_mb = total_mb(accelerator)
    needed, free = (download_mb + installed_mb) * 1e6, shutil.disk_usage(places.root).free
    if options.requirements == SetupOptions.requirements and free < needed:
        raise NoSpace(f"The engine needs {needed / 1e9:.1f} GB in {places.root}, where {free / 1e9:.1f} GB are free.")
    taken = {folder.name for folder in places.environments.iterdir()} if places.environments.is_dir() else set()
    name = next(n for i in range(1, 1000) if (n := f"{accelerator.value}-{wanted[:8]}-{i}") not in taken)
    environment = places.environments / name
    write_record(environment, Record(INCOMPLETE, __version__, wanted, accelerator.value))
    report.log(f"beginning {name} for version {__version__}")
    return environment


def _make_environment(environment: Path, options: SetupOptions, places: Places, report: Report) -> None:
    record = read_record(environment)
    if record.python and python_of(environment).exists():
        return
    report.progress(0.2, "Looking for Python 3.11")
    python = find_python(options, places, report)
    report.share(0.05, 0.1)
    report.progress(0.0, "Making the environment")
    status, words = run_watched(module_command(python, "venv", str(environment)), report)
    if status != 0:
        raise SetupError(f"The environment could not be made ({words.splitlines()[-1] if words else status}).")
    change_record(environment, python=python)


def _install_layers(
    environment: Path, accelerator: Accelerator, options: SetupOptions, places: Places, report: Report
) -> None:
    """Every layer that is not there yet, each noted when it is complete."""
    layers = layers_for(accelerator)
    weights = [sum(layer_mb(layer, accelerator)) for layer in layers]
    for number, layer in enumerate(layers):
        report.share(*(0.1 + 0.8 * sum(weights[:n]) / sum(weights) for n in (number, number + 1)))
        done = read_record(environment).layers
        if layer.name in done:
            continue
        title, expected_mb = layer.title, layer_mb(layer, accelerator)

        def run(extra: list[str], layer: Layer = layer, title=title, expected_mb=expected_mb) -> None:
            arguments = [*pip.layer_arguments(layer, options), *extra]
            pip.install(environment, arguments, title, expected_mb, options, places, report)

        with_torch_build(layer, accelerator, options, report, run)
        change_record(environment, layers=(*done, layer.name))


def _prove(environment: Path, accelerator: Accelerator, report: Report) -> Record:
    """The last step: the engine starts and answers; then the record says complete. Raises EngineDamaged."""
    report.share(0.9, 1.0)
    layers = layers_for(accelerator)
    _start_once(environment, layers, report)
    if accelerator in (Accelerator.CUDA, Accelerator.MPS):
        report.progress(0.8, "Asking torch for the graphics card")
        if torch_devices(environment, report) != accelerator.value:
            report.note(
                f"torch was installed, but cannot use {accelerator.value}: networks will run on the processor. Check "
                "the card's driver; on Windows, name an index with a CUDA build of torch under Package Sources "
                "(PyTorch's installation page lists them), then install again."
            )
    return change_record(
        environment,
        state=COMPLETE,
        version=__version__,
        distributions=fingerprints(environment),
        bytes=tree_bytes(environment),
        failure="",
        damage=(),
    )


def _start_once(environment: Path, layers: tuple[Layer, ...], report: Report) -> None:
    report.progress(0.1, "Loading the packages")
    try:
        check_imports(environment, layers, report)
        report.progress(0.5, "Starting the engine")
        handshake(serve_command(environment), report)
    except OSError as error:  # the Python it was built on has gone
        raise EngineDamaged(f"The engine's Python does not start ({error.strerror or error}).") from None


def _clear_up(places: Places) -> None:
    """What only an installation needs, and environments that are not in use any more."""
    for folder in (*places.others(), places.cache, places.root / "bundle", places.root / "tools"):
        remove_tree(folder)


def _installed(places: Places) -> Path:
    environment = places.current()
    if environment is None:
        raise NotInstalled("No engine is installed.")
    return environment
