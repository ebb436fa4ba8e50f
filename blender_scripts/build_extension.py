# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the extension zip with Blender's own builder, validate it, and make a static repository that serves it.

    python blender_scripts/build_extension.py --out dist

leaves the zip in `dist/` and a repository in `dist/repository/`: that folder, put on any web server or file share, is
an address for Preferences > Get Extensions > Repositories (https://…/index.json, or file:///…/index.json).

The builder comes from the `bpy` wheel of the Python that runs this; no Blender needs to be installed, and none starts.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class BuildError(Exception):
    """The extension cannot be built: one sentence, and a remedy."""


def find_builder() -> Path:
    """Blender's extension command line; raises `BuildError` without a `bpy` wheel."""
    # find_spec does not import: starting Blender to zip some files would take longer than zipping them.
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        raise BuildError("This Python has no bpy module. Run `python dev.py build`, which installs it.")
    found = sorted(Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        raise BuildError("The bpy module of this Python carries no extension builder. It needs bpy 4.2 or later.")
    return found[-1]


def build_extension(out: Path) -> Path:
    """The path of the validated zip in `out`; raises `BuildError`."""
    builder = [sys.executable, str(find_builder())]
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{manifest['id']}-{manifest['version']}.zip"
    run([*builder, "build", "--source-dir", str(ROOT), "--output-filepath", str(target)])
    run([*builder, "validate", str(target)])
    return target


def make_repository(package: Path, out: Path) -> Path:
    """A static extension repository with that zip alone; the path of its `index.json`. Raises `BuildError`."""
    builder = [sys.executable, str(find_builder())]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy2(package, out)
    run([*builder, "server-generate", "--repo-dir", str(out), "--html"])
    return out / "index.json"


def run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise BuildError(f"Blender's extension builder refused this: {done.stdout.strip()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    out = parser.parse_args().out
    try:
        target = build_extension(out)
        index = make_repository(target, out / "repository")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB), validated")
    print(f"{index}, a static extension repository")
    return 0


if __name__ == "__main__":
    sys.exit(main())
