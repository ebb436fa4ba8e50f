# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and clips to .blend files, in a real Blender or in a Python that has the `bpy` module:

    blender -b --factory-startup -P blender_scripts/recover_batch.py -- photo.jpg --out results
    python blender_scripts/recover_batch.py photo.jpg --out results

`--help` lists the options; what it does lies in addon/batch.py, which `blender --command recover_body` calls too.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

PACKAGE = "recover_body"


def load_package():
    """Make this file's grandparent folder the package `recover_body`, wherever it lies and whatever it is called."""
    root = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def main():
    """Run with what follows `--`, or under an ordinary Python with all arguments; returns the exit code."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    load_package()
    try:
        import bpy  # noqa: F401
    except ImportError as error:
        print(f"Blender's module cannot be loaded ({error}).", file=sys.stderr)
        print("Run this script in Blender (blender -b -P), or install the module: pip install bpy", file=sys.stderr)
        return 3
    return importlib.import_module(f"{PACKAGE}.addon.batch").main(arguments, program=Path(__file__).name)


if __name__ == "__main__":
    status = 70  # what shells see if something unexpected ends this
    try:
        status = main()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        # Blender's own way out can crash or hang after add-on code has run; everything is saved by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
