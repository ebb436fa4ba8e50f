# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the engine from its folder, without anything being installed under a name: `python launch.py serve`.

Add-on and engine are then always of one version, because they are one folder. That folder is the package
`recover_body`, whatever it is called on this disk (inside Blender, the name of the extension).
"""

import importlib.util
import sys
from pathlib import Path

PACKAGE = "recover_body"


def load_package() -> None:
    """Make this file's grandparent folder the package `recover_body`."""
    root = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec and spec.loader
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    # Python puts this file's folder first on its path, where `frames`, `report` … would hide packages of those names.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    load_package()
    from recover_body.engine.__main__ import main

    sys.exit(main())
