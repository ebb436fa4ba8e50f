# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's set-up from a shell, with any Python from 3.11 on (Blender's own will do):

    python blender_scripts/setup_engine.py install

`--help` lists the verbs; what it does lies in addon/engine_setup, which Blender's preferences use too.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

PACKAGE = "recover_body"


def load_package() -> None:
    """Make this file's grandparent folder the package `recover_body`, wherever it lies and whatever it is called."""
    root = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    load_package()
    status = importlib.import_module(f"{PACKAGE}.addon.engine_setup.cli").main(sys.argv[1:], Path(__file__).name)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread may still wait for stdin
