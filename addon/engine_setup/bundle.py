# SPDX-License-Identifier: GPL-3.0-or-later
"""Offline bundles: all wheels of an installation in one folder or zip, with their hashes, for machines without network.

bundle.json     for which version, system, processor and accelerator; sha256 of every wheel
*.whl
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from ... import __version__
from . import pip
from .errors import UnusableBundle
from .options import Accelerator, SetupOptions, digest, layer_mb, layers_for
from .places import Places, python_of, remove_tree, tree_bytes
from .process import module_command, run_watched
from .pythons import find_python
from .report import Report
from .torch_build import with_torch_build

_LIST = "bundle.json"


def make_bundle(target: Path, accelerator: Accelerator, options: SetupOptions, places: Places, report: Report) -> Path:
    """Download all wheels into `target`, a folder, or a zip when it is called so. Raises a SetupError."""
    as_zip = target.suffix.lower() == ".zip"
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise UnusableBundle(f"{target} exists already.", "Name another file or an empty folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _download(made / "wheels", accelerator, options, places, report)
        _write_list(made / "wheels", accelerator, options)
        if as_zip:
            report.progress(1.0, "Writing the zip")
            with zipfile.ZipFile(made / "bundle.zip", "w", zipfile.ZIP_STORED) as archive:
                for path in sorted((made / "wheels").iterdir()):
                    archive.write(path, path.name)
            (made / "bundle.zip").replace(target)
        else:
            if target.exists():
                target.rmdir()
            (made / "wheels").replace(target)
    finally:
        remove_tree(made)
    return target


def _download(folder: Path, accelerator: Accelerator, options: SetupOptions, places: Places, report: Report) -> None:
    folder.mkdir()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        environment = places.current()
        if environment is None:  # a pip is needed, of the very Python that will install
            environment = Path(scratch)
            run_watched(module_command(find_python(options, places, report), "venv", scratch), report)
        layers = layers_for(accelerator)
        for number, layer in enumerate(layers):
            report.share(number / len(layers), (number + 1) / len(layers))
            mb = layer_mb(layer, accelerator)[0]

            def look(_line: str, layer=layer, mb=mb) -> None:
                done = tree_bytes(places.incoming) / 1e6
                report.progress(done / mb, f"{layer.title}: downloaded {done:.0f} of about {mb} MB")

            def download(extra: list[str], layer=layer, look=look) -> None:
                arguments = ["download", "--dest", str(folder), *pip.layer_arguments(layer, options), *extra]
                pip.run_pip(python_of(environment), arguments, options, places, report, look)

            with_torch_build(layer, accelerator, options, report, download)


def _write_list(folder: Path, accelerator: Accelerator, options: SetupOptions) -> None:
    wheels = {path.name: _sha256(path) for path in sorted(folder.glob("*.whl"))}
    told = {**_machine(), "accelerator": accelerator.value, "digest": digest(options.requirements, accelerator)}
    (folder / _LIST).write_text(json.dumps({**told, "wheels": wheels}, indent=2), encoding="utf-8")


def _machine() -> dict[str, str]:
    return {"version": __version__, "system": sys.platform, "processor": platform.machine().lower()}


def open_bundle(options: SetupOptions, places: Places, report: Report) -> tuple[SetupOptions, Accelerator]:
    """Check a bundle; (options that install from its wheels, what it is for). Raises UnusableBundle."""
    source = Path(options.bundle).expanduser()
    try:
        folder = _unpacked(source, places, report) if source.is_file() else source
        told = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        accelerator, wheels = Accelerator(told["accelerator"]), dict(told["wheels"])
    except FileNotFoundError:
        raise UnusableBundle(f"{source} is no offline bundle: it has no {_LIST}.") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UnusableBundle(f"{source} cannot be read ({error}).") from None
    for name, here in _machine().items():
        if name != "version" and told.get(name) != here:
            raise UnusableBundle(f"{source} is for {told.get(name)}, this machine's {name} is {here}.")
    if told.get("digest") != digest(options.requirements, accelerator):
        raise UnusableBundle(f"{source} was made for version {told.get('version')}, the add-on is {__version__}.")
    for number, (name, expected) in enumerate(wheels.items()):
        report.progress(number / len(wheels), f"Checking {name}")
        path = folder / Path(name).name
        if not path.is_file() or _sha256(path) != expected:
            raise UnusableBundle(f"{name} in {source} is damaged or missing.")
    return replace(options, bundle=str(folder)), accelerator


def _unpacked(source: Path, places: Places, report: Report) -> Path:
    """The zip's wheels in a folder of ours; names in it decide nothing."""
    folder = places.root / "bundle"
    remove_tree(folder)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        for number, member in enumerate(members):
            report.progress(number / len(members), f"Unpacking {Path(member.filename).name}")
            with archive.open(member) as packed, (folder / Path(member.filename).name).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
